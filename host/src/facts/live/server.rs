//! One FHIR server, and what it is asked about whom.

use std::collections::BTreeSet;
use std::time::Duration;

use chartgate_model::{Millis, RecordClass, Relationship, strict};
use serde_json::Value;
use tokio::time::Instant;

use super::breaker::Breaker;
use super::{Known, LiveError, Question, SOURCE, roles};
use crate::derived::{Derived, Reading, derive};
use crate::outbound::{Endpoint, FetchError, HeaderValue};
use crate::people;

/// Pages of one search.
const PAGES_MAX: usize = 5;
/// Resources of a page, as it is asked for.
const PAGE: &str = "200";
/// Patients asked for by id at once.
pub(in crate::facts) const IDS_MAX: usize = 100;
/// Nesting of an answer.
const DEPTH_MAX: usize = 96;

/// A FHIR server that is asked for facts.
pub(crate) struct Server {
    pub(crate) endpoint: Endpoint,
    pub(crate) authorization: Option<HeaderValue>,
    pub(crate) reading: Reading,
    /// tenants it speaks for
    pub(crate) tenants: Vec<String>,
    /// types it does not have
    pub(crate) without: Vec<String>,
    /// how long an answer may take in all
    pub(crate) timeout: Duration,
    /// how long an answer is kept
    pub(crate) max_age: Duration,
    pub(crate) now: Box<dyn Fn() -> Millis + Send + Sync>,
    /// how it has fared
    pub(crate) breaker: Breaker,
}

/// A search: path without ids, and its parameters.
type Search<'a> = (&'static str, Vec<(&'static str, &'a str)>);

impl Server {
    pub(super) async fn ask(&self, question: &Question) -> Result<Known, LiveError> {
        if !self.breaker.lets_through(Instant::now()) {
            return Err(LiveError::Resting);
        }
        let known = tokio::time::timeout(self.timeout, async {
            match question {
                Question::Charts(ids) => self.charts(ids).await,
                Question::Patient(id) => self.patient(id).await,
                Question::User(user) => self.user(user).await,
                Question::Roles(practitioner) => self.roles(practitioner).await,
                Question::List(user) => self.list(user).await,
            }
        });
        let known = known.await.unwrap_or_else(|_| {
            Err(LiveError::Asked { path: "resources", reason: "it takes too long".into(), unwell: true })
        });
        // An answer about one patient that is no good says nothing of the server.
        let unwell = matches!(&known, Err(LiveError::Asked { unwell: true, .. }));
        self.breaker.tell(!unwell, Instant::now());
        let outcome = if known.is_ok() { "ok" } else { "failed" };
        metrics::counter!("chartgate_fact_fetches_total", "outcome" => outcome).increment(1);
        known
    }

    /// All who are related to a patient.
    async fn patient(&self, id: &str) -> Result<Known, LiveError> {
        let mut gathered = self.gathered();
        let member = format!("Patient/{id}");
        let searches: [Search<'_>; 6] = [
            // Whose general practitioner somebody is stands in the chart.
            ("Patient", vec![("_id", id)]),
            ("CareTeam", vec![("patient", id)]),
            ("Encounter", vec![("patient", id)]),
            ("Appointment", vec![("patient", id)]),
            ("Consent", vec![("patient", id)]),
            ("Group", vec![("member", &member)]),
        ];
        self.searches(&searches, &mut gathered).await?;
        gathered.whole("about a patient")?;
        // The chart itself is asked for by itself.
        gathered.known.records.clear();
        Ok(gathered.about(|row| row.patient == id))
    }

    async fn charts(&self, ids: &[String]) -> Result<Known, LiveError> {
        let mut gathered = self.gathered();
        self.searches(&[("Patient", vec![("_id", &ids.join(","))])], &mut gathered).await?;
        gathered.whole("of patients")?;
        Ok(gathered.about(|_| false))
    }

    async fn user(&self, user: &str) -> Result<Known, LiveError> {
        let mut gathered = self.gathered();
        let (kind, id) = user.split_once('/').unwrap_or_default();
        let kind =
            ["Practitioner", "PractitionerRole", "RelatedPerson", "Person"].into_iter().find(|known| *known == kind);
        if let Some(kind) = kind {
            gathered.take_one(kind, id, self.one(kind, id).await?)?;
        }
        let mut humans: BTreeSet<String> = roles::practitioners(&gathered.known.records);
        for practitioner in &humans {
            let (_, id) = practitioner.split_once('/').unwrap_or_default();
            let found = match self.one("Practitioner", id).await? {
                // SECURITY: nobody plays the role any more.
                Found::Nothing => Found::Gone,
                found => found,
            };
            gathered.take_one("Practitioner", id, found)?;
        }
        humans.insert(user.to_owned());
        for human in &humans {
            self.searches(&[("Person", vec![("link", human)])], &mut gathered).await?;
        }
        gathered.whole("about a user")?;
        gathered.known.records.retain(|record| record.class == RecordClass::User && humans.contains(&record.id));
        Ok(gathered.about(|_| false))
    }

