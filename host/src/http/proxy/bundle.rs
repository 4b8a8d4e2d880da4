//! Batches and transactions: the entries that are permitted are sent on, each as its decision says, and the answers put
//! back into the order of the request.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::http::{HeaderName, StatusCode, header};
use chartgate_model::{Basis, DecisionRequest, FhirRequest, Interaction, strict};
use futures_util::StreamExt as _;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::exchange::{Incoming, Outgoing, Refused, names_version, other_version, outward, whole};
use super::one::{if_match, preference};
use super::{FACE, Proxy};
use crate::batch::{self, BATCH_ENTRIES, BundleAnswer, EntryAnswer, Whole};
use crate::decide::{Answer, Verdict};
use crate::filter::bundle::Members;
use crate::http::binding::Bound;
use crate::http::filter::{Given, Judge, responses};
use crate::http::judge::judge_bundle;
use crate::http::wire::{DEPTH_MAX, Denial, RequestBody, put_stored};
use crate::proxy::Outward;
use crate::store::validate::is_id;

/// What this host can carry out of an entry: one entry stays one.
const OBLIGATIONS: [&str; 5] = ["search-narrowing", "response-filter", "if-match", "return-minimal", BATCH_ENTRIES];
/// Resources that are fetched at once.
const FETCHED_AT_ONCE: usize = 8;
/// Members of an entry's request (FHIR R4, Bundle).
const OF_REQUEST: [&str; 6] = ["method", "url", "ifMatch", "ifNoneMatch", "ifNoneExist", "ifModifiedSince"];

#[derive(Deserialize)]
struct Sent<'a> {
    #[serde(borrow, default)]
    entry: Vec<&'a RawValue>,
}

/// An entry, as far as it is about what is stored.
#[derive(Deserialize)]
struct Entry {
    request: Option<Request>,
}

#[derive(Deserialize)]
struct Request {
    method: String,
    url: String,
}

