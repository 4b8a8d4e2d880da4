//! A FHIR server behind this host: what is asked of it, and how its answers are read.
//!
//! Nothing in here decides anything. The face (`crate::http::proxy`) has each request decided as every FHIR server
//! would have it decided, and then does here what the decision says and nothing else.
//!
//! - `upstream`: the server, or the sandbox of a demo in its place
//! - `rebase`: from its address to ours, and back
//! - `union`: several searches made one answer
//! - `capabilities`: what its capability statement says besides

mod capabilities;
mod rebase;
mod union;
mod upstream;

use crate::config::ProxyConfig;
use crate::outbound::relay::Relay;
use crate::sandbox::Sandbox;

pub(crate) use capabilities::amended;
pub(crate) use union::{Union, UnionError};
pub(crate) use upstream::{Answered, Outward, Upstream, UpstreamError};

use rebase::Rebase;

/// Segment behind the base under which further pages are asked for: no FHIR path begins so.
pub(crate) const PAGE: &str = "_page";

/// A FHIR base that this host stands in front of.
pub struct Proxied {
    /// its name, `default`
    pub(crate) base: String,
    /// where apps find it, without a trailing slash
    pub(crate) url: String,
    /// the path of that
    pub(crate) path: String,
    pub(crate) tenant: String,
    pub(crate) upstream: Upstream,
    /// bytes of an answer that is looked into
    pub(crate) answer_bytes: usize,
    inward: Rebase,
    outward: Rebase,
}

/// A base cannot be stood in front of.
#[derive(Debug, thiserror::Error)]
pub enum ProxyError {
    /// its server cannot be asked
    #[error("the server behind `fhir.{base}` cannot be asked: {source}")]
    Upstream {
        /// name of the base
        base: String,
        /// why
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl Proxied {
    /// In front of a server that is reached over HTTP.
    pub fn server(base: &chartgate_model::FhirBase, config: &ProxyConfig) -> Result<Self, ProxyError> {
        let failed = |source| ProxyError::Upstream { base: base.name.clone(), source };
        let token = config.token_file.as_deref().map(crate::outbound::bearer).transpose();
        let token = token.map_err(|error| failed(error.into()))?;
        let timeout = std::time::Duration::from_millis(config.timeout_ms);
        let relay = Relay::new(&config.upstream, config.allow_private, timeout, token);
        let relay = relay.map_err(|error| failed(error.into()))?;
        let address = relay.base().to_owned();
        let upstream = Upstream::Server(relay);
        Ok(Self { answer_bytes: config.answer_bytes, ..Self::new(base, &config.tenant, &address, upstream) })
    }

    /// In front of made-up records.
    pub fn sandbox(base: &chartgate_model::FhirBase, sandbox: Sandbox) -> Self {
        Self::new(base, "default", &base.url, Upstream::Sandbox(Box::new(sandbox)))
    }

    fn new(base: &chartgate_model::FhirBase, tenant: &str, address: &str, upstream: Upstream) -> Self {
        Self {
            base: base.name.clone(),
            url: base.url.clone(),
            path: path_of(&base.url).to_owned(),
            tenant: tenant.to_owned(),
            upstream,
            answer_bytes: ProxyConfig::default().answer_bytes,
            inward: Rebase::new(address, &base.url),
            outward: Rebase::new(&base.url, address),
        }
    }

    /// A URL of the server as apps know it.
    pub(crate) fn seen(&self, url: &str) -> String {
        self.inward.url(url)
    }

    /// Content of the server as apps know it.
    pub(crate) fn seen_json(&self, text: Vec<u8>) -> Vec<u8> {
        self.inward.json(text)
    }

    /// Content of an app as the server knows it.
    pub(crate) fn own_json(&self, text: Vec<u8>) -> Vec<u8> {
        self.outward.json(text)
    }

    /// A path and query below the base as the server knows it.
    pub(crate) fn own_query(&self, url: &str) -> String {
        self.outward.query(url)
    }
}

/// The path of a URL, without a trailing slash.
pub(crate) fn path_of(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    rest.find('/').and_then(|at| rest.get(at..)).unwrap_or_default().trim_end_matches('/')
}
