//! What is answered by a bundle: searches, narrowed or united, histories, operations; and whatever is to be filtered.

use std::collections::BTreeSet;

use axum::http::{StatusCode, header};
use chartgate_model::parse::{RawRequest, RenderedRequest, check_page};
use chartgate_model::{DecisionRequest, strict};
use serde_json::json;
use serde_json::value::RawValue;

use super::exchange::{FORM, Incoming, Outgoing, Refused, outward, strictly};
use super::pages::Page;
use super::{FACE, PAGE, Permitted, Proxy};
use crate::decide::{Answer, Verdict};
use crate::filter::RESPONSE_FILTER;
use crate::filter::bundle::Members;
use crate::http::binding::Bound;
use crate::http::filter::{FilterAnswer, Given, Judge, filtered};
use crate::http::wire::{DEPTH_MAX, RequestBody};
use crate::proxy::{Answered, Outward, Union, UnionError};
use crate::smart::secret::Secret;

/// Pages of one of the searches that are united.
const UNION_PAGES_MAX: usize = 100;

/// An answer on its way out.
pub(super) struct Leaving<'l> {
    pub(super) asked: &'l Incoming,
    pub(super) request: &'l DecisionRequest,
    pub(super) answer: &'l Answer,
    /// it has to be filtered
    pub(super) obliged: bool,
    /// the request, as its further pages will be decided by
    pub(super) of: &'l Bound,
}