    /// The roles of a practitioner.
    async fn roles(&self, practitioner: &str) -> Result<Known, LiveError> {
        let mut gathered = self.gathered();
        self.searches(&[("PractitionerRole", vec![("practitioner", practitioner)])], &mut gathered).await?;
        gathered.whole("about roles")?;
        Ok(gathered.about(|_| false))
    }

    /// Everybody a user is related to, with their charts.
    async fn list(&self, user: &str) -> Result<Known, LiveError> {
        let mut gathered = self.gathered();
        let searches: [Search<'_>; 6] = [
            ("CareTeam", vec![("participant", user)]),
            ("Encounter", vec![("participant", user)]),
            ("Appointment", vec![("actor", user)]),
            ("Consent", vec![("actor", user)]),
            ("Group", vec![("managing-entity", user)]),
            ("Patient", vec![("general-practitioner", user)]),
        ];
        self.searches(&searches, &mut gathered).await?;
        let mut known = gathered.about(|row| row.user == user);
        let patients: BTreeSet<&str> = known.relationships.iter().map(|row| row.patient.as_str()).collect();
        let patients: Vec<&str> = patients.into_iter().collect();
        let mut records = Vec::new();
        for ids in patients.chunks(IDS_MAX) {
            let ids: Vec<String> = ids.iter().map(|id| (*id).to_owned()).collect();
            records.extend(self.charts(&ids).await?.records);
        }
        known.records = records;
        Ok(known)
    }

    fn gathered(&self) -> Gathered<'_> {
        let read = (self.now)();
        let stamp = format!("{SOURCE}@{}", read.to_rfc3339());
        Gathered { reading: &self.reading, read, known: Known { stamp, ..Known::default() } }
    }

    /// One resource.
    async fn one(&self, kind: &'static str, id: &str) -> Result<Found, LiveError> {
        match self.get(&format!("{kind}/{id}"), &[]).await {
            Ok(value) => Ok(Found::Resource(value)),
            Err(FetchError::Status(404)) => Ok(Found::Nothing),
            Err(FetchError::Status(410)) => Ok(Found::Gone),
            Err(error) => Err(asked(kind, &error)),
        }
    }

    async fn searches(&self, searches: &[Search<'_>], gathered: &mut Gathered<'_>) -> Result<(), LiveError> {
        let has = |kind: &str| self.without.iter().all(|without| without != kind);
        for (kind, parameters) in searches.iter().filter(|(kind, _)| has(kind)) {
            let mut query = parameters.clone();
            query.push(("_count", PAGE));
            let mut page = self.get(kind, &query).await.map_err(|error| asked(kind, &error))?;
            for at in 1.. {
                let next = gathered.take_page(&page, kind)?;
                let Some(next) = next else { break };
                if at == PAGES_MAX {
                    gathered.known.truncated = true;
                    break;
                }
                let Some((path, query)) = self.below(&next) else {
                    return Err(said(kind, "its next page is elsewhere"));
                };
                let query: Vec<(&str, &str)> =
                    query.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
                page = self.get(&path, &query).await.map_err(|error| asked(kind, &error))?;
            }
        }
        Ok(())
    }

    /// A link of a page, if it leads to this server: path below its base, and query.
    fn below(&self, link: &str) -> Option<(String, Vec<(String, String)>)> {
        // Links name the server as the world knows it, which may not be how it is reached from here.
        let public = self.reading.base.as_deref().and_then(|base| link.strip_prefix(base));
        match public {
            Some(rest) if rest.starts_with(['/', '?']) => self.endpoint.below_itself(rest),
            _ => self.endpoint.below(link),
        }
    }

    async fn get(&self, path: &str, query: &[(&str, &str)]) -> Result<Value, FetchError> {
        let body = self.endpoint.get_below(path, query, self.authorization.as_ref()).await?.body;
        let read = strict::check(&body, DEPTH_MAX).ok().and_then(|()| serde_json::from_slice(&body).ok());
        read.ok_or(FetchError::NotJson)
    }
}

