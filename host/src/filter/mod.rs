//! What may leave: the resources of an answer, judged by the release that permitted the request.
//!
//! It is the second half of a permit that carries `response-filter`: the request was decided before, on the one line
//! every decision walks, and each resource is judged here as a read of it. Nothing is kept that was not judged.

pub mod bundle;
pub mod responses;

use chartgate_model::{Basis, DecisionRequest, FhirRequest, FilterOutcome, Item, Method};
use chartgate_runtime::release::Release;
use chartgate_runtime::sha256;

use crate::audit::LogError;
use crate::audit::filter::{FILTER_SCHEMA, FilterRecord, ItemRecord};
use crate::audit::{InputRecord, ReleaseRecord};
use crate::decide::{Answer, Asked, Decider, Evidence, ROUNDS_MAX};
use crate::facts;

/// The obligation that asks for all this.
pub const RESPONSE_FILTER: &str = "response-filter";
/// The most resources of one policy call, and the most bytes but for single ones: well within what a call may use.
const CHUNK_ITEMS: usize = 128;
const CHUNK_BYTES: usize = 256 << 10;
/// The most bytes of one resource: what is larger cannot be judged.
const ITEM_BYTES: usize = 1 << 20;
/// Facts carried on from one call to the next at the most.
const FACTS_MAX: usize = 256;

/// What came of the resources of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Filtered {
    /// why each is hidden, in order; nothing for one that may leave
    Verdicts(Vec<Option<String>>),
    /// Nothing may leave.
    Denied {
        /// stable code
        reason: String,
        /// what it turns on
        basis: Basis,
    },
    /// No decision was reached: nothing may leave.
    Indeterminate {
        /// stable code
        reason: String,
    },
}

/// Leave out what no caller can do for a request: an answer without a body has nothing to be filtered, and its status and
/// headers tell of all of it. That of a conditional read has none where nothing has changed.
pub fn keep_possible(obligations: &mut Vec<String>, request: &FhirRequest) {
    if request.method == Method::Head || request.revalidates {
        obligations.retain(|id| id != RESPONSE_FILTER);
    }
}

