//! A FHIR server that stands behind this host: requests are sent on to it, and answers come as they arrive.

use std::time::Duration;

use reqwest::header::{ACCEPT_ENCODING, AUTHORIZATION, CONTENT_ENCODING, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Client, Method, Response, Url};

use super::{EndpointError, read_url};

/// How long it may take to be reached, whatever else is allowed.
const CONNECT_MAX: Duration = Duration::from_secs(5);

/// The server did not answer, or not in a way that can be passed on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RelayError {
    #[error("it cannot be reached, or broke off")]
    Broken(#[source] reqwest::Error),
    #[error("it did not answer in time")]
    Late(#[source] reqwest::Error),
    #[error("its answer is longer than {0} bytes")]
    TooLong(usize),
    #[error("its answer is compressed, which nobody asked for")]
    Encoded,
    #[error("the request to it cannot be written")]
    Unwritable,
}

impl RelayError {
    fn of(error: reqwest::Error) -> Self {
        // The URL of a request may name a patient.
        let error = error.without_url();
        if error.is_timeout() { Self::Late(error) } else { Self::Broken(error) }
    }
}

/// A server, and how it is asked.
pub(crate) struct Relay {
    client: Client,
    /// without a trailing slash
    base: String,
    authorization: Option<HeaderValue>,
}

/// A request to be sent on.
#[derive(Debug, Default)]
pub(crate) struct Outward {
    /// `GET`
    pub(crate) method: String,
    /// path and query below the base, with a leading slash
    pub(crate) url: String,
    pub(crate) headers: Vec<(HeaderName, String)>,
    pub(crate) body: Option<Vec<u8>>,
}

/// An answer, its body still on the way.
pub(crate) struct Relayed {
    response: Response,
}

impl Relay {
    /// `timeout` is for a whole answer. `authorization` has to be marked as sensitive.
    pub(crate) fn new(
        url: &str,
        allow_private: bool,
        timeout: Duration,
        authorization: Option<HeaderValue>,
    ) -> Result<Self, EndpointError> {
        let (url, allowed) = read_url(url, allow_private)?;
        let builder = super::builder(allowed, timeout).connect_timeout(timeout.min(CONNECT_MAX));
        let client = builder.build().map_err(EndpointError::Client)?;
        Ok(Self { client, base: url.as_str().trim_end_matches('/').to_owned(), authorization })
    }

    /// Where it is, without a trailing slash.
    pub(crate) fn base(&self) -> &str {
        &self.base
    }

    /// Send a request on. Whatever status it is answered with, that is an answer.
    pub(crate) async fn send(&self, request: Outward) -> Result<Relayed, RelayError> {
        let method: Method = request.method.parse().map_err(|_| RelayError::Unwritable)?;
        let text = format!("{}{}", self.base, request.url);
        let url: Url = text.parse().map_err(|_| RelayError::Unwritable)?;
        // SECURITY: the parser of URLs takes dots out of a path; what it makes of this one has to be this one.
        if !url.path().ends_with(request.url.split('?').next().unwrap_or_default()) {
            return Err(RelayError::Unwritable);
        }
        let mut asked = self.client.request(method, url).header(ACCEPT_ENCODING, "identity");
        for (name, value) in &request.headers {
            asked = asked.header(name, HeaderValue::from_str(value).map_err(|_| RelayError::Unwritable)?);
        }
        if let Some(value) = &self.authorization {
            asked = asked.header(AUTHORIZATION, value.clone());
        }
        if let Some(body) = request.body {
            asked = asked.body(body);
        }
        let response = asked.send().await.map_err(RelayError::of)?;
        let encoding = response.headers().get(CONTENT_ENCODING);
        // SECURITY: what is compressed may be of any size, and nobody would look into it.
        if encoding.is_some_and(|encoding| !encoding.as_bytes().eq_ignore_ascii_case(b"identity")) {
            return Err(RelayError::Encoded);
        }
        Ok(Relayed { response })
    }
}

impl Relayed {
    pub(crate) fn status(&self) -> u16 {
        self.response.status().as_u16()
    }

    pub(crate) fn headers(&self) -> &HeaderMap {
        self.response.headers()
    }

    /// All of the body, if it is no longer than this.
    ///
    /// SECURITY: counted while it arrives; what a header announces proves nothing.
    pub(crate) async fn body(mut self, most_bytes: usize) -> Result<Vec<u8>, RelayError> {
        let mut body = Vec::new();
        while let Some(chunk) = self.response.chunk().await.map_err(RelayError::of)? {
            if body.len() + chunk.len() > most_bytes {
                return Err(RelayError::TooLong(most_bytes));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }
}
