//! A draft in a caller's words.

use serde_json::{Value, json};

use super::Draft;
use super::dice::Dice;
use crate::oracle::case::{Case, Known, Told};

impl Draft {
    /// Put it into words.
    pub(super) fn into_case(mut self, dice: &mut Dice) -> Case {
        let (method, url, body) = self.request(dice);
        let mut request = json!({ "method": method, "url": url });
        if !body.is_null() {
            request["body"] = body;
        }
        if self.headers.as_object().is_some_and(|headers| !headers.is_empty()) {
            request["headers"] = self.headers.take();
        }
        let mut subject =
            json!({ "kind": self.kind, "user": self.user, "client": "app", "scope": self.scopes.join(" ") });
        if let Some(launch) = &self.launch {
            subject["patient"] = json!(launch);
        }
        let mut ask = json!({ "request": request, "subject": subject, "obligations": self.obligations });
        if let Some(matches) = self.matches.take() {
            ask["matches"] = json!(matches);
        }
        if let Some(stored) = self.stored.take() {
            let key = match self.interaction {
                "vread" => format!("{}/{}/_history/2", self.resource_type, self.id),
                _ => format!("{}/{}", self.resource_type, self.id),
            };
            ask["stored"] = json!({ key: stored });
        }
        for beside in std::mem::take(&mut self.beside) {
            let text = |name: &str| beside[name].as_str().unwrap_or_default().to_owned();
            let key = format!("{}/{}", text("resourceType"), text("id"));
            ask["stored"][key] = beside;
        }
        let (inline, directory): (Vec<Known>, Vec<Known>) =
            self.relationships.into_iter().partition(|known| known.source == "caller");
        if !inline.is_empty() {
            let mut inline = json!(inline);
            for entry in inline.as_array_mut().into_iter().flatten() {
                entry.as_object_mut().unwrap().remove("source");
            }
            ask["facts"]["relationships"] = inline;
        }
        let (vouched, records): (Vec<Told>, Vec<Told>) =
            self.records.into_iter().partition(|told| told.source == "caller");
        for (class, list) in [("patient", "patients"), ("user", "users"), ("client", "clients")] {
            let of_class = vouched.iter().filter(|told| told.class == class);
            let bodies: Vec<Value> = of_class.map(Told::body).collect();
            if !bodies.is_empty() {
                ask["facts"][list] = json!(bodies);
            }
        }
        Case { settings: self.settings, fhir_version: self.fhir_version, now: self.now, directory, records, ask }
    }

    fn request(&mut self, dice: &mut Dice) -> (&'static str, String, Value) {
        let (kind, id) = (self.resource_type.clone(), self.id.clone());
        let body = std::mem::take(&mut self.body);
        let get = if dice.percent(5) { "HEAD" } else { "GET" };
        match self.interaction {
            "read" => (get, format!("/{kind}/{id}"), Value::Null),
            "vread" => (get, format!("/{kind}/{id}/_history/2"), Value::Null),
            "history-instance" => (get, format!("/{kind}/{id}/_history?_count=5"), Value::Null),
            "history-type" => (get, format!("/{kind}/_history"), Value::Null),
            "history-system" => (get, "/_history".into(), Value::Null),
            "search-type" => self.search_request(dice, get),
            "search-system" => self.types_request(dice, get),
            "create" => ("POST", format!("/{kind}"), body),
            "update" => ("PUT", format!("/{kind}/{id}"), body),
            "delete" => ("DELETE", format!("/{kind}/{id}"), Value::Null),
            "patch" => {
                self.headers["content-type"] = json!("application/json-patch+json");
                ("PATCH", format!("/{kind}/{id}"), self.patch(dice, &body))
            }
            "operation" => {
                let name = match (kind.as_str(), dice.percent(70)) {
                    ("Patient" | "Encounter", true) => "everything".into(),
                    ("Composition", true) => "document".into(),
                    (_, true) if dice.percent(50) => return ("POST", format!("/{kind}/$validate"), body),
                    _ => dice.text(&["x", "everything", "purge", "meta", "export", "graphql"]),
                };
                ("GET", format!("/{kind}/{id}/${name}"), Value::Null)
            }
            "batch" => {
                let kind = dice.text(&["batch", "transaction"]);
                ("POST", "/".into(), json!({ "resourceType": "Bundle", "type": kind, "entry": [] }))
            }
            "conditional" => self.conditional_request(dice, body),
            _ => (get, "/metadata".into(), Value::Null),
        }
    }

