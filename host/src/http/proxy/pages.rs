//! Links to further pages: kept here, and known to apps by a name nobody can guess.
//!
//! SECURITY: a link of the server means nothing to this host, and an app may not make one up. So apps get a name, and the
//! link stays with what its first request was: who asked, for what, by which release.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};

use axum::http::StatusCode;

use super::exchange::{Incoming, Outgoing, Refused, outward};
use super::many::Leaving;
use super::{FACE, Proxy};
use crate::decide::Verdict;
use crate::http::binding::Bound;
use crate::http::decide::again;
use crate::http::judge::Judged;
use crate::http::wire::{Context, Denial};
use crate::proxy::Outward;

/// Bytes of all pages kept at once: beyond, the oldest are forgotten.
const BYTES_MAX: usize = 64 << 20;

/// A page that can be asked for.
#[derive(Debug, Clone)]
pub(super) struct Page {
    /// path and query at the server
    pub(super) url: String,
    /// the request whose answer goes on there
    pub(super) of: Bound,
}

impl Page {
    /// About how much it takes to keep it.
    fn bytes(&self) -> usize {
        self.url.len() + self.of.bytes()
    }
}

/// Pages that can be asked for.
pub struct Pages {
    kept: Mutex<Kept>,
    most_bytes: usize,
}

#[derive(Default)]
struct Kept {
    pages: HashMap<String, Page>,
    order: VecDeque<String>,
    bytes: usize,
}

impl Default for Pages {
    fn default() -> Self {
        Self { kept: Mutex::default(), most_bytes: BYTES_MAX }
    }
}

impl Pages {
    /// Keep a page under a name that has to be new.
    pub(super) fn keep(&self, name: &str, page: Page) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.bytes += page.bytes();
        kept.order.push_back(name.to_owned());
        kept.pages.insert(name.to_owned(), page);
        while kept.bytes > self.most_bytes
            && let Some(oldest) = kept.order.pop_front()
        {
            let gone = kept.pages.remove(&oldest).map_or(0, |page| page.bytes());
            kept.bytes = kept.bytes.saturating_sub(gone);
        }
    }

    /// The page of a name.
    pub(super) fn find(&self, name: &str) -> Option<Page> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).pages.get(name).cloned()
    }
}

impl Proxy<'_> {
    /// A further page of an answer: its request is decided anew, and the whole page filtered.
    pub(super) async fn page(&self, context: &Context<'_>, asked: &Incoming, name: &str) -> Result<Outgoing, Refused> {
        if !matches!(asked.method.as_str(), "GET" | "HEAD") {
            return Err(Refused::told(StatusCode::METHOD_NOT_ALLOWED, "not-supported", "pages are asked for by GET"));
        }
        let page = self.state.pages.find(name);
        let here = |page: &Page| page.of.is_of(&self.at.tenant, &self.at.base) && !page.of.has_ended(self.now);
        let page = page.filter(here).ok_or_else(gone)?;
        let body = self.body_of(&Incoming::own("GET", &asked.url, asked.authorization().unwrap_or_default()), &[]);
        let (answer, request) = match again(self.state, FACE, context, body, &page.of).await {
            Ok(Judged::Answered(answer, request)) => (answer, request),
            Ok(Judged::BadToken { error, .. }) => {
                return Err(Refused::Denied(Box::new(Denial::of_token(&error)), Some(error.to_string())));
            }
            // Of somebody else, or of a release that is no more.
            Err(problem) if problem.member.as_deref().is_some_and(|member| member != "request") => return Err(gone()),
            Err(problem) => return Err(problem.into()),
        };
        match &answer.verdict {
            Verdict::Permit(_) => {}
            Verdict::Deny(basis) => {
                let denial = Denial::of(*basis, &answer.reason);
                return Err(Refused::Denied(Box::new(denial), Some(answer.text.clone())));
            }
            Verdict::Indeterminate => return Err(Refused::Denied(Box::new(Denial::unavailable()), None)),
        }
        let answered = self.send(Outward { method: "GET".into(), url: page.url.clone(), ..outward() }).await?;
        match answered.status {
            200 => {
                let page = Leaving { asked, request: &request, answer: &answer, obliged: true, of: &page.of };
                self.leaving(&page, answered).await
            }
            404 | 410 => Err(gone()),
            status => Err(Refused::upstream(status)),
        }
    }
}

fn gone() -> Refused {
    Refused::told(StatusCode::GONE, "not-found", "there is no such page any more: search again")
}
