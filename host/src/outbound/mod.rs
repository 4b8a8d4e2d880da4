//! Asking others over HTTP: bounded in time, size and where it may lead. Nobody else here does.

mod address;
pub(crate) mod relay;

use std::path::{Path, PathBuf};
use std::time::Duration;

pub(crate) use reqwest::header::HeaderValue;
use reqwest::header::{ACCEPT, AUTHORIZATION, CACHE_CONTROL, HeaderMap};
use reqwest::{Client, ClientBuilder, RequestBuilder, Response, StatusCode, Url, redirect};

use address::{Allowed, Guarded};

/// Why a URL is not taken. It is not repeated: a careless one holds a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    /// no absolute URL with a host
    #[error("it is not an absolute URL")]
    NotAbsolute,
    /// `user:password@` or `#fragment`
    #[error("it holds a user, a password or a fragment")]
    Extra,
    /// not encrypted
    #[error("it has to be https; http is for this machine alone, and with `allow_private = true`")]
    NotHttps,
    /// a literal address that is not allowed
    #[error("its address is not public; private ones need `allow_private = true`")]
    Address,
}

/// Somebody could not be asked, or the answer is not one.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FetchError {
    #[error("it cannot be reached in time")]
    Unreachable(#[source] reqwest::Error),
    #[error("it answered with status `{0}`")]
    Status(u16),
    #[error("its answer is longer than {0} bytes")]
    TooLong(usize),
    #[error("its answer is no JSON")]
    NotJson,
}

const JSON: &str = "application/json";
const FHIR_JSON: &str = "application/fhir+json";

/// An answer, read to its end.
pub(crate) struct Fetched {
    pub(crate) body: Vec<u8>,
    /// how long it may be kept, where the answer says so
    pub(crate) max_age_s: Option<u64>,
}

/// One URL, and how it may be asked.
pub(crate) struct Endpoint {
    client: Client,
    url: Url,
    most_bytes: usize,
}

impl Endpoint {
    pub(crate) fn new(
        url: &str,
        allow_private: bool,
        timeout: Duration,
        most_bytes: usize,
    ) -> Result<Self, EndpointError> {
        let (url, allowed) = read_url(url, allow_private)?;
        let client = client(allowed, timeout).map_err(EndpointError::Client)?;
        Ok(Self { client, url, most_bytes })
    }

    pub(crate) async fn get(&self) -> Result<Fetched, FetchError> {
        self.send(self.client.get(self.url.clone()).header(ACCEPT, JSON)).await
    }

    /// A path below the URL with its query, as FHIR JSON. `authorization` has to be marked as sensitive.
    pub(crate) async fn get_below(
        &self,
        path: &str,
        query: &[(&str, &str)],
        authorization: Option<&HeaderValue>,
    ) -> Result<Fetched, FetchError> {
        let mut url = self.url.clone();
        let base = url.path().trim_end_matches('/').to_owned();
        url.set_path(&format!("{base}/{path}"));
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        let request = self.client.get(url).header(ACCEPT, FHIR_JSON);
        self.send(match authorization {
            Some(value) => request.header(AUTHORIZATION, value.clone()),
            None => request,
        })
        .await
    }

    /// `authorization` has to be marked as sensitive, so that nothing prints it.
    pub(crate) async fn post(&self, form: &[(&str, &str)], authorization: HeaderValue) -> Result<Fetched, FetchError> {
        let request = self.client.post(self.url.clone()).header(ACCEPT, JSON).header(AUTHORIZATION, authorization);
        self.send(request.form(form)).await
    }

    /// The path and query behind a base that is known by another name.
    pub(crate) fn below_itself(&self, rest: &str) -> Option<(String, Vec<(String, String)>)> {
        self.below(&format!("{}{rest}", self.url.as_str().trim_end_matches('/')))
    }

    /// A link, if it leads below the URL: the path there, and the query.
    pub(crate) fn below(&self, link: &str) -> Option<(String, Vec<(String, String)>)> {
        let url = self.url.join(link).ok()?;
        let base = format!("{}/", self.url.path().trim_end_matches('/'));
        let path = url.path().strip_prefix(&base).or_else(|| (url.path() == self.url.path()).then_some(""));
        let same = url.origin() == self.url.origin() && url.username().is_empty();
        let query = url.query_pairs().map(|(name, value)| (name.into_owned(), value.into_owned())).collect();
        path.filter(|_| same).map(|path| (path.to_owned(), query))
    }

