//! Batches and transactions: a loop over [`Decider::decide`]. Each entry is a request of its own and decided as if it
//! came alone, by one release; the entries of a batch fail singly, and a transaction is denied whole.

mod entry;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use chartgate_model::parse::ParseLimits;
use chartgate_model::{Basis, DecisionRequest, FhirRequest, Interaction};
use chartgate_runtime::release::Release;
use futures_util::StreamExt as _;

pub use entry::EntryError;

use crate::audit::bundle::{BUNDLE_SCHEMA, BundleRecord, EntryRecord};
use crate::audit::{LogError, ReleaseRecord};
use crate::decide::{Answer, Asked, Decider, Verdict};
use crate::rollout::SelectError;

/// The obligation to run each entry as its own answer says, and no other.
pub const BATCH_ENTRIES: &str = "batch-entries";
/// Entries whose records are on their way to the disk at once.
const UNDER_WAY: usize = 64;

/// Bounds of a bundle.
#[derive(Debug, Clone, Copy)]
pub struct BundleLimits {
    /// entries it may have
    pub entries: usize,
    /// bounds of each of them
    pub entry: ParseLimits,
}

/// How many entries a bundle has.
pub fn size(bundle: &DecisionRequest) -> usize {
    entry::count(bundle).unwrap_or_default()
}

/// What is decided of a bundle.
#[derive(Debug)]
pub struct BundleAnswer {
    /// identifier of the decision about the whole
    pub id: String,
    /// what is decided of the whole
    pub whole: Whole,
    /// stable code
    pub reason: String,
    /// the reason as one sentence, for logs
    pub text: String,
    /// what is decided of each entry, in order
    pub entries: Vec<EntryAnswer>,
    /// the release that decided
    pub release: Arc<Release>,
}

/// What is decided of a bundle as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whole {
    /// it may be run as it came
    Permit,
    /// those entries may be run that are permitted, each as its answer says
    PermitByEntry,
    /// it may not be run
    Deny,
    /// no decision was reached about some entry
    Indeterminate,
}

impl Whole {
    /// Whether anything may be run.
    pub fn is_permit(self) -> bool {
        matches!(self, Self::Permit | Self::PermitByEntry)
    }

    /// The stable code, as in answers and records.
    pub fn code(self) -> &'static str {
        match self {
            Self::Permit | Self::PermitByEntry => "permit",
            Self::Deny => "deny",
            Self::Indeterminate => "indeterminate",
        }
    }
}

/// What is decided of one entry.
#[derive(Debug)]
pub enum EntryAnswer {
    /// a policy was asked
    Answered(Box<Answer>, Box<FhirRequest>),
    /// it is no request
    Refused(EntryError),
}

impl EntryAnswer {
    fn verdict(&self) -> Option<&Verdict> {
        match self {
            Self::Answered(answer, _) => Some(&answer.verdict),
            Self::Refused(_) => None,
        }
    }

    fn reason(&self) -> &str {
        match self {
            Self::Answered(answer, _) => &answer.reason,
            Self::Refused(error) => error.code(),
        }
    }
}

impl Decider {
    /// Decide a batch or a transaction; `new_id` gives identifiers for its entries.
    ///
    /// An error means that no release may decide this at all.
    pub async fn decide_bundle(
        &self,
        asked: &Asked<'_>,
        limits: &BundleLimits,
        new_id: &(dyn Fn() -> String + Send + Sync),
    ) -> Result<BundleAnswer, SelectError> {
        let release = self.rollout.select(asked.caller, asked.request)?;
        let requests = entry::requests(asked.request, &limits.entry, limits.entries).unwrap_or_default();
        let entry = |request: Result<FhirRequest, EntryError>| self.entry(asked, &release, request, new_id());
        let entries: Vec<EntryAnswer> =
            futures_util::stream::iter(requests).map(entry).buffered(UNDER_WAY).collect().await;
        let (whole, reason, text) = conclude(asked, &entries, limits.entries);
        let answer = BundleAnswer { id: asked.id.clone(), whole, reason, text, entries, release };
        Ok(self.record_bundle(asked, answer).await)
    }

    async fn entry(
        &self,
        asked: &Asked<'_>,
        release: &Arc<Release>,
        request: Result<FhirRequest, EntryError>,
        id: String,
    ) -> EntryAnswer {
        let request = match request {
            Ok(request) => entry::decision(asked.request, request),
            Err(error) => return EntryAnswer::Refused(error),
        };
        let one = Asked { id, caller: asked.caller, face: asked.face, request: &request };
        let answer = self.decide_by(one, Arc::clone(release)).await;
        // A policy call holds its thread; others have their turn in between.
        tokio::task::yield_now().await;
        EntryAnswer::Answered(Box::new(answer), Box::new(FhirRequest { body: None, ..request.request }))
    }

