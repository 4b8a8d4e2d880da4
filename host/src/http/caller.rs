//! Who calls, and what they may do.

use std::net::SocketAddr;

use axum::http::{HeaderMap, StatusCode, header};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use crate::config::Config;
use crate::http::problem::Problem;

/// Rights of callers.
pub const RIGHTS: [&str; 8] =
    ["decide", "filter", "vouch-subject", "vouch-facts", "explain", "simulate", "introspect", "launch"];
/// Roles of administrators. An auditor only reads.
pub const ROLES: [&str; 3] = ["operator", "publisher", "auditor"];

/// SHA-256 of an API key.
#[derive(Clone, Copy)]
pub struct KeyHash([u8; 32]);

impl KeyHash {
    /// Read 64 hexadecimal digits.
    pub fn parse(text: &str) -> Option<Self> {
        let mut bytes = [0; 32];
        if text.len() != 64 || !text.is_ascii() {
            return None;
        }
        for (at, byte) in bytes.iter_mut().enumerate() {
            *byte = u8::from_str_radix(text.get(at * 2..at * 2 + 2)?, 16).ok()?;
        }
        Some(Self(bytes))
    }

    fn of(key: &str) -> Self {
        Self(Sha256::digest(key.as_bytes()).into())
    }
}

/// A caller, known by now.
#[derive(Debug, Clone)]
pub struct Caller {
    /// its name
    pub name: String,
    /// tenants it may ask about; `None` means every tenant (loopback callers of a demo)
    tenants: Option<Vec<String>>,
    rights: Vec<String>,
}

impl Caller {
    /// The person at the command line: may vouch, explain and simulate, about every tenant.
    pub fn local() -> Self {
        Self { name: "local".into(), tenants: None, rights: RIGHTS.map(str::to_owned).to_vec() }
    }

    /// This host itself, in front of a FHIR server with the charts of a tenant.
    pub(super) fn proxy(tenant: &str) -> Self {
        Self { name: "proxy".into(), tenants: Some(vec![tenant.to_owned()]), rights: vec!["decide".into()] }
    }

    /// Whether it has a right.
    pub fn may(&self, right: &str) -> bool {
        self.rights.iter().any(|known| known == right)
    }

    /// Refuse a caller without a right.
    pub(super) fn must(&self, right: &str) -> Result<(), Problem> {
        if self.may(right) { Ok(()) } else { Err(lacks(right)) }
    }

    /// Whether it may ask about a tenant.
    pub fn may_ask_about(&self, tenant: &str) -> bool {
        self.tenants.as_ref().is_none_or(|tenants| tenants.iter().any(|known| known == tenant))
    }
}

/// What a caller is told who lacks a right.
pub(super) fn lacks(right: &str) -> Problem {
    let detail = format!("this caller lacks the right `{right}`");
    Problem::new(StatusCode::FORBIDDEN, "right-missing", detail)
}

/// An administrator, known by now.
#[derive(Debug, Clone)]
pub struct Administrator {
    /// its name, the actor of change records
    pub name: String,
    roles: Vec<String>,
}

impl Administrator {
    /// Refuse unless it has one of these roles.
    pub fn needs(&self, roles: &[&str]) -> Result<(), Problem> {
        if self.roles.iter().any(|role| roles.contains(&role.as_str())) {
            return Ok(());
        }
        let detail = format!("this needs one of the roles {}", roles.join(", "));
        Err(Problem::new(StatusCode::FORBIDDEN, "role-missing", detail))
    }
}

/// Everybody this host knows.
pub struct People {
    callers: Vec<(KeyHash, Caller)>,
    administrators: Vec<(KeyHash, Administrator)>,
    demo: bool,
}

impl People {
    /// Those of the configuration; with `demo`, everybody on this machine may do everything.
    pub fn new(config: &Config, demo: bool) -> Self {
        let caller = |c: &crate::config::CallerConfig| {
            let caller = Caller { name: c.name.clone(), tenants: Some(c.tenants.clone()), rights: c.may.clone() };
            Some((KeyHash::parse(&c.auth.api_key_sha256)?, caller))
        };
        let administrator = |a: &crate::config::AdministratorConfig| {
            let administrator = Administrator { name: a.name.clone(), roles: a.roles.clone() };
            Some((KeyHash::parse(&a.auth.api_key_sha256)?, administrator))
        };
        Self {
            callers: config.callers.iter().filter_map(caller).collect(),
            administrators: config.administrators.iter().filter_map(administrator).collect(),
            demo,
        }
    }

