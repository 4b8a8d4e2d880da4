//! Many questions in one request (Authorization API 1.0, "Access Evaluations API"): a loop over single
//! ones. Each is read, decided and recorded by itself, and nothing is kept between two of them.

use std::fmt;

use serde::de::{Deserializer as _, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::answer::EvaluationAnswer;
use super::body::{Asked, EvaluationItem, EvaluationsBody, EvaluationsOptions};
use super::evaluate;
use crate::http::problem::Problem;
use crate::http::wire::Context;
use crate::http::{State, json};

/// When to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Semantic {
    /// never
    ExecuteAll,
    /// behind the first deny or failed item, like `&&`
    DenyOnFirstDeny,
    /// behind the first permit, like `||`
    PermitOnFirstPermit,
}

impl Semantic {
    fn ends_with(self, decision: bool) -> bool {
        match self {
            Self::ExecuteAll => false,
            Self::DenyOnFirstDeny => !decision,
            Self::PermitOnFirstPermit => decision,
        }
    }
}

/// The items, not read yet, and how to run them.
pub(super) fn items(body: &EvaluationsBody, most: usize) -> Result<(Vec<&RawValue>, Semantic), Problem> {
    let options = body.options.as_deref().map(|options| json::part::<EvaluationsOptions>(options, "options"));
    let semantic = options.transpose()?.unwrap_or_default().evaluations_semantic;
    let semantic = match semantic.as_deref() {
        None | Some("execute_all") => Semantic::ExecuteAll,
        Some("deny_on_first_deny") => Semantic::DenyOnFirstDeny,
        Some("permit_on_first_permit") => Semantic::PermitOnFirstPermit,
        Some(_) => {
            let expected = "is none of execute_all, deny_on_first_deny, permit_on_first_permit";
            return Err(Problem::member("options.evaluations_semantic", expected));
        }
    };
    let items = body.evaluations.as_deref().map(|list| list_of(list, most)).transpose()?.unwrap_or_default();
    Ok((items, semantic))
}

/// Run the items in order. The last answer is that of the deciding item; those behind it are not
/// evaluated at all.
pub(super) async fn run(
    state: &State,
    context: &Context<'_>,
    defaults: &Asked<'_>,
    items: &[&RawValue],
    semantic: Semantic,
) -> Vec<EvaluationAnswer> {
    let mut answers = Vec::new();
    for (at, item) in items.iter().enumerate() {
        let answer = match one(state, context, defaults, item, at).await {
            Ok(answer) => answer,
            Err(problem) => EvaluationAnswer::failed(&problem),
        };
        let ends = semantic.ends_with(answer.decision);
        answers.push(answer);
        if ends {
            break;
        }
    }
    answers
}

async fn one(
    state: &State,
    context: &Context<'_>,
    defaults: &Asked<'_>,
    item: &RawValue,
    at: usize,
) -> Result<EvaluationAnswer, Problem> {
    // The way in has paid for the first.
    if at > 0 {
        state.gate.charge(&context.caller.name)?;
    }
    let item: EvaluationItem = json::part(item, &format!("evaluations[{at}]"))?;
    let (answer, _) = evaluate(state, context, &item.over(defaults)).await?;
    Ok(answer)
}

/// The elements of a list, at the most so many.
///
/// SECURITY: the walk ends at the first one too many, so that a body full of empty items costs nothing.
fn list_of(raw: &RawValue, most: usize) -> Result<Vec<&RawValue>, Problem> {
    struct Elements(usize);

    impl<'de> Visitor<'de> for Elements {
        type Value = Option<Vec<&'de RawValue>>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a list")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
            let mut elements = Vec::new();
            while let Some(element) = list.next_element()? {
                if elements.len() == self.0 {
                    return Ok(None);
                }
                elements.push(element);
            }
            Ok(Some(elements))
        }
    }

    if !raw.get().starts_with('[') {
        return Err(Problem::member("evaluations", "has to be a list"));
    }
    // A list that is left early is an error of the parser as well; both mean that it is too long.
    let elements = serde_json::Deserializer::from_str(raw.get()).deserialize_seq(Elements(most)).ok().flatten();
    elements.ok_or_else(|| Problem::member("evaluations", format!("has more than {most} items")))
}
