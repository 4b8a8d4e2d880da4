//! The FHIR profile: how subject, action, resource and context stand for one FHIR request.
//!
//! The request is written down as method, URL, headers and body and read by the one parser there is.
//! Afterwards the reading has to be what the entities say: an id like `9/_history/2` or a URL of
//! another type is a contradiction, and contradictions are a 400.

use std::collections::BTreeMap;

use chartgate_model::{DecisionRequest, Interaction};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_json::value::RawValue;

use super::body::{
    ActionEntity, ActionProperties, Asked, ContextEntity, ResourceEntity, ResourceProperties, SubjectEntity,
    SubjectProperties, Values,
};
use super::patient;
use crate::break_glass;
use crate::http::json;
use crate::http::problem::Problem;
use crate::http::wire::{Context, Decidable, DecideBody, RequestBody, SubjectBody};

/// What stands for "no single one" as an id, and for the whole system as a type.
const ALL: &str = "*";
/// The kind of a subject that is a client without a user, and the type it has here.
const SYSTEM: &str = "system";
const CLIENT: &str = "Client";
/// Members a break-glass marker is looked for elsewhere, or would be patient data.
const NOT_SEARCHED: [(&str, &str); 5] = [
    ("subject.properties", "scope"),
    ("action.properties", "headers"),
    ("resource.properties", "content"),
    ("resource.properties", "stored"),
    ("context", "facts"),
];

/// One question, in the words of `/v1/decide`, and what has to hold of it once it is read.
pub(super) struct Question {
    body: DecideBody,
    target: Target,
    break_glass: Vec<String>,
    pub(super) explain: bool,
}

/// What the entities say the request is.
struct Target {
    interaction: Interaction,
    kind: String,
    /// `None`: about no single resource
    id: Option<String>,
    version: Option<String>,
    patient: Option<String>,
    /// the member that said where
    member: &'static str,
}

impl Question {
    /// Read the entities.
    pub(super) fn of(asked: &Asked<'_>) -> Result<Self, Problem> {
        let context: ContextEntity = properties(asked.context, "context")?;
        let (target, request, stored) = fhir(asked)?;
        let facts = context.facts.as_deref().map(|facts| json::part(facts, "context.facts")).transpose()?;
        let explain = context.explain.unwrap_or_default();
        let body = DecideBody {
            tenant: context.tenant,
            fhir: context.fhir,
            request,
            subject: Some(subject(asked)?),
            stored,
            facts,
            obligations: context.supported_obligations.unwrap_or_default(),
            policy: context.policy,
            explain,
            ..DecideBody::default()
        };
        Ok(Self { body, target, break_glass: markers(asked), explain })
    }

    /// Take the way of `/v1/decide`; what was read has to be what was said.
    pub(super) async fn decidable(self, context: &Context<'_>) -> Result<Decidable, Problem> {
        let Self { body, target, break_glass: found, .. } = self;
        let mut decidable = context.decidable(body).await.map_err(in_words_of_authzen)?;
        match &mut decidable {
            Decidable::Request(request) => {
                target.is(request)?;
                request.break_glass.extend(found);
            }
            Decidable::BadToken { break_glass, .. } => break_glass.extend(found),
        }
        Ok(decidable)
    }
}