impl Proxy<'_> {
    pub(super) async fn bundle(
        &self,
        asked: &Incoming,
        mut request: Box<DecisionRequest>,
    ) -> Result<Outgoing, Refused> {
        request.obligations = OBLIGATIONS.map(str::to_owned).to_vec();
        request.request.body = Some(whole_entries(request.request.body.unwrap_or_default())?);
        self.fetch_targets(&mut request).await?;
        let mut decided = judge_bundle(self.state, FACE, &self.caller, &request).await?;
        match decided.whole {
            Whole::Permit | Whole::PermitByEntry => {}
            // A batch is answered entry by entry, even where none of it is permitted.
            Whole::Deny if request.request.interaction == Interaction::Batch && !decided.entries.is_empty() => {}
            Whole::Deny => {
                let denial = Denial::of(Basis::Request, &decided.reason);
                return Err(Refused::Denied(Box::new(denial), Some(decided.text)));
            }
            Whole::Indeterminate => return Err(Refused::Denied(Box::new(Denial::unavailable()), Some(decided.text))),
        }
        let answers = self.carried_out(asked, &request, &mut decided).await?;
        let raw = RawValue::from_string(answers).map_err(|_| Refused::garbled())?;
        let judge = Judge {
            decider: &self.state.decider,
            new_id: &*self.state.edge.new_id,
            caller: &self.caller.name,
            face: FACE,
        };
        let pages = self.pages_of(asked, &request, &decided);
        let filtered =
            responses(&judge, &request, decided, &Given::Bundle(raw)).await.map_err(|_| Refused::garbled())?;
        let bundle = filtered.bundle.ok_or_else(Refused::garbled)?;
        Ok(Outgoing::json(StatusCode::OK, self.with_pages(&bundle, &pages)?))
    }

    /// The searches of a batch, as their further pages will be decided by: where they stand in it, what they are.
    fn pages_of(
        &self,
        asked: &Incoming,
        request: &DecisionRequest,
        decided: &BundleAnswer,
    ) -> BTreeMap<usize, (String, Bound)> {
        let body = request.request.body.as_deref().unwrap_or_default();
        let sent: Vec<&RawValue> = serde_json::from_slice::<Sent<'_>>(body).map(|sent| sent.entry).unwrap_or_default();
        let mut pages = BTreeMap::new();
        for (at, (raw, entry)) in sent.into_iter().zip(&decided.entries).enumerate() {
            let own = serde_json::from_str::<Entry>(raw.get()).ok().and_then(|entry| entry.request);
            let (Some((answer, fhir)), Some(own)) = (permitted(entry), own) else { continue };
            if own.method == "GET" {
                let url = format!("/{}", self.below(&own.url));
                let headers = asked.headers_again();
                let asked = RequestBody { method: own.method, url: url.clone(), headers, body: None };
                let decided = batch::request_of(request, fhir);
                pages.insert(at, (url, Bound::of(&self.caller.name, &answer.release.digest, asked, &decided)));
            }
        }
        pages
    }

    /// The same answers, bundles among them with links of ours.
    fn with_pages(&self, bundle: &RawValue, pages: &BTreeMap<usize, (String, Bound)>) -> Result<Vec<u8>, Refused> {
        let members = Members::read(bundle, "").map_err(|_| Refused::garbled())?;
        let sent: Sent<'_> = serde_json::from_str(bundle.get()).map_err(|_| Refused::garbled())?;
        let mut entries = Vec::with_capacity(sent.entry.len());
        for (at, raw) in sent.entry.into_iter().enumerate() {
            let entry = Members::read(raw, "entry").map_err(|_| Refused::garbled())?;
            let resource = entry.get("resource");
            let of = resource.map(|resource| Members::read(resource, "resource")).transpose();
            let of = of.map_err(|_| Refused::garbled())?.and_then(|members| members.text("resourceType"));
            entries.push(match (resource, of.as_deref(), pages.get(&at)) {
                (Some(inner), Some("Bundle"), Some((asked, of))) => {
                    let inner = self.relinked(inner, None, asked, of)?;
                    serde_json::value::to_raw_value(&entry.with("resource", Some(&inner)))
                }
                _ => Ok(raw.to_owned()),
            });
        }
        let entries: Result<Vec<Box<RawValue>>, _> = entries.into_iter().collect();
        let entries = entries.and_then(|entries| serde_json::value::to_raw_value(&entries));
        let entries = entries.map_err(|_| Refused::garbled())?;
        serde_json::to_vec(&members.with("entry", Some(&entries))).map_err(|_| Refused::garbled())
    }

    /// A URL of an entry below the base, without its slash.
    fn below<'u>(&self, url: &'u str) -> &'u str {
        url.strip_prefix(self.at.url.as_str()).unwrap_or(url).trim_start_matches('/')
    }

    /// Fetch what the writes of a bundle would change.
    async fn fetch_targets(&self, request: &mut DecisionRequest) -> Result<(), Refused> {
        let body = request.request.body.clone().unwrap_or_default();
        let sent: Sent<'_> = serde_json::from_slice(&body).map_err(|_| malformed())?;
        if sent.entry.len() > self.state.limits.bundle_entries {
            return Ok(());
        }
        let mut keys: Vec<String> = sent.entry.iter().filter_map(|raw| self.target(raw)).collect();
        keys.sort_unstable();
        // SECURITY: the second would be judged by what was there before the first (FHIR R4, RESTful API, "Transaction").
        if keys.windows(2).any(|pair| matches!(pair, [one, other] if one == other)) {
            return Err(Refused::told(StatusCode::BAD_REQUEST, "invalid", "a resource is written twice in the bundle"));
        }
        let left = AtomicUsize::new(self.state.limits.filter_bytes);
        let fetch = async |key: String| {
            let outward = Outward { method: "GET".into(), url: format!("/{key}"), ..outward() };
            // SECURITY: nobody has looked yet at who wants all this.
            let most = self.state.limits.body_bytes.min(left.load(Ordering::Relaxed));
            let answered = self.send_for(outward, most).await;
            if let Ok(answered) = &answered {
                let _before = left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
                    Some(left.saturating_sub(answered.body.len()))
                });
            }
            match answered {
                Ok(answered) if answered.status == 200 => Some((key, Some(answered.body))),
                Ok(answered) if matches!(answered.status, 404 | 410) => Some((key, None)),
                // What cannot be had is not there to be judged: its entry is denied, and no other.
                Ok(_) | Err(_) => None,
            }
        };
        let fetched: Vec<Option<(String, Option<Vec<u8>>)>> =
            futures_util::stream::iter(keys).map(fetch).buffered(FETCHED_AT_ONCE).collect().await;
        for (key, content) in fetched.into_iter().flatten() {
            if let Err(problem) = put_stored(request, &key, content) {
                tracing::warn!(detail = %problem.detail, "a stored resource cannot be read");
            }
        }
        Ok(())
    }

    /// `Type/id` of an entry that changes it.
    fn target(&self, raw: &RawValue) -> Option<String> {
        let request = serde_json::from_str::<Entry>(raw.get()).ok()?.request?;
        if !matches!(request.method.as_str(), "PUT" | "PATCH" | "DELETE") {
            return None;
        }
        let below = self.below(&request.url);
        let (kind, id) = below.split_once('/')?;
        let typed = kind.starts_with(|c: char| c.is_ascii_uppercase()) && kind.bytes().all(|b| b.is_ascii_alphabetic());
        (typed && is_id(id)).then(|| below.to_owned())
    }

    /// Send on what is permitted; answers a bundle with one answer for each entry of the request.
    async fn carried_out(
        &self,
        asked: &Incoming,
        request: &DecisionRequest,
        decided: &mut BundleAnswer,
    ) -> Result<String, Refused> {
        let body = request.request.body.as_deref().unwrap_or_default();
        let sent: Sent<'_> = serde_json::from_slice(body).map_err(|_| malformed())?;
        let mut outgoing = Vec::new();
        for (raw, entry) in sent.entry.iter().zip(&decided.entries) {
            outgoing.push(match permitted(entry) {
                Some((answer, fhir)) => self.entry(raw, answer, fhir, request)?,
                None => Onward::Denied,
            });
        }
        if request.request.interaction == Interaction::Transaction {
            if outgoing.iter().any(|one| matches!(one, Onward::OtherVersion)) {
                return Err(other_version());
            }
            if outgoing.iter().any(|one| matches!(one, Onward::Absent)) {
                return Err(Refused::Denied(Box::new(Denial::of(Basis::Request, "absent")), None));
            }
        }
        // SECURITY: what is not there looks like what is hidden, whatever the entry wants of it.
        for (one, entry) in outgoing.iter().zip(&mut decided.entries) {
            if let (Onward::Absent, EntryAnswer::Answered(answer, _)) = (one, entry) {
                answer.verdict = Verdict::Deny(Basis::Content);
            }
        }
        let kind = if request.request.interaction == Interaction::Transaction { "transaction" } else { "batch" };
        let entries: Vec<&str> = outgoing.iter().filter_map(Onward::text).collect();
        let mut answers = Vec::new();
        if !entries.is_empty() {
            let bundle =
                format!("{{\"resourceType\":\"Bundle\",\"type\":\"{kind}\",\"entry\":[{}]}}", entries.join(","));
            answers = self.exchange(asked, bundle, request).await?;
        }
        if answers.len() != entries.len() {
            return Err(Refused::garbled());
        }
        let mut answers = answers.into_iter();
        let answer = |one: &Onward| match one {
            Onward::Entry(_) => answers.next().unwrap_or_else(|| "{}".to_owned()),
            Onward::OtherVersion => r#"{"response":{"status":"412 Precondition Failed"}}"#.to_owned(),
            Onward::Denied | Onward::Absent => "{}".to_owned(),
        };
        let all: Vec<String> = outgoing.iter().map(answer).collect();
        Ok(format!("{{\"resourceType\":\"Bundle\",\"type\":\"{kind}-response\",\"entry\":[{}]}}", all.join(",")))
    }

    async fn exchange(
        &self,
        asked: &Incoming,
        bundle: String,
        request: &DecisionRequest,
    ) -> Result<Vec<String>, Refused> {
        let mut outward = outward();
        outward.method = "POST".into();
        outward.url = "/".into();
        let media = asked.content_type().unwrap_or("application/fhir+json");
        outward.headers.push((header::CONTENT_TYPE, media.to_owned()));
        let wish = preference(request.request.prefer_return, false);
        outward.headers.extend(wish.map(|wish| (HeaderName::from_static("prefer"), wish.to_owned())));
        outward.body = Some(self.at.own_json(bundle.into_bytes()));
        let answered = self.send(outward).await?;
        if answered.status != 200 {
            return Err(Refused::upstream(answered.status));
        }
        strict::check(&answered.body, DEPTH_MAX).map_err(|_| Refused::garbled())?;
        let sent: Sent<'_> = serde_json::from_slice(&answered.body).map_err(|_| Refused::garbled())?;
        Ok(sent.entry.iter().map(|raw| raw.get().to_owned()).collect())
    }

    /// An entry as its decision says; its resource stays the bytes that were judged.
    ///
    /// SECURITY: nothing is sent on that was not looked at: of an entry and its request only the members known here.
    fn entry(
        &self,
        raw: &RawValue,
        answer: &Answer,
        fhir: &FhirRequest,
        bundle: &DecisionRequest,
    ) -> Result<Onward, Refused> {
        let entry = Members::read(raw, "entry").map_err(|_| malformed())?.only(&["fullUrl", "resource", "request"]);
        let request = entry.get("request").ok_or_else(malformed)?;
        let mut request: BTreeMap<String, Value> = serde_json::from_str(request.get()).map_err(|_| malformed())?;
        request.retain(|name, _| OF_REQUEST.contains(&name.as_str()));
        let text = |request: &BTreeMap<String, Value>, name: &str| {
            request.get(name).and_then(Value::as_str).unwrap_or_default().to_owned()
        };
        let method = text(&request, "method");
        let Verdict::Permit(permit) = &answer.verdict else { return Err(Refused::garbled()) };
        if let Some(obligation) = permit.obligations().iter().find(|one| one.rewrites()) {
            let requests = obligation.requests(fhir).ok_or_else(Refused::garbled)?;
            let [one] = requests.as_slice() else { return Err(Refused::garbled()) };
            match &one.if_none_exist {
                Some(criteria) => request.insert("ifNoneExist".into(), json!(criteria)),
                None => request.insert("url".into(), json!(one.url.trim_start_matches('/'))),
            };
        }
        if request.contains_key("ifNoneExist") {
            let criteria = self.own_criteria(&text(&request, "ifNoneExist"));
            request.insert("ifNoneExist".into(), json!(criteria));
        }
        if let Some(version) = if_match(answer)? {
            let wanted = request.insert("ifMatch".into(), json!(format!("W/\"{version}\"")));
            // SECURITY: of another version nothing was judged, whether or not it is the current one by then.
            if wanted.as_ref().and_then(Value::as_str).is_some_and(|wanted| !names_version(wanted, &version)) {
                return Ok(Onward::OtherVersion);
            }
        }
        let key = fhir.id.as_ref().map(|id| format!("{}/{id}", fhir.resource_type));
        let is_there = bundle.stored.iter().any(|one| Some(&one.key) == key.as_ref() && one.content.is_some());
        match method.as_str() {
            "PUT" | "PATCH" | "DELETE" if request.contains_key("ifMatch") && !is_there => return Ok(Onward::Absent),
            "PUT" if key.is_some() && !is_there => drop(request.insert("ifNoneMatch".into(), json!("*"))),
            "POST" => drop(request.remove("ifMatch")),
            _ => {}
        }
        let reads = matches!(method.as_str(), "GET" | "HEAD");
        if reads {
            // What the app has already does not count: the answer is looked into in any case.
            request.remove("ifNoneMatch");
            request.remove("ifModifiedSince");
        } else if request.contains_key("ifNoneMatch") && (is_there || text(&request, "ifNoneMatch") != "*") {
            return Ok(Onward::OtherVersion);
        }
        // Not every server knows itself by its whole address here.
        let url = self.at.own_query(self.below(&text(&request, "url")));
        request.insert("url".into(), json!(url));
        let request = serde_json::value::to_raw_value(&request).map_err(|_| malformed())?;
        let entry = entry.with("request", Some(&request));
        let entry = if reads || method == "DELETE" { entry.with("resource", None) } else { entry };
        Ok(Onward::Entry(serde_json::to_string(&entry).map_err(|_| malformed())?))
    }
}