    fn types_request(&mut self, dice: &mut Dice, get: &'static str) -> (&'static str, String, Value) {
        let mut types = vec![self.resource_type.clone()];
        for _ in 0..dice.below(3) {
            types.push(dice.text(&["Observation", "Condition", "Patient", "Organization", "Group"]));
        }
        let mut pairs = vec![format!("_type={}", types.join(","))];
        pairs.extend(self.parameters.iter().map(|(name, value)| format!("{}={}", escape(name), escape(value))));
        match self.compartment.take().filter(|_| dice.percent(70)) {
            Some((of, id)) => (get, format!("/{of}/{id}/*?{}", pairs.join("&")), Value::Null),
            None => (get, format!("/?{}", pairs.join("&")), Value::Null),
        }
    }

    /// A patch that makes something of what is stored, or nothing.
    fn patch(&self, dice: &mut Dice, body: &Value) -> Value {
        let patient = dice.text(&["Patient/123", "Patient/124"]);
        json!([match dice.below(7) {
            0 => json!({ "op": "replace", "path": "", "value": body }),
            1 => json!({ "op": "add", "path": "/subject", "value": { "reference": patient } }),
            2 => json!({ "op": "remove", "path": "/nothing" }),
            3 => json!({ "op": "remove", "path": "/subject" }),
            4 => json!({ "op": "test", "path": "/resourceType", "value": self.resource_type }),
            _ => json!({ "op": "add", "path": "/language", "value": "en" }),
        }])
    }

    fn conditional_request(&mut self, dice: &mut Dice, mut body: Value) -> (&'static str, String, Value) {
        let pairs: Vec<String> =
            self.parameters.iter().map(|(name, value)| format!("{}={}", escape(name), escape(value))).collect();
        let (kind, criteria) = (self.resource_type.clone(), pairs.join("&"));
        if dice.percent(60)
            && let Some(members) = body.as_object_mut()
        {
            members.remove("id");
        }
        if dice.percent(30) {
            self.headers["if-none-exist"] = json!(criteria);
            return ("POST", format!("/{kind}"), body);
        }
        self.matches = match dice.below(10) {
            0 => None,
            1 | 2 => Some(Vec::new()),
            3 => Some(vec![format!("{kind}/{}", self.id), format!("{kind}/other")]),
            _ => Some(vec![format!("{kind}/{}", self.id)]),
        };
        match dice.below(5) {
            0 => {
                self.headers["content-type"] = json!("application/json-patch+json");
                ("PATCH", format!("/{kind}?{criteria}"), self.patch(dice, &body))
            }
            1 | 2 => ("DELETE", format!("/{kind}?{criteria}"), Value::Null),
            _ => ("PUT", format!("/{kind}?{criteria}"), body),
        }
    }

    fn search_request(&mut self, dice: &mut Dice, get: &'static str) -> (&'static str, String, Value) {
        let pairs: Vec<String> =
            self.parameters.iter().map(|(name, value)| format!("{}={}", escape(name), escape(value))).collect();
        let mut url = match &self.compartment {
            Some((of, id)) => format!("/{of}/{id}/{}", self.resource_type),
            None => format!("/{}", self.resource_type),
        };
        if dice.percent(15) {
            self.headers["content-type"] = json!("application/x-www-form-urlencoded");
            return ("POST", url + "/_search", json!(pairs.join("&")));
        }
        if !pairs.is_empty() {
            url = format!("{url}?{}", pairs.join("&"));
        }
        (get, url, Value::Null)
    }
}

/// Percent-encode what is not unreserved.
fn escape(text: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~,/:".contains(&b);
    text.bytes().map(|b| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") }).collect()
}