impl Target {
    fn of(asked: &Asked<'_>) -> Result<(Self, ActionProperties, ResourceProperties), Problem> {
        let action: ActionEntity = entity(asked.action, "action")?;
        let resource: ResourceEntity = entity(asked.resource, "resource")?;
        let name = required(action.name, "action.name")?;
        let interaction = Interaction::from_code(&name)
            .ok_or_else(|| Problem::member("action.name", "is the code of no FHIR interaction"))?;
        let kind = required(resource.r#type, "resource.type")?;
        let id = required(resource.id, "resource.id")?;
        let more: ResourceProperties = properties(resource.properties.as_deref(), "resource.properties")?;
        let target = Self {
            interaction,
            kind: if kind == ALL { String::new() } else { kind },
            id: Some(id).filter(|id| !id.is_empty() && id != ALL),
            version: more.version.clone(),
            patient: more.patient.clone(),
            member: if more.url.is_some() { "resource.properties.url" } else { "resource" },
        };
        Ok((target, properties(action.properties.as_deref(), "action.properties")?, more))
    }

    /// SECURITY: the decision is about what was read. The caller enforces it for what it said, so the
    /// two must be one.
    fn is(&self, decision: &DecisionRequest) -> Result<(), Problem> {
        let read = &decision.request;
        let differs = |what: &str| Err(Problem::member(self.member, format!("is not about the {what} given")));
        if read.interaction != self.interaction {
            return differs("action");
        }
        if read.resource_type != self.kind {
            return differs("resource type");
        }
        if read.id != self.id {
            return differs("resource id");
        }
        if read.version != self.version {
            return differs("version");
        }
        match &self.patient {
            Some(patient) => patient::agrees(patient, decision),
            None => Ok(()),
        }
    }

    /// `Observation/9`, where the request is about a single resource.
    fn key(&self) -> Option<String> {
        let (kind, id) = (&self.kind, self.id.as_deref()?);
        match (self.interaction, &self.version) {
            (Interaction::Vread, Some(version)) => Some(format!("{kind}/{id}/_history/{version}")),
            _ => Some(format!("{kind}/{id}")),
        }
    }

    fn method(&self, sends: bool) -> &'static str {
        use Interaction::{Batch, Create, Delete, Operation, Patch, Transaction, Update};
        match self.interaction {
            Create | Batch | Transaction => "POST",
            Operation if sends => "POST",
            Update => "PUT",
            Patch => "PATCH",
            Delete => "DELETE",
            _ => "GET",
        }
    }

    /// The path where the entities say it all.
    fn path(&self) -> Result<String, Problem> {
        use Interaction as I;
        let (kind, id) = (self.kind.as_str(), self.id.as_deref().unwrap_or_default());
        Ok(match self.interaction {
            I::Read | I::Update | I::Patch | I::Delete => format!("/{kind}/{id}"),
            I::Vread => {
                let version = self.version.as_deref();
                let version = version.ok_or_else(|| Problem::member("resource.properties.version", "is missing"))?;
                format!("/{kind}/{id}/_history/{version}")
            }
            I::HistoryInstance => format!("/{kind}/{id}/_history"),
            I::HistoryType => format!("/{kind}/_history"),
            I::HistorySystem => "/_history".into(),
            I::SearchType | I::Create => format!("/{kind}"),
            // The query is what makes it a search.
            I::SearchSystem => "/?".into(),
            I::Batch | I::Transaction => "/".into(),
            I::Capabilities => "/metadata".into(),
            I::Operation => return Err(Problem::member("resource.properties.url", "has to name the operation")),
        })
    }
}

type StoredMembers = BTreeMap<String, Option<Box<RawValue>>>;

/// The FHIR request the entities stand for, and the stored resource.
fn fhir(asked: &Asked<'_>) -> Result<(Target, RequestBody, StoredMembers), Problem> {
    let (target, action, more) = Target::of(asked)?;
    let ResourceProperties { content, stored, parameters, url, .. } = more;
    let (body, stored) = images(target.interaction, content, stored)?;
    let url = match (url, parameters) {
        (Some(_), Some(_)) => return Err(Problem::member("resource.properties.parameters", "stands beside a `url`")),
        (Some(url), None) => url,
        (None, parameters) => with_query(target.path()?, &parameters.unwrap_or_default()),
    };
    let method = target.method(body.is_some()).into();
    let request = RequestBody { method, url, headers: action.headers.unwrap_or_default(), body };
    let mut members = StoredMembers::new();
    if let Some((member, raw)) = stored {
        let no_key = || Problem::member(member, "this interaction is about no single resource");
        let key = target.key().ok_or_else(no_key)?;
        // `null`: looked for and not there.
        members.insert(key, Some(raw).filter(|raw| raw.get() != "null"));
    }
    Ok((target, request, members))
}