/// What becomes of an entry.
enum Onward {
    /// it is sent on like this
    Entry(String),
    /// it is not permitted
    Denied,
    /// it is permitted, and wants some version of what is not there
    Absent,
    /// it is permitted, and wants to write another version than there is
    OtherVersion,
}

impl Onward {
    fn text(&self) -> Option<&str> {
        match self {
            Self::Entry(text) => Some(text),
            Self::Denied | Self::Absent | Self::OtherVersion => None,
        }
    }
}

/// The same bundle, whose entries wish for nothing less than whole resources.
fn whole_entries(body: Vec<u8>) -> Result<Vec<u8>, Refused> {
    let text = std::str::from_utf8(&body).map_err(|_| malformed())?;
    // Any of its letters may be an escape, of JSON or of the URL.
    if !["_elements", "_summary", "\\u", "%5F", "%5f"].iter().any(|part| text.contains(part)) {
        return Ok(body);
    }
    let raw: &RawValue = serde_json::from_str(text).map_err(|_| malformed())?;
    let members = Members::read(raw, "").map_err(|_| malformed())?;
    let sent: Sent<'_> = serde_json::from_slice(&body).map_err(|_| malformed())?;
    let one = |raw: &RawValue| -> Option<Box<RawValue>> {
        let entry = Members::read(raw, "entry").ok()?;
        let mut request: BTreeMap<String, Value> = serde_json::from_str(entry.get("request")?.get()).ok()?;
        let url = whole(request.get("url")?.as_str()?);
        request.insert("url".into(), json!(url));
        let request = serde_json::value::to_raw_value(&request).ok()?;
        serde_json::value::to_raw_value(&entry.with("request", Some(&request))).ok()
    };
    // What cannot be read so is refused where entries are read.
    let entries: Vec<Box<RawValue>> =
        sent.entry.iter().map(|raw| one(raw).unwrap_or_else(|| (*raw).to_owned())).collect();
    let entries = serde_json::value::to_raw_value(&entries).map_err(|_| malformed())?;
    serde_json::to_vec(&members.with("entry", Some(&entries))).map_err(|_| malformed())
}

fn permitted(entry: &EntryAnswer) -> Option<(&Answer, &FhirRequest)> {
    match entry {
        EntryAnswer::Answered(answer, request) if matches!(answer.verdict, Verdict::Permit(_)) => {
            Some((&**answer, &**request))
        }
        _ => None,
    }
}

fn malformed() -> Refused {
    Refused::told(StatusCode::BAD_REQUEST, "invalid", "the bundle cannot be read")
}
