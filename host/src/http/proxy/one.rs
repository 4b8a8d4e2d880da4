//! What is about one resource: it is read, or it is written.

use axum::http::{HeaderName, StatusCode, header};
use chartgate_model::parse::RenderedRequest;
use chartgate_model::{Interaction, ReturnPreference};
use serde::Deserialize;

use super::exchange::{Outgoing, Refused, other_version, outward};
use super::many::rewritten;
use super::{Permitted, Proxy};
use crate::decide::{Answer, Verdict};
use crate::proxy::{Answered, Outward};

const IF_NONE_EXIST: HeaderName = HeaderName::from_static("if-none-exist");
const PREFER: HeaderName = HeaderName::from_static("prefer");

impl Proxy<'_> {
    /// What was fetched to decide is what is answered: nothing can change in between.
    pub(super) fn read(&self, permitted: Permitted<'_>) -> Result<Outgoing, Refused> {
        let Permitted { asked, answer, fetched, .. } = permitted;
        let fetched = fetched.filter(|fetched| fetched.status == 200).ok_or_else(|| Refused::upstream(404))?;
        // SECURITY: what was judged with its content at hand has nothing left to be done to it.
        if !obligations(&answer).is_empty() {
            return Err(Refused::garbled());
        }
        if asked.has_already(&fetched) {
            return Ok(Outgoing::json(StatusCode::NOT_MODIFIED, Vec::new()).with_headers_of(&fetched));
        }
        Ok(Outgoing::json(StatusCode::OK, fetched.body.clone()).with_headers_of(&fetched))
    }

    /// Create, update, patch or delete, as it was decided and no other way.
    pub(super) async fn write(&self, permitted: Permitted<'_>) -> Result<Outgoing, Refused> {
        let Permitted { asked, request, answer, fetched } = &permitted;
        let version = if_match(answer)?;
        let current = version.clone().or_else(|| version_of(fetched.as_ref()));
        let is_there = fetched.as_ref().is_some_and(|fetched| fetched.status == 200);
        // SECURITY: what is hidden is a 404 whatever the request wants of it, and so is what is absent.
        if asked.wants_one() && !is_there {
            return Err(Refused::upstream(404));
        }
        let wants_none = asked.if_none_match()?;
        if asked.is_about_another_version(current.as_deref()) || (wants_none && is_there) {
            return Err(other_version());
        }
        let mut outward = self.outward_write(&permitted)?;
        // What was judged as not there has to be so still.
        if wants_none
            || (request.request.interaction == Interaction::Update && request.request.id.is_some() && !is_there)
        {
            outward.headers.push((header::IF_NONE_MATCH, "*".into()));
        }
        if let Some(version) = version {
            outward.headers.push((header::IF_MATCH, format!("W/\"{version}\"")));
        }
        let minimal = answer.obliges("return-minimal");
        outward
            .headers
            .extend(preference(request.request.prefer_return, minimal).map(|wish| (PREFER, wish.to_owned())));
        let answered = self.send(outward).await?;
        written(answered, minimal || request.request.prefer_return == ReturnPreference::Minimal)
    }

    fn outward_write(&self, permitted: &Permitted<'_>) -> Result<Outward, Refused> {
        let Permitted { asked, request, answer, .. } = permitted;
        let fhir = &request.request;
        let criteria = match rewritten(answer, request)?.map(<[RenderedRequest; 1]>::try_from) {
            None => None,
            Some(Ok([one])) => Some(one),
            Some(Err(_)) => return Err(Refused::garbled()),
        };
        let mut outward = outward();
        outward.method.clone_from(&asked.method);
        let body = asked.body.clone();
        match (fhir.interaction, &fhir.id) {
            (Interaction::Create, _) => {
                outward.url = format!("/{}", fhir.resource_type);
                let given = asked.headers.get("if-none-exist").cloned();
                let criteria = criteria.and_then(|one| one.if_none_exist).or(given);
                let criteria = criteria.map(|criteria| self.own_criteria(&criteria));
                outward.headers.extend(criteria.map(|criteria| (IF_NONE_EXIST, criteria)));
            }
            // SECURITY: what the criteria found was judged, and may not be what they find a moment later.
            (_, Some(id)) => outward.url = format!("/{}/{id}", fhir.resource_type),
            (_, None) => {
                let url = criteria.map_or_else(|| asked.url.clone(), |one| one.url);
                outward.url = self.at.own_query(&url);
            }
        }
        if fhir.interaction != Interaction::Delete {
            outward.headers.extend(asked.content_type().map(|media| (header::CONTENT_TYPE, media.to_owned())));
            let named = match (&fhir.id, fhir.interaction, fhir.conditional) {
                (Some(id), Interaction::Update, true) => with_id(body, id),
                _ => body,
            };
            outward.body = Some(self.at.own_json(named));
        }
        Ok(outward)
    }

    /// Criteria, or a form, as the server knows them.
    pub(super) fn own_criteria(&self, criteria: &str) -> String {
        let query = self.at.own_query(&format!("?{criteria}"));
        query.trim_start_matches('?').to_owned()
    }
}