type Image = Option<Box<RawValue>>;
/// With the member that gave it.
type StoredImage = Option<(&'static str, Box<RawValue>)>;

/// The resource sent and the stored one.
fn images(interaction: Interaction, content: Image, stored: Image) -> Result<(Image, StoredImage), Problem> {
    use Interaction::{Batch, Create, Operation, Patch, Transaction, Update};
    const CONTENT: &str = "resource.properties.content";
    const STORED: &str = "resource.properties.stored";
    match (content, stored) {
        (content, stored) if matches!(interaction, Create | Update | Patch | Operation | Batch | Transaction) => {
            Ok((content, stored.map(|raw| (STORED, raw))))
        }
        (Some(_), Some(_)) => Err(Problem::member(STORED, "stands beside a `content` that is the stored resource")),
        (Some(raw), None) => Ok((None, Some((CONTENT, raw)))),
        (None, stored) => Ok((None, stored.map(|raw| (STORED, raw)))),
    }
}

fn with_query(mut path: String, parameters: &BTreeMap<String, Values>) -> String {
    let pairs = parameters.iter().flat_map(|(name, values)| values.all().iter().map(move |value| (name, value)));
    let encode = |text| utf8_percent_encode(text, NON_ALPHANUMERIC);
    let pairs: Vec<String> = pairs.map(|(name, value)| format!("{}={}", encode(name), encode(value))).collect();
    if !pairs.is_empty() {
        path.push_str(if path.ends_with('?') { "" } else { "?" });
        path.push_str(&pairs.join("&"));
    }
    path
}

fn subject(asked: &Asked<'_>) -> Result<SubjectBody, Problem> {
    let given: SubjectEntity = entity(asked.subject, "subject")?;
    let (kind, id) = (required(given.r#type, "subject.type")?, required(given.id, "subject.id")?);
    let more: SubjectProperties = properties(given.properties.as_deref(), "subject.properties")?;
    let (user, client) = match more.kind.as_deref() {
        Some(SYSTEM) if kind != CLIENT => {
            return Err(Problem::member("subject.type", format!("a client without a user is a `{CLIENT}`")));
        }
        Some(SYSTEM) if more.client.as_ref().is_some_and(|client| *client != id) => {
            return Err(Problem::member("subject.properties.client", "is not the client the subject is"));
        }
        Some(SYSTEM) => (None, id),
        _ => (Some(format!("{kind}/{id}")), more.client.unwrap_or_default()),
    };
    Ok(SubjectBody {
        kind: more.kind,
        user,
        client,
        scope: more.scope.unwrap_or_default(),
        patient: more.patient,
        encounter: more.encounter,
        expires: more.expires,
    })
}

/// Where break-glass markers stand. Nothing of this is judged: the record tells that somebody tried.
fn markers(asked: &Asked<'_>) -> Vec<String> {
    let properties = |entity: Option<_>| members(entity).remove("properties");
    let places = [
        ("subject.properties", properties(asked.subject)),
        ("action.properties", properties(asked.action)),
        ("resource.properties", properties(asked.resource)),
        ("context", asked.context),
    ];
    let mut found = Vec::new();
    for (place, raw) in places {
        // What is not searched is not even read: it may be a resource of a megabyte.
        let searched = members(raw).into_iter().filter(|(name, _)| !NOT_SEARCHED.contains(&(place, name)));
        let read = |(name, raw): (String, &RawValue)| Some((name, serde_json::from_str(raw.get()).ok()?));
        found.extend(break_glass::in_json(place, &Value::Object(searched.filter_map(read).collect())));
    }
    found
}

/// The members of an entity that was read before, none of them read itself.
fn members(entity: Option<&RawValue>) -> BTreeMap<String, &RawValue> {
    entity.and_then(|raw| serde_json::from_str(raw.get()).ok()).unwrap_or_default()
}

fn entity<T: DeserializeOwned>(raw: Option<&RawValue>, member: &str) -> Result<T, Problem> {
    json::part(raw.ok_or_else(|| Problem::member(member, "is missing"))?, member)
}

fn properties<T: DeserializeOwned + Default>(raw: Option<&RawValue>, member: &str) -> Result<T, Problem> {
    raw.map_or_else(|| Ok(T::default()), |raw| json::part(raw, member))
}

fn required(text: Option<String>, member: &str) -> Result<String, Problem> {
    text.ok_or_else(|| Problem::member(member, "is missing"))
}

/// A problem with a member of `/v1/decide`, told of the member of AuthZEN it came from.
pub(super) fn in_words_of_authzen(problem: Problem) -> Problem {
    let Some(member) = &problem.member else { return problem };
    let here = renamed(member);
    let detail = match problem.detail.strip_prefix(member.as_str()) {
        Some(rest) => format!("{here}{rest}"),
        None => problem.detail.clone(),
    };
    Problem { member: Some(here), detail, ..problem }
}

fn renamed(member: &str) -> String {
    let (first, rest) = member.split_once('.').unwrap_or((member, ""));
    match (first, rest) {
        ("request", "body") => "resource.properties.content".into(),
        ("request", "url" | "method") => "resource".into(),
        ("request", headers) => format!("action.properties.{headers}"),
        ("stored", _) => "resource.properties".into(),
        ("subject", "user") => "subject.id".into(),
        ("subject", "") => "subject".into(),
        ("subject", rest) => format!("subject.properties.{rest}"),
        ("tenant" | "fhir" | "facts" | "policy" | "explain", _) => format!("context.{member}"),
        _ => member.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_told_in_the_words_of_the_caller() {
        let table = [
            ("request.url", "resource"),
            ("request.body", "resource.properties.content"),
            ("request.headers.prefer", "action.properties.headers.prefer"),
            ("request.headers", "action.properties.headers"),
            ("stored.Observation/9.5", "resource.properties"),
            ("subject.user", "subject.id"),
            ("subject.kind", "subject.properties.kind"),
            ("subject", "subject"),
            ("facts.relationships[0].kind", "context.facts.relationships[0].kind"),
            ("tenant", "context.tenant"),
            ("Chartgate-Policy", "Chartgate-Policy"),
        ];
        for (there, here) in table {
            let problem = in_words_of_authzen(Problem::member(there, "is wrong"));
            assert_eq!((problem.member.as_deref(), problem.detail), (Some(here), format!("{here}: is wrong")));
        }
    }

    #[test]
    fn a_marker_is_found_but_not_in_what_is_looked_at_elsewhere() {
        let raw = |text: &str| RawValue::from_string(text.to_owned()).unwrap();
        let [subject, action, resource, context] = [
            raw(r#"{"id":"BTG","properties":{"scope":"BTG","purpose":"BTG"}}"#),
            raw(r#"{"name":"read","properties":{"headers":{"x":"BTG"},"break-glass":true}}"#),
            raw(r#"{"properties":{"content":{"x":"BTG"},"stored":"BTG","url":["/","BTG"],"size":1e999}}"#),
            raw(r#"{"facts":"BTG","deep":{"facts":"BTG"}}"#),
        ];
        let asked = Asked {
            subject: Some(&*subject),
            action: Some(&*action),
            resource: Some(&*resource),
            context: Some(&*context),
        };
        let expected = [
            "subject.properties.purpose",
            "action.properties.break-glass",
            "resource.properties.url",
            "context.deep.facts",
        ];
        assert_eq!(markers(&asked), expected);
        assert!(markers(&Asked::default()).is_empty());
    }

    #[test]
    fn parameters_are_encoded_once() {
        let parameters = BTreeMap::from([
            ("code".into(), Values::Many(vec!["http://loinc.org|1".into(), "a&b".into()])),
            ("_id".into(), Values::One("é".into())),
        ]);
        let url = "/Observation?%5Fid=%C3%A9&code=http%3A%2F%2Floinc%2Eorg%7C1&code=a%26b";
        assert_eq!(with_query("/Observation".into(), &parameters), url);
        assert_eq!(with_query("/?".into(), &BTreeMap::new()), "/?");
    }
}