    async fn send(&self, request: RequestBuilder) -> Result<Fetched, FetchError> {
        let unreachable = |error: reqwest::Error| FetchError::Unreachable(error.without_url());
        let mut response = request.send().await.map_err(unreachable)?;
        if response.status() != StatusCode::OK {
            return Err(FetchError::Status(response.status().as_u16()));
        }
        let max_age_s = max_age(response.headers());
        let mut body = Vec::new();
        while let Some(chunk) = self.next(&mut response, body.len()).await? {
            body.extend_from_slice(&chunk);
        }
        Ok(Fetched { body, max_age_s })
    }

    /// SECURITY: counted while it arrives; what a header announces proves nothing.
    async fn next(&self, response: &mut Response, read: usize) -> Result<Option<Vec<u8>>, FetchError> {
        let chunk = response.chunk().await.map_err(|error| FetchError::Unreachable(error.without_url()))?;
        match chunk {
            Some(chunk) if read + chunk.len() > self.most_bytes => Err(FetchError::TooLong(self.most_bytes)),
            chunk => Ok(chunk.map(Vec::from)),
        }
    }
}

/// A URL cannot be asked at all.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EndpointError {
    #[error("the URL cannot be used")]
    Url(#[from] UrlError),
    #[error("the HTTP client does not start")]
    Client(#[source] reqwest::Error),
}

/// The token in a file cannot be sent.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TokenFileError {
    /// it cannot be read
    #[error("the token in `{}` cannot be read", .0.display())]
    Read(PathBuf, #[source] std::io::Error),
    /// no header can hold it
    #[error("the token in `{}` is none", .0.display())]
    NoToken(PathBuf),
}

/// The authorization header of the bearer token in a file; nothing prints it.
pub(crate) fn bearer(file: &Path) -> Result<HeaderValue, TokenFileError> {
    let token = std::fs::read_to_string(file).map_err(|error| TokenFileError::Read(file.to_owned(), error))?;
    let value = HeaderValue::from_str(&format!("Bearer {}", token.trim()));
    let mut value = value.map_err(|_| TokenFileError::NoToken(file.to_owned()))?;
    value.set_sensitive(true);
    Ok(value)
}

/// Whether a URL may be asked.
pub(crate) fn check_url(text: &str, allow_private: bool) -> Result<(), UrlError> {
    read_url(text, allow_private).map(drop)
}

/// The URL, and which addresses may stand behind it.
fn read_url(text: &str, allow_private: bool) -> Result<(Url, Allowed), UrlError> {
    let url = Url::parse(text).map_err(|_| UrlError::NotAbsolute)?;
    let host = url.host_str().ok_or(UrlError::NotAbsolute)?;
    if !url.username().is_empty() || url.password().is_some() || url.fragment().is_some() {
        return Err(UrlError::Extra);
    }
    // The parser has turned every spelling of an address (`0x7f.1`, `2130706433`) into the usual one.
    let literal = host.trim_start_matches('[').trim_end_matches(']').parse::<std::net::IpAddr>().ok();
    let allowed = match url.scheme() {
        "https" if allow_private => Allowed::PrivateToo,
        "https" => Allowed::Public,
        "http" if allow_private && (literal.is_some() || host == "localhost") => Allowed::LoopbackOnly,
        _ => return Err(UrlError::NotHttps),
    };
    match literal {
        Some(address) if !allowed.admits(address) && allowed == Allowed::LoopbackOnly => Err(UrlError::NotHttps),
        Some(address) if !allowed.admits(address) => Err(UrlError::Address),
        _ => Ok((url, allowed)),
    }
}

fn client(allowed: Allowed, timeout: Duration) -> Result<Client, reqwest::Error> {
    builder(allowed, timeout).build()
}

/// SECURITY: no redirects, which could lead anywhere, and no proxy, which would resolve names itself.
fn builder(allowed: Allowed, timeout: Duration) -> ClientBuilder {
    let builder = Client::builder()
        .redirect(redirect::Policy::none())
        .no_proxy()
        .referer(false)
        .timeout(timeout)
        .user_agent(concat!("chartgate/", env!("CARGO_PKG_VERSION")))
        .dns_resolver(Guarded(allowed));
    match allowed {
        // Nothing is encrypted, so a machine without root certificates will do.
        Allowed::LoopbackOnly => builder.tls_certs_only([]),
        Allowed::Public | Allowed::PrivateToo => builder.https_only(true),
    }
}

/// How long an answer may be kept, in seconds (RFC 9111, section 5.2.2).
fn max_age(headers: &HeaderMap) -> Option<u64> {
    let mut found = None;
    for value in headers.get_all(CACHE_CONTROL) {
        for directive in value.to_str().unwrap_or_default().split(',').map(str::trim) {
            if directive.eq_ignore_ascii_case("no-store") || directive.eq_ignore_ascii_case("no-cache") {
                return Some(0);
            }
            let age = directive.split_once('=').filter(|(name, _)| name.eq_ignore_ascii_case("max-age"));
            found = found.or_else(|| age.and_then(|(_, seconds)| seconds.trim_matches('"').parse().ok()));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_https_and_public_unless_told_otherwise() {
        let outcome = |text: &str, private: bool| read_url(text, private).map(|(_, allowed)| allowed);
        assert_eq!(outcome("https://login.example/jwks", false), Ok(Allowed::Public));
        assert_eq!(outcome("https://login.example/jwks", true), Ok(Allowed::PrivateToo));
        assert_eq!(outcome("https://8.8.8.8/jwks", false), Ok(Allowed::Public));
        for text in ["https://127.0.0.1/", "https://0x7f.1/", "https://2130706433/", "https://[::1]/", "https://10.1/"]
        {
            assert_eq!(outcome(text, false), Err(UrlError::Address), "{text}");
            assert_eq!(outcome(text, true), Ok(Allowed::PrivateToo), "{text}");
        }
        assert_eq!(outcome("https://[::ffff:8.8.8.8]/", false), Err(UrlError::Address));
        assert_eq!(outcome("https://0.0.0.0/", true), Err(UrlError::Address));
    }

    #[test]
    fn http_is_for_this_machine_and_has_to_be_allowed() {
        for text in ["http://127.0.0.1:80/", "http://[::1]/", "http://localhost/"] {
            assert_eq!(read_url(text, true).map(|(_, allowed)| allowed), Ok(Allowed::LoopbackOnly), "{text}");
            assert_eq!(check_url(text, false), Err(UrlError::NotHttps), "{text}");
        }
        for text in ["http://login.example/", "http://10.0.0.1/", "http://localhost.example/", "ftp://127.0.0.1/"] {
            assert_eq!(check_url(text, true), Err(UrlError::NotHttps), "{text}");
        }
    }

    #[test]
    fn a_url_holds_nothing_but_a_place() {
        for text in ["", "login.example/jwks", "/jwks", "https://"] {
            assert_eq!(check_url(text, true), Err(UrlError::NotAbsolute), "{text}");
        }
        for text in ["https://me:secret@login.example/", "https://me@login.example/", "https://login.example/#keys"] {
            assert_eq!(check_url(text, true), Err(UrlError::Extra), "{text}");
        }
    }

    #[test]
    fn the_age_is_what_cache_control_says() {
        let age = |values: &[&'static str]| {
            let header = |value: &&'static str| (CACHE_CONTROL, HeaderValue::from_static(value));
            max_age(&values.iter().map(header).collect())
        };
        assert_eq!(age(&[]), None);
        assert_eq!(age(&["public, max-age=60"]), Some(60));
        assert_eq!(age(&["public", "Max-Age=\"7\""]), Some(7));
        assert_eq!(age(&["max-age=60, no-cache"]), Some(0));
        assert_eq!(age(&["no-store"]), Some(0));
        for value in ["max-age", "max-age=-1", "max-age=x", "s-maxage=9"] {
            assert_eq!(age(&[value]), None, "{value}");
        }
    }
}