fn asked(path: &'static str, error: &FetchError) -> LiveError {
    let unwell = match error {
        FetchError::Unreachable(_) => true,
        FetchError::Status(status) => *status >= 500 || matches!(status, 401 | 403 | 429),
        FetchError::TooLong(_) | FetchError::NotJson => false,
    };
    LiveError::Asked { path, reason: crate::causes::chain(error).to_string(), unwell }
}

fn said(path: &'static str, reason: &str) -> LiveError {
    LiveError::Asked { path, reason: reason.to_owned(), unwell: false }
}

/// What a server has of one resource.
enum Found {
    Resource(Value),
    /// it was never there, as far as the server tells
    Nothing,
    /// it was deleted
    Gone,
}

/// What was said so far.
struct Gathered<'s> {
    reading: &'s Reading,
    read: Millis,
    known: Known,
}

impl Gathered<'_> {
    /// What the one resource asked for says, which has to be readable: without it, what others say would stand alone.
    fn take_one(&mut self, kind: &'static str, id: &str, found: Found) -> Result<(), LiveError> {
        match found {
            Found::Nothing => Ok(()),
            Found::Gone => {
                self.take(Derived::deleted(format!("{kind}/{id}")));
                Ok(())
            }
            Found::Resource(value) => {
                let says = |name: &str, text: &str| value.get(name).is_some_and(|said| said == text);
                match says("resourceType", kind) && says("id", id) {
                    true => self.take_whole(kind, &value),
                    false => Err(said(kind, "its answer is not the resource asked for")),
                }
            }
        }
    }

    /// What a resource says of a person, all of which has to be readable.
    fn take_whole(&mut self, kind: &'static str, value: &Value) -> Result<(), LiveError> {
        let derived = derive(value, self.reading).map_err(|error| said(kind, &error.to_string()))?;
        let (before, says) = (self.known.records.len(), derived.records.len());
        self.take(derived);
        let taken = self.known.records.len() - before;
        if taken == says { Ok(()) } else { Err(said(kind, "a resource cannot be taken")) }
    }

    /// SECURITY: of an answer that was cut off nobody knows what the rest would have taken away.
    fn whole(&self, about: &'static str) -> Result<(), LiveError> {
        if self.known.truncated { Err(said(about, "there is more than it can be asked for")) } else { Ok(()) }
    }

    /// What a resource says.
    fn take(&mut self, Derived { origin, relationships, records }: Derived) {
        let valid = relationships.into_iter().filter(|row| crate::store::validate::relationship(row).is_ok());
        self.known.relationships.extend(valid.map(|row| Relationship { source: SOURCE.into(), ..row }));
        for patch in records {
            let is_own = patch.is_own(&origin);
            // Nothing was known before that could be taken away.
            let mut members = patch.said();
            if !is_own && patch.class == RecordClass::User {
                // SECURITY: what somebody else's resource says of an account does not make it known.
                members.insert("status".into(), "unknown".into());
            }
            members.insert("as_of".into(), Value::String(self.read.to_rfc3339()));
            match people::record(patch.class, &patch.id, SOURCE, Value::Object(members)) {
                Ok(record) => self.known.records.push(record),
                Err(error) => {
                    tracing::warn!(member = %error.member, "a record of the FHIR server cannot be taken");
                }
            }
        }
    }

    /// What the resources of a page say, and where the next one is.
    fn take_page(&mut self, page: &Value, kind: &'static str) -> Result<Option<String>, LiveError> {
        if page.get("resourceType").and_then(Value::as_str) != Some("Bundle") {
            return Err(said(kind, "its answer is no Bundle"));
        }
        for entry in page.get("entry").and_then(Value::as_array).into_iter().flatten() {
            let Some(value) = entry.get("resource").filter(|resource| resource["resourceType"] == kind) else {
                continue;
            };
            if matches!(kind, "Patient" | "Person" | "PractitionerRole") {
                // SECURITY: who they are about would stand alone with what others say of them.
                self.take_whole(kind, value)?;
            } else if let Ok(derived) = derive(value, self.reading) {
                // One that says nothing for certain gives nothing, as in an import.
                self.take(derived);
            }
        }
        let links = page.get("link").and_then(Value::as_array).into_iter().flatten();
        let next = links.filter(|link| link["relation"] == "next").find_map(|link| link["url"].as_str());
        Ok(next.map(str::to_owned))
    }

    /// What is about those asked for; the rest of a resource is nobody's question.
    fn about(self, keep: impl Fn(&Relationship) -> bool) -> Known {
        let mut known = self.known;
        known.relationships.retain(|row| keep(row));
        known
    }
}