fn obligations(answer: &Answer) -> &[chartgate_model::Obligation] {
    match &answer.verdict {
        Verdict::Permit(permit) => permit.obligations(),
        _ => &[],
    }
}

/// The version that the write is permitted of, where it is one.
pub(super) fn if_match(answer: &Answer) -> Result<Option<String>, Refused> {
    #[derive(Deserialize)]
    struct IfMatch {
        version: String,
    }
    let found = obligations(answer).iter().find(|obligation| obligation.id == "if-match");
    let version = found.map(|obligation| serde_json::from_slice::<IfMatch>(&obligation.parameters));
    Ok(version.transpose().map_err(|_| Refused::garbled())?.map(|read| read.version))
}

fn version_of(fetched: Option<&Answered>) -> Option<String> {
    #[derive(Deserialize)]
    struct Resource {
        meta: Option<Meta>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Meta {
        version_id: Option<String>,
    }
    let resource: Resource = serde_json::from_slice(&fetched?.body).ok()?;
    resource.meta?.version_id
}

/// What the server is asked to answer a write with.
pub(super) fn preference(asked: ReturnPreference, minimal: bool) -> Option<&'static str> {
    match asked {
        _ if minimal => Some("return=minimal"),
        ReturnPreference::Unspecified => None,
        ReturnPreference::Minimal => Some("return=minimal"),
        ReturnPreference::Representation => Some("return=representation"),
        ReturnPreference::OperationOutcome => Some("return=OperationOutcome"),
    }
}

/// A resource without an id, with one: the bytes besides are those that were judged.
fn with_id(body: Vec<u8>, id: &str) -> Vec<u8> {
    #[derive(Deserialize)]
    struct Named {
        id: Option<String>,
    }
    let has_one = serde_json::from_slice::<Named>(&body).is_ok_and(|named| named.id.is_some());
    match body.iter().position(|byte| *byte == b'{') {
        Some(at) if !has_one => {
            let mut named = format!("{{\"id\":\"{id}\",").into_bytes();
            named.extend_from_slice(body.get(at + 1..).unwrap_or_default());
            named
        }
        _ => body,
    }
}

fn written(answered: Answered, minimal: bool) -> Result<Outgoing, Refused> {
    let status = match answered.status {
        200 | 201 | 204 => StatusCode::from_u16(answered.status).unwrap_or(StatusCode::OK),
        status => return Err(Refused::upstream(status)),
    };
    let body = if minimal { Vec::new() } else { answered.body.clone() };
    let mut outgoing = Outgoing::json(status, body).with_headers_of(&answered);
    outgoing.headers.extend(answered.location.map(|location| (header::LOCATION, location)));
    Ok(outgoing)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_resource_gets_the_id_that_was_found() {
        let named = |body: &str| String::from_utf8(with_id(body.as_bytes().to_vec(), "7")).unwrap();
        assert_eq!(named(r#" {"resourceType":"Patient"}"#), r#"{"id":"7","resourceType":"Patient"}"#);
        assert_eq!(named(r#"{"id":"8"}"#), r#"{"id":"8"}"#);
    }
}