impl Proxy<'_> {
    pub(super) async fn many(&self, permitted: Permitted<'_>) -> Result<Outgoing, Refused> {
        let Permitted { asked, request, answer, .. } = &permitted;
        let answered = match rewritten(answer, request)? {
            None => self.send(self.as_it_came(asked, request)).await?,
            Some(requests) if answer.obliges("search-union") => {
                // Where each type is searched once, no row is counted twice.
                let path = |one: &RenderedRequest| one.url.split('?').next().map(str::to_owned);
                let paths: BTreeSet<Option<String>> = requests.iter().map(path).collect();
                let counts = paths.len() == requests.len();
                self.united(&requests, counts).await?
            }
            Some(requests) => match requests.as_slice() {
                [one] => self.send(self.as_rendered(one)).await?,
                _ => return Err(Refused::garbled()),
            },
        };
        if answered.status != 200 {
            return Err(Refused::upstream(answered.status));
        }
        let page = Leaving {
            asked,
            request,
            answer,
            obliged: answer.obliges(RESPONSE_FILTER),
            of: &Bound::of(&self.caller.name, &answer.release.digest, asked_again(asked), request),
        };
        self.leaving(&page, answered).await
    }

    /// What of an answer may leave, its links made ours.
    ///
    /// SECURITY: a server may leave out a parameter it does not know, and with it what confined the search. So each row
    /// is judged, whether or not the permit asks for it.
    pub(super) async fn leaving(&self, page: &Leaving<'_>, answered: Answered) -> Result<Outgoing, Refused> {
        if answered.body.is_empty() && !page.obliged {
            return Ok(Outgoing::json(StatusCode::OK, Vec::new()));
        }
        // SECURITY: what two readers could read differently is judged as one of them and seen as the other.
        strict::check(&answered.body, DEPTH_MAX).map_err(|_| Refused::garbled())?;
        let text = String::from_utf8(answered.body).map_err(|_| Refused::garbled())?;
        let raw = RawValue::from_string(text).map_err(|_| Refused::garbled())?;
        let members = Members::read(&raw, "").map_err(|_| Refused::garbled())?;
        let is_bundle = members.text("resourceType").as_deref() == Some("Bundle");
        let total = members.get("total").filter(|_| !page.obliged);
        let (kept, total) = if page.obliged || is_bundle {
            let given = if is_bundle { Given::Bundle(raw.clone()) } else { Given::Resource(raw.clone()) };
            let (kept, removed) = self.filtered(page, &given).await?;
            // A number that counts what is gone tells of it.
            (kept, total.filter(|_| removed == 0))
        } else {
            (raw.clone(), total)
        };
        let kept = if is_bundle { self.relinked(&kept, total, &page.asked.url, page.of)? } else { kept };
        Ok(Outgoing::json(StatusCode::OK, kept.get().as_bytes().to_vec()))
    }

    async fn filtered(&self, page: &Leaving<'_>, given: &Given) -> Result<(Box<RawValue>, usize), Refused> {
        let (caller, new_id) = (self.caller.name.as_str(), &*self.state.edge.new_id);
        let judge = Judge { decider: &self.state.decider, new_id, caller, face: FACE };
        let filtered = filtered(&judge, page.request, page.answer, given).await.map_err(|_| Refused::garbled())?;
        let FilterAnswer { bundle, resource, denial, removed, .. } = filtered;
        if removed > 0 && !page.obliged {
            tracing::warn!(decision.id = %page.answer.id, removed, "the FHIR server found more than it was asked for");
        }
        match (bundle.or(resource), denial) {
            (Some(kept), None) => Ok((kept, removed)),
            (_, Some(denial)) => Err(Refused::Denied(Box::new(denial), None)),
            (None, None) => Err(Refused::garbled()),
        }
    }

    /// The request as it came, but for who asks.
    fn as_it_came(&self, asked: &Incoming, request: &DecisionRequest) -> Outward {
        let mut outward = strictly();
        outward.method = if asked.method == "HEAD" { "GET".into() } else { asked.method.clone() };
        outward.url = self.at.own_query(&asked.url);
        if !asked.body.is_empty() {
            outward.headers.extend(asked.content_type().map(|media| (header::CONTENT_TYPE, media.to_owned())));
            outward.body = Some(if request.request.by_form {
                self.own_criteria(asked.text().unwrap_or_default()).into_bytes()
            } else {
                self.at.own_json(asked.body.clone())
            });
        }
        outward
    }

    fn as_rendered(&self, rendered: &RenderedRequest) -> Outward {
        let mut outward = strictly();
        outward.method = if rendered.method == "HEAD" { "GET".into() } else { rendered.method.into() };
        outward.url = self.at.own_query(&rendered.url);
        if let Some(form) = &rendered.body {
            outward.headers.push((header::CONTENT_TYPE, FORM.into()));
            outward.body = Some(self.own_criteria(form).into_bytes());
        }
        outward
    }

    /// Run several searches to their ends, and make one answer of them.
    async fn united(&self, requests: &[RenderedRequest], counts: bool) -> Result<Answered, Refused> {
        let mut union = Union::default();
        for request in requests {
            union.begin();
            let mut next = Some(self.as_rendered(request));
            for _ in 0..UNION_PAGES_MAX {
                let Some(page) = next.take() else { break };
                let answered = self.send(page).await?;
                if answered.status != 200 {
                    return Err(Refused::upstream(answered.status));
                }
                let link = union.add(&answered.body, self.state.limits.filter_bytes).map_err(|error| match error {
                    UnionError::NoBundle => Refused::garbled(),
                    UnionError::TooMuch => too_costly(),
                })?;
                if let Some(link) = link {
                    next = Some(Outward { method: "GET".into(), url: self.behind(&link, &request.url)?, ..outward() });
                }
            }
            if next.is_some() {
                return Err(too_costly());
            }
        }
        Ok(Answered { status: 200, body: union.bundle(counts), ..Answered::default() })
    }

    /// The path and query at the server of a link it gave, for the answer to a request of ours.
    pub(super) fn behind(&self, link: &str, of: &str) -> Result<String, Refused> {
        let below =
            link.strip_prefix(self.at.url.as_str()).filter(|rest| rest.is_empty() || rest.starts_with(['/', '?']));
        // What leads elsewhere cannot be followed, and without it the rest would seem not to be there.
        let below = below.ok_or_else(Refused::garbled)?;
        let base = self.state.bases.iter().find(|base| base.name == self.at.base).ok_or_else(Refused::garbled)?;
        let raw = RawRequest { method: "GET", url: below, headers: &[], body: None };
        let mut limits = self.state.limits.parse();
        // The server may repeat a whole search in it.
        limits.url_bytes *= 8;
        check_page(&raw, of, base, &limits).map_err(|_| Refused::garbled())?;
        Ok(self.at.own_query(below))
    }

    /// A bundle with links of ours: to itself as it was asked for (path and query), and to further pages by names.
    pub(super) fn relinked(
        &self,
        bundle: &RawValue,
        total: Option<&RawValue>,
        asked: &str,
        of: &Bound,
    ) -> Result<Box<RawValue>, Refused> {
        let members = Members::read(bundle, "").map_err(|_| Refused::garbled())?;
        let given: Vec<&RawValue> = match members.get("link") {
            Some(raw) => serde_json::from_str(raw.get()).map_err(|_| Refused::garbled())?,
            None => Vec::new(),
        };
        let mut links = Vec::new();
        for raw in given {
            let link = Members::read(raw, "link").map_err(|_| Refused::garbled())?;
            let (Some(relation), Some(url)) = (link.text("relation"), link.text("url")) else { continue };
            if relation == "self" {
                links.push(json!({ "relation": "self", "url": format!("{}{asked}", self.at.url) }));
                continue;
            }
            let url = self.behind(&url, of.request.url())?;
            let name = Secret::draw(&self.state.edge).map_err(|_| Refused::garbled())?;
            self.state.pages.keep(name.text(), Page { url, of: of.clone() });
            links.push(json!({ "relation": relation, "url": format!("{}/{PAGE}/{}", self.at.url, name.text()) }));
        }
        let links = serde_json::value::to_raw_value(&links).map_err(|_| Refused::garbled())?;
        let written = members.with("total", total).with("link", (links.get() != "[]").then_some(&*links));
        serde_json::value::to_raw_value(&written).map_err(|_| Refused::garbled())
    }
}

fn too_costly() -> Refused {
    let text = "the search has to be run in parts, and finds more than one answer can hold: ask for less";
    Refused::told(StatusCode::FORBIDDEN, "too-costly", text)
}

/// The requests that are to be sent in place of this one.
pub(super) fn rewritten(answer: &Answer, request: &DecisionRequest) -> Result<Option<Vec<RenderedRequest>>, Refused> {
    let Verdict::Permit(permit) = &answer.verdict else { return Err(Refused::garbled()) };
    let Some(obligation) = permit.obligations().iter().find(|one| one.rewrites()) else { return Ok(None) };
    obligation.requests(&request.request).map(Some).ok_or_else(Refused::garbled)
}

/// A request as it will be decided again for its further pages.
fn asked_again(asked: &Incoming) -> RequestBody {
    RequestBody {
        method: asked.method.clone(),
        url: asked.url.clone(),
        headers: asked.headers_again(),
        body: asked.text().filter(|text| !text.is_empty()).and_then(|text| serde_json::value::to_raw_value(text).ok()),
    }
}
