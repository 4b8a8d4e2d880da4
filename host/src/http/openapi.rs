//! `/openapi.json`, generated from the code.

use axum::Json;
use utoipa::OpenApi;

use crate::http::{admin, authzen, decide, health, people, problem, wire};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Chartgate",
        description = "Authorization decisions for FHIR servers",
        license(name = "Apache-2.0", identifier = "Apache-2.0")
    ),
    paths(
        decide::decide,
        authzen::evaluation,
        authzen::evaluations,
        health::livez,
        health::readyz,
        health::metrics,
        admin::releases::list,
        admin::rollout::show,
        admin::rollout::change,
        admin::relationships::list,
        admin::relationships::put,
        admin::relationships::delete,
        admin::relationships::bulk,
        admin::records::list,
        admin::records::put,
        admin::records::delete
    ),
    components(schemas(
        wire::DecideBody,
        wire::AnswerBody,
        authzen::EvaluationBody,
        authzen::EvaluationsBody,
        authzen::EvaluationAnswer,
        authzen::EvaluationsAnswer,
        problem::Problem,
        health::Ready,
        admin::releases::ReleaseRow,
        admin::rollout::RolloutBody,
        admin::rollout::RolloutChange,
        admin::relationships::RelationshipBody,
        admin::relationships::RelationshipPage,
        admin::relationships::Changed,
        admin::records::RecordsPage,
        people::PatientBody,
        people::UserBody,
        people::ClientBody,
        people::RestrictionBody
    ))
)]
struct Document;

/// The document.
pub(super) async fn document() -> Json<utoipa::openapi::OpenApi> {
    Json(Document::openapi())
}
