//! What this face answers. The harnesses of the standard compare answers exactly, so `context` is
//! there only when something has to be said.

use serde::Serialize;
use utoipa::ToSchema;

use crate::http::problem::Problem;
use crate::http::wire::{AnswerBody, FactsStamp, ObligationBody, PolicyStamp, ReasonBody, TraceRow};
use crate::tokens::TokenError;

/// One decision. Only `true`, with every obligation of the context done, lets anything happen.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct EvaluationAnswer {
    pub(super) decision: bool,
    #[serde(skip_serializing_if = "AnswerContext::is_empty")]
    #[schema(value_type = Option<AnswerContext>)]
    context: AnswerContext,
}

/// The answer of `/access/v1/evaluations`.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub(in crate::http) enum EvaluationsAnswer {
    /// the request had items: one answer for each that was evaluated, in order
    Many {
        /// the answers
        evaluations: Vec<EvaluationAnswer>,
    },
    /// it had none
    #[expect(dead_code, reason = "for the schema: it is written as what it is")]
    One(Box<EvaluationAnswer>),
}

/// What has to be said beside the decision.
#[derive(Debug, Default, Serialize, ToSchema)]
pub(in crate::http) struct AnswerContext {
    /// what the caller has to do, as in `/v1/decide`
    #[serde(skip_serializing_if = "Vec::is_empty")]
    obligations: Vec<ObligationBody>,
    /// resources to fetch and ask again with, `Observation/9`
    #[serde(skip_serializing_if = "Vec::is_empty")]
    needs: Vec<String>,
    /// no decision was reached, or the item could not be decided
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<EvaluationError>,
    #[serde(flatten)]
    explanation: Option<Explanation>,
}

/// Why there is no decision; `decision` is `false` then.
#[derive(Debug, Serialize, ToSchema)]
struct EvaluationError {
    /// the status it would have had by itself
    status: u16,
    /// names the member, holds no token and no patient data
    message: String,
}

/// For callers with the right `explain` that ask with `context.explain`; for logs, never for the app.
#[derive(Debug, Serialize, ToSchema)]
struct Explanation {
    /// identifier of the decision, also in the decision log
    id: String,
    reason: ReasonBody,
    /// until when a permit may be cached for an identical request; absent: never
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    facts: Option<FactsStamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    policy: Option<PolicyStamp>,
    trace: Vec<TraceRow>,
}

impl AnswerContext {
    fn is_empty(&self) -> bool {
        let Self { obligations, needs, error, explanation } = self;
        obligations.is_empty() && needs.is_empty() && error.is_none() && explanation.is_none()
    }
}

impl EvaluationError {
    fn new(status: u16, message: impl Into<String>) -> Self {
        Self { status, message: message.into() }
    }
}

impl EvaluationAnswer {
    /// The words of AuthZEN for an answer of `/v1/decide`.
    pub(super) fn of(answer: AnswerBody, explain: bool) -> Self {
        let AnswerBody { decision, id, expires_at, reason, obligations, needs, facts, policy, trace, .. } = answer;
        let explanation = explain.then(|| Explanation {
            id,
            reason,
            expires_at,
            facts: Some(facts),
            policy: Some(policy),
            trace: trace.unwrap_or_default(),
        });
        // A plain deny would be final; this one is worth another try.
        let error = (decision == Some("indeterminate")).then(|| EvaluationError::new(503, "no decision was reached"));
        let context = AnswerContext { obligations, needs, error, explanation };
        Self { decision: decision == Some("permit"), context }
    }

    /// The vouched token has ended.
    pub(super) fn bad_token(id: String, error: &TokenError, explain: bool) -> Self {
        let reason = ReasonBody::new(error.code(), error);
        let explanation =
            explain.then(|| Explanation { id, reason, expires_at: None, facts: None, policy: None, trace: Vec::new() });
        Self { decision: false, context: AnswerContext { explanation, ..AnswerContext::default() } }
    }

    /// An item that could not be decided.
    pub(super) fn failed(problem: &Problem) -> Self {
        let error = Some(EvaluationError::new(problem.status, problem.detail.clone()));
        Self { decision: false, context: AnswerContext { error, ..AnswerContext::default() } }
    }
}