    /// Who sends this request to a decision route.
    pub fn caller(&self, headers: &HeaderMap, peer: SocketAddr) -> Result<Caller, Problem> {
        match key(headers)? {
            Some(key) => find(&self.callers, key).cloned().ok_or_else(unknown),
            None if self.demo && is_local(headers, peer) => Ok(Caller { name: "demo".into(), ..Caller::local() }),
            None => Err(unknown()),
        }
    }

    /// Who sends this request to an administration route.
    pub fn administrator(&self, headers: &HeaderMap, peer: SocketAddr) -> Result<Administrator, Problem> {
        match key(headers)? {
            Some(key) => find(&self.administrators, key).cloned().ok_or_else(unknown),
            None if self.demo && is_local(headers, peer) => {
                Ok(Administrator { name: "demo".into(), roles: ROLES.map(str::to_owned).to_vec() })
            }
            None => Err(unknown()),
        }
    }
}

fn unknown() -> Problem {
    Problem::new(
        StatusCode::UNAUTHORIZED,
        "caller-unknown",
        "send `Authorization: Bearer` with the API key of a known caller",
    )
}

/// The API key of the `Authorization` header; two such headers are one too many.
fn key(headers: &HeaderMap) -> Result<Option<&str>, Problem> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let Some(value) = values.next() else { return Ok(None) };
    let key = value.to_str().ok().and_then(|text| text.split_once(' '));
    let key = key.filter(|(scheme, key)| scheme.eq_ignore_ascii_case("bearer") && !key.is_empty() && key.len() <= 512);
    match (key, values.next()) {
        (Some((_, key)), None) => Ok(Some(key)),
        _ => Err(unknown()),
    }
}

/// SECURITY: hashes are compared in constant time, and all of them, so that neither a hash nor its
/// place in the list shows in the time taken.
fn find<'a, T>(known: &'a [(KeyHash, T)], key: &str) -> Option<&'a T> {
    let given = KeyHash::of(key);
    known.iter().fold(None, |found, (hash, who)| if bool::from(hash.0.ct_eq(&given.0)) { Some(who) } else { found })
}

/// SECURITY: a demo serves whoever sits at this machine. A web page open in their browser, or a proxy
/// that forwards somebody else, is not them.
fn is_local(headers: &HeaderMap, peer: SocketAddr) -> bool {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let name = host
        .rsplit_once(':')
        .filter(|(_, port)| port.bytes().all(|b| b.is_ascii_digit()))
        .map_or(host, |(name, _)| name);
    let forwarded = headers.keys().any(|name| {
        let name = name.as_str();
        name == "origin" || name == "forwarded" || name.starts_with("x-forwarded-")
    });
    peer.ip().is_loopback() && matches!(name, "localhost" | "127.0.0.1" | "[::1]") && !forwarded
}

#[cfg(test)]
mod tests {
    use super::*;

    fn people(demo: bool) -> People {
        let hash = KeyHash::of("secret");
        People {
            callers: vec![(
                hash,
                Caller { name: "ehr".into(), tenants: Some(vec!["a".into()]), rights: vec!["decide".into()] },
            )],
            administrators: Vec::new(),
            demo,
        }
    }

    fn headers(list: &[(&'static str, &'static str)]) -> HeaderMap {
        list.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    const HERE: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 1);

    #[test]
    fn a_caller_is_known_by_its_key_and_nothing_else() {
        let known = people(false).caller(&headers(&[("authorization", "Bearer secret")]), HERE).unwrap();
        assert!(known.may("decide") && !known.may("simulate"));
        assert!(known.may_ask_about("a") && !known.may_ask_about("b"));
        let strangers: [&[(&'static str, &'static str)]; 5] = [
            &[],
            &[("authorization", "Bearer Secret")],
            &[("authorization", "Basic secret")],
            &[("authorization", "secret")],
            &[("authorization", "Bearer secret"), ("authorization", "Bearer secret")],
        ];
        for list in strangers {
            assert_eq!(people(false).caller(&headers(list), HERE).unwrap_err().status, 401, "{list:?}");
        }
    }

    #[test]
    fn a_demo_serves_this_machine_alone() {
        let local = [("host", "localhost:8080")];
        assert!(people(true).caller(&headers(&local), HERE).is_ok());
        assert!(people(false).caller(&headers(&local), HERE).is_err());
        let from_afar: SocketAddr = "192.0.2.1:1".parse().unwrap();
        assert!(people(true).caller(&headers(&local), from_afar).is_err());
        for other in [
            ("host", "evil.example"),
            ("origin", "http://localhost"),
            ("forwarded", "for=x"),
            ("x-forwarded-for", "x"),
            ("x-forwarded-host", "x"),
        ] {
            let mut list = headers(&local);
            list.insert(other.0, other.1.parse().unwrap());
            assert!(people(true).caller(&list, HERE).is_err(), "{other:?}");
        }
    }
}
