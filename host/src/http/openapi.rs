//! `/openapi.json`, generated from the code.

use axum::Json;
use utoipa::OpenApi;

use crate::http::{admin, authzen, decide, filter, health, launches, people, problem, wire};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Chartgate",
        description = "Authorization decisions for FHIR servers",
        license(name = "Apache-2.0", identifier = "Apache-2.0")
    ),
    paths(
        decide::decide,
        filter::filter,
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
        admin::records::delete,
        launches::create,
        admin::smart::clients,
        admin::smart::add_client,
        admin::smart::remove_client,
        admin::smart::rotate_client,
        admin::smart::users,
        admin::smart::add_user,
        admin::smart::remove_user,
        admin::smart::enrol,
        admin::smart::rotate_key
    ),
    components(schemas(
        wire::DecideBody,
        wire::AnswerBody,
        filter::FilterBody,
        filter::FilterAnswer,
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
        people::RestrictionBody,
        launches::LaunchBody,
        launches::LaunchCreated,
        admin::smart::Rotation
    ))
)]
struct Document;

/// The document.
pub(super) async fn document() -> Json<utoipa::openapi::OpenApi> {
    Json(Document::openapi())
}
