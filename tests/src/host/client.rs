//! Requests to a host, as callers and administrators send them.

use std::net::SocketAddr;
use std::time::Duration;

use reqwest::Method;
use reqwest::blocking::RequestBuilder;
use reqwest::header::HeaderMap;
use serde_json::Value;
use serde_json::value::RawValue;

use super::process::Host;
use super::{EHR, OPERATOR};

/// An HTTP client with connections of its own, and never a proxy in between.
#[derive(Debug, Clone)]
pub struct Client(reqwest::blocking::Client);

/// An answer, read to its end.
#[derive(Debug, Clone)]
pub struct Answer {
    /// HTTP status
    pub status: u16,
    /// headers
    pub headers: HeaderMap,
    /// body
    pub text: String,
}

impl Default for Client {
    fn default() -> Self {
        Self::new()
    }
}

impl Client {
    /// A client without any connection yet.
    pub fn new() -> Self {
        let builder = reqwest::blocking::Client::builder().no_proxy().timeout(Duration::from_secs(120));
        Self(builder.build().unwrap())
    }

    /// Send a request with exactly these headers.
    pub fn send(
        &self,
        method: &str,
        at: SocketAddr,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<String>,
    ) -> Answer {
        let method: Method = method.parse().unwrap();
        let mut request: RequestBuilder = self.0.request(method, format!("http://{at}{path}")).body(body.into());
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = request.send().unwrap();
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Answer { status, headers, text: response.text().unwrap() }
    }

    /// The status of a GET; nothing where nobody answers.
    pub fn try_get(&self, url: &str) -> Option<u16> {
        Some(self.0.get(url).send().ok()?.status().as_u16())
    }

    /// `POST /v1/decide` as the holder of this API key.
    pub fn decide(&self, host: SocketAddr, key: &str, body: &Value) -> Answer {
        self.send("POST", host, "/v1/decide", &[("authorization", &bearer(key))], body.to_string())
    }
}

fn bearer(key: &str) -> String {
    format!("Bearer {key}")
}

impl Host {
    /// `POST /v1/decide` as the caller `ehr`.
    pub fn decide(&self, body: &Value) -> Answer {
        self.decide_as(EHR, body)
    }

    /// `POST /v1/decide` as the holder of this API key.
    pub fn decide_as(&self, key: &str, body: &Value) -> Answer {
        self.client().decide(self.public, key, body)
    }

    /// `POST /v1/decide` as the caller `ehr` with this text and further headers.
    pub fn decide_text(&self, headers: &[(&str, &str)], text: &str) -> Answer {
        let key = bearer(EHR);
        let mut all = vec![("authorization", key.as_str())];
        all.extend_from_slice(headers);
        self.client().send("POST", self.public, "/v1/decide", &all, text)
    }

    /// A request to the operations listener as the operator.
    pub fn admin(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        self.admin_as(OPERATOR, method, path, headers, body)
    }

    /// A request to the operations listener as the holder of this API key.
    pub fn admin_as(&self, key: &str, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let key = bearer(key);
        let mut all = vec![("authorization", key.as_str())];
        all.extend_from_slice(headers);
        self.client().send(method, self.operations, path, &all, body)
    }

    /// Set the rollout, based on its present revision.
    pub fn roll_out(&self, change: &Value) -> Answer {
        let revision = self.admin("GET", "/admin/v1/rollout", &[], "").json()["revision"].to_string();
        self.admin("PUT", "/admin/v1/rollout", &[("if-match", &format!("\"{revision}\""))], &change.to_string())
    }
}

impl Answer {
    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    /// A header, empty when it is absent.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// The decision of a 200; anything else fails the test.
    pub fn decided(&self) -> Value {
        assert_eq!(self.status, 200, "{}", self.text);
        self.json()
    }

    /// `decision` and the code of its reason.
    pub fn verdict(&self) -> (String, String) {
        let json = self.decided();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        (text(&json["decision"]), text(&json["reason"]["code"]))
    }

    /// The status of the denial; 0 when there is none.
    pub fn denial_status(&self) -> u64 {
        self.decided()["denial"]["status"].as_u64().unwrap_or_default()
    }

    /// The exact bytes of the denial.
    pub fn denial_bytes(&self) -> String {
        #[derive(serde::Deserialize)]
        struct Body {
            denial: Box<RawValue>,
        }
        let body: Body = serde_json::from_str(&self.text).unwrap();
        body.denial.get().to_owned()
    }

    /// The member and the status of a problem; anything else fails the test.
    pub fn problem(&self) -> (u16, String) {
        assert_eq!(self.header("content-type"), "application/problem+json", "{} {}", self.status, self.text);
        let json = self.json();
        assert_eq!(json["status"], self.status, "{}", self.text);
        (self.status, json["member"].as_str().unwrap_or_default().to_owned())
    }
}