impl Decider {
    /// Judge the resources of the answer to a request, by the release that permitted it.
    pub async fn filter(&self, asked: &Asked<'_>, permitted: &Answer, items: &[Item<'_>]) -> Filtered {
        let mut evidence = Evidence::of(asked.request);
        let filtered = self.judge_items(asked.request, &permitted.release, items, &mut evidence).await;
        match self.record_filter(asked, permitted, items, &evidence, &filtered).await {
            Ok(()) => filtered,
            // SECURITY: nothing leaves before its record is durable.
            Err(error) => {
                tracing::error!(decision.id = %asked.id, %error, "filtering not recorded");
                let reason = if matches!(error, LogError::Full) { "log-full" } else { "log-failed" };
                Filtered::Indeterminate { reason: reason.into() }
            }
        }
    }

    async fn judge_items(
        &self,
        request: &DecisionRequest,
        release: &Release,
        items: &[Item<'_>],
        evidence: &mut Evidence,
    ) -> Filtered {
        let mut verdicts = Vec::with_capacity(items.len());
        for chunk in chunks(items) {
            if evidence.facts.len() > FACTS_MAX {
                evidence.facts.clear();
            }
            let keys = facts::keys_of_items(&release.policy.description.fact_templates, request, chunk);
            if let Err(error) = self.fetch(request, &keys, evidence).await {
                tracing::warn!(%error, "facts not fetched ahead");
            }
            match self.judge_chunk(request, release, chunk, evidence).await {
                Filtered::Verdicts(more) => verdicts.extend(more),
                // SECURITY: half of an answer would not be told from a whole one.
                ended => return ended,
            }
            // The policy call holds its thread; others have their turn in between.
            tokio::task::yield_now().await;
        }
        Filtered::Verdicts(verdicts)
    }

    /// Facts and policy calls until each resource of a chunk is judged.
    async fn judge_chunk(
        &self,
        request: &DecisionRequest,
        release: &Release,
        chunk: &[Item<'_>],
        evidence: &mut Evidence,
    ) -> Filtered {
        if let [item] = chunk
            && item.content.len() > ITEM_BYTES
        {
            return Filtered::Verdicts(vec![Some("content-too-large".into())]);
        }
        let failed = |reason: &str| Filtered::Indeterminate { reason: reason.to_owned() };
        evidence.is_final = false;
        for round in 1..=ROUNDS_MAX {
            evidence.rounds += 1;
            evidence.is_final = round == ROUNDS_MAX;
            let keys = match release.policy.filter(&evidence.input(request, release), chunk) {
                Ok((FilterOutcome::Verdicts(verdicts), fuel)) => {
                    evidence.fuel_used = fuel;
                    return Filtered::Verdicts(verdicts);
                }
                Ok((FilterOutcome::Deny { reason, basis }, _)) => return Filtered::Denied { reason, basis },
                Ok((FilterOutcome::Needs(keys), _)) => keys,
                Err(error) => {
                    evidence.deterministic = error.is_replayable();
                    return failed(error.reason());
                }
            };
            if let Err(error) = self.fetch(request, &keys, evidence).await {
                return failed(error.reason());
            }
        }
        failed("policy-output-invalid")
    }

    async fn record_filter(
        &self,
        asked: &Asked<'_>,
        permitted: &Answer,
        items: &[Item<'_>],
        evidence: &Evidence,
        filtered: &Filtered,
    ) -> Result<(), LogError> {
        let (decision, reason, hidden): (_, &str, &[Option<String>]) = match filtered {
            Filtered::Verdicts(verdicts) => ("filtered", "filtered", verdicts),
            Filtered::Denied { reason, .. } => ("deny", reason, &[]),
            Filtered::Indeterminate { reason } => ("indeterminate", reason, &[]),
        };
        let item = |(at, item): (usize, &Item<'_>)| ItemRecord {
            hidden: hidden.get(at).and_then(Option::as_deref),
            sha256: sha256(item.content).trim_start_matches("sha256:").to_owned(),
        };
        let record = FilterRecord {
            break_glass: &evidence.dropped,
            caller: asked.caller,
            decision,
            deterministic: evidence.deterministic,
            engine_version: self.engine_version,
            fact_sources: &evidence.sources,
            fuel_used: evidence.fuel_used,
            host_version: crate::VERSION,
            id: &asked.id,
            input: InputRecord::new(&evidence.input(asked.request, &permitted.release)),
            items: items.iter().enumerate().map(item).collect(),
            permitted_by: &permitted.id,
            reason,
            release: ReleaseRecord::of(&permitted.release),
            rounds: evidence.rounds,
            schema: FILTER_SCHEMA,
            tenant: &asked.request.tenant,
            time_ms: asked.request.now.0,
        };
        let line = record.to_line().map_err(|_| LogError::NotOneLine)?;
        self.recorder.append(line).await
    }
}

/// Cut into pieces of at most 128 resources and, but for single ones, 256 KiB.
fn chunks<'c, 'a>(mut items: &'c [Item<'a>]) -> impl Iterator<Item = &'c [Item<'a>]> {
    std::iter::from_fn(move || {
        let (mut count, mut bytes) = (0, 0);
        for item in items.iter().take(CHUNK_ITEMS) {
            bytes += item.content.len();
            if count > 0 && bytes > CHUNK_BYTES {
                break;
            }
            count += 1;
        }
        let (chunk, rest) = items.split_at_checked(count)?;
        items = rest;
        (count > 0).then_some(chunk)
    })
}

#[cfg(test)]
mod tests {
    use chartgate_model::ItemMode;

    use super::*;

    fn cut(sizes: &[usize]) -> Vec<usize> {
        let contents: Vec<Vec<u8>> = sizes.iter().map(|size| vec![b' '; *size]).collect();
        let items: Vec<Item<'_>> = contents.iter().map(|content| Item { mode: ItemMode::Match, content }).collect();
        chunks(&items).map(<[Item<'_>]>::len).collect()
    }

    #[test]
    fn chunks_hold_128_resources_or_a_quarter_of_a_mebibyte() {
        assert_eq!(cut(&[]), [0; 0]);
        assert_eq!(cut(&[1; 128]), [128]);
        assert_eq!(cut(&[1; 129]), [128, 1]);
        assert_eq!(cut(&[CHUNK_BYTES]), [1]);
        assert_eq!(cut(&[CHUNK_BYTES - 1, 1, 1]), [2, 1]);
        assert_eq!(cut(&[1, CHUNK_BYTES + 1, 1]), [1, 1, 1]);
    }
}