    /// SECURITY: nothing is answered before its record is durable.
    async fn record_bundle(&self, asked: &Asked<'_>, answer: BundleAnswer) -> BundleAnswer {
        let entry = |entry: &EntryAnswer| EntryRecord {
            decision: entry.verdict().map_or("deny", Verdict::code),
            id: match entry {
                EntryAnswer::Answered(answer, _) => Some(answer.id.clone()),
                EntryAnswer::Refused(_) => None,
            },
            reason: entry.reason().to_owned(),
        };
        let record = BundleRecord {
            caller: asked.caller,
            decision: answer.whole.code(),
            entries: answer.entries.iter().map(entry).collect(),
            face: asked.face,
            host_version: crate::VERSION,
            id: &asked.id,
            interaction: asked.request.request.interaction.code(),
            reason: &answer.reason,
            release: ReleaseRecord::of(&answer.release),
            schema: BUNDLE_SCHEMA,
            simulate: asked.request.simulate,
            tenant: &asked.request.tenant,
            time_ms: asked.request.now.0,
        };
        let recorded = match record.to_line() {
            Ok(line) => self.recorder.append(line).await,
            Err(_) => Err(LogError::NotOneLine),
        };
        let Err(error) = recorded else { return answer };
        tracing::error!(decision.id = %asked.id, %error, "decision about a bundle not recorded");
        let reason = if matches!(error, LogError::Full) { "log-full" } else { "log-failed" };
        let text = String::from("no decision was reached");
        BundleAnswer { whole: Whole::Indeterminate, reason: reason.into(), text, entries: Vec::new(), ..answer }
    }
}

/// What follows for the whole.
fn conclude(asked: &Asked<'_>, entries: &[EntryAnswer], most: usize) -> (Whole, String, String) {
    let said = |whole, reason: &str, text: String| (whole, reason.to_owned(), text);
    if entries.is_empty() {
        return said(Whole::Deny, "bundle-size", format!("a bundle has one entry at least and {most} at the most"));
    }
    let declares = asked.request.obligations.iter().any(|declared| declared == BATCH_ENTRIES);
    let permitted = |entry: &&EntryAnswer| matches!(entry.verdict(), Some(Verdict::Permit(_)));
    let count = entries.iter().filter(permitted).count();
    let is_transaction = asked.request.request.interaction == Interaction::Transaction;
    if let Some((at, first)) = entries.iter().enumerate().find(|(_, entry)| !permitted(entry))
        && (is_transaction || count == 0)
    {
        let open = |entry: &EntryAnswer| matches!(entry.verdict(), Some(Verdict::Indeterminate));
        let whole = if entries.iter().any(open) { Whole::Indeterminate } else { Whole::Deny };
        let text = format!("entry {at} is not permitted: {}", first.reason());
        return said(whole, if is_transaction { "transaction-denied" } else { "batch-denied" }, text);
    }
    let plain = |entry: &EntryAnswer| match entry.verdict() {
        Some(Verdict::Permit(permit)) => permit.obligations().is_empty(),
        _ => false,
    };
    if entries.iter().all(plain) {
        return said(Whole::Permit, "entries-permitted", format!("all {count} entries are permitted as they came"));
    }
    if !declares {
        let text = format!("the permit needs the obligation `{BATCH_ENTRIES}`, which the caller did not declare");
        return said(Whole::Deny, "obligation-not-supported", text);
    }
    let text = format!("{count} of {} entries are permitted", entries.len());
    said(Whole::PermitByEntry, "entries-permitted", text)
}

/// An entry that was decided, as the request it is, with nothing of what is stored.
pub fn request_of(bundle: &DecisionRequest, entry: &FhirRequest) -> DecisionRequest {
    entry::decision(bundle, entry.clone())
}

/// What a client may be told of an entry that is not permitted.
pub fn basis(entry: &EntryAnswer) -> Option<Basis> {
    match entry {
        EntryAnswer::Answered(answer, _) => match answer.verdict {
            Verdict::Deny(basis) => Some(basis),
            Verdict::Permit(_) | Verdict::Indeterminate => None,
        },
        EntryAnswer::Refused(_) => Some(Basis::Request),
    }
}
