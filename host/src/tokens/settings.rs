//! Whose tokens are taken, and what they have to look like.

use std::fmt;

use serde::Deserialize;

use super::error::TokenConfigError;
use super::{ALGORITHMS, Algorithm};

/// The largest leeway that can be configured, in seconds.
pub const MAX_LEEWAY_S: u64 = 300;
/// Deeper paths than this lead into no honest token.
const MAX_STEPS: usize = 8;

/// Where a claim stands: one name, or the names on the way into nested objects.
///
/// A single name is taken as it is, dots and slashes included, because names of claims are often URLs.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(from = "Spelling")]
pub struct ClaimPath(Vec<String>);

#[derive(Deserialize)]
#[serde(untagged)]
enum Spelling {
    Name(String),
    Path(Vec<String>),
}

impl From<Spelling> for ClaimPath {
    fn from(spelling: Spelling) -> Self {
        match spelling {
            Spelling::Name(name) => Self(vec![name]),
            Spelling::Path(steps) => Self(steps),
        }
    }
}

impl From<&str> for ClaimPath {
    fn from(name: &str) -> Self {
        Self(vec![name.to_owned()])
    }
}

impl fmt::Display for ClaimPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join(" > "))
    }
}

impl ClaimPath {
    /// The names, outermost first.
    pub fn steps(&self) -> &[String] {
        &self.0
    }

    fn is_usable(&self) -> bool {
        (1..=MAX_STEPS).contains(&self.0.len()) && self.0.iter().all(|step| !step.is_empty())
    }
}

/// What an issuer calls its claims.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct ClaimNames {
    /// the user's own resource, `fhirUser`
    pub fhir_user: ClaimPath,
    /// launch patient, `patient`
    pub patient: ClaimPath,
    /// launch encounter, `encounter`
    pub encounter: ClaimPath,
    /// scopes, `scope`
    pub scope: ClaimPath,
    /// the app, `client_id`; where it is absent `azp` counts
    pub client: ClaimPath,
}

impl Default for ClaimNames {
    fn default() -> Self {
        Self {
            fhir_user: "fhirUser".into(),
            patient: "patient".into(),
            encounter: "encounter".into(),
            scope: "scope".into(),
            client: "client_id".into(),
        }
    }
}

/// Whose tokens are taken.
#[derive(Debug, Clone)]
pub struct TokenConfig {
    /// `iss`, compared byte by byte
    pub issuer: String,
    /// one of these must be in `aud`
    pub audiences: Vec<String>,
    /// the algorithms allowed
    pub algorithms: Vec<Algorithm>,
    /// how far the issuer's clock may be off, in seconds
    pub leeway_s: u64,
    /// the longest scope string taken
    pub max_scope_bytes: usize,
    /// what the issuer calls its claims
    pub claims: ClaimNames,
    /// whether a token without a user stands for a client of its own
    pub system_clients: bool,
    /// where this issuer's tokens count
    pub binding: Binding,
}

/// Where an issuer's tokens count.
///
/// SECURITY: who a `Patient/123` is, each base and each tenant knows for itself. The issuer of one must
/// not speak for the people of another.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Binding {
    /// names of the bases; the only one there is when empty
    pub bases: Vec<String>,
    /// the tenants; the only one there is when empty
    pub tenants: Vec<String>,
}

impl Binding {
    /// Whether a token counts for a base, by its name, and a tenant.
    pub fn covers(&self, base: &str, tenant: &str) -> bool {
        let within = |list: &[String], name: &str| list.is_empty() || list.iter().any(|known| known == name);
        within(&self.bases, base) && within(&self.tenants, tenant)
    }
}

impl TokenConfig {
    /// The usual limits: 30 s of leeway, scopes of 8 KiB, every asymmetric algorithm, users only.
    pub fn new(issuer: String, audiences: Vec<String>) -> Self {
        Self {
            issuer,
            audiences,
            algorithms: ALGORITHMS.iter().map(|(_, algorithm)| *algorithm).collect(),
            leeway_s: 30,
            max_scope_bytes: 8 * 1024,
            claims: ClaimNames::default(),
            system_clients: false,
            binding: Binding::default(),
        }
    }

    /// Everything that is wrong with it.
    pub fn problems(&self) -> Vec<TokenConfigError> {
        let mut problems = Vec::new();
        if self.issuer.is_empty() {
            problems.push(TokenConfigError::Issuer);
        }
        if self.audiences.is_empty() || self.audiences.iter().any(String::is_empty) {
            problems.push(TokenConfigError::Audience);
        }
        if self.algorithms.is_empty() {
            problems.push(TokenConfigError::NoAlgorithm);
        }
        let known = |algorithm: &Algorithm| ALGORITHMS.iter().any(|(_, known)| known == algorithm);
        if let Some(algorithm) = self.algorithms.iter().find(|algorithm| !known(algorithm)) {
            problems.push(TokenConfigError::Algorithm(*algorithm));
        }
        if self.leeway_s > MAX_LEEWAY_S {
            problems.push(TokenConfigError::Leeway(self.leeway_s));
        }
        let ClaimNames { fhir_user, patient, encounter, scope, client } = &self.claims;
        let names = [
            ("fhir_user", fhir_user),
            ("patient", patient),
            ("encounter", encounter),
            ("scope", scope),
            ("client", client),
        ];
        let unusable = names.iter().filter(|(_, path)| !path.is_usable());
        problems.extend(unusable.map(|(member, _)| TokenConfigError::ClaimName(member)));
        problems
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(toml: &str) -> ClaimNames {
        toml::from_str(toml).unwrap()
    }

    #[test]
    fn a_claim_is_named_by_one_name_or_by_a_path() {
        let names = names("fhir_user = \"https://login.example/fhir.user\"\npatient = [\"ext\", \"a.b\"]");
        assert_eq!(names.fhir_user.steps(), ["https://login.example/fhir.user"]);
        assert_eq!(names.patient.steps(), ["ext", "a.b"]);
        assert_eq!(names.scope, "scope".into());
        assert!(toml::from_str::<ClaimNames>("scope = 1").is_err());
    }

    #[test]
    fn a_path_has_between_one_and_eight_steps_and_none_is_empty() {
        let path = |count: usize| ClaimPath(vec!["a".into(); count]);
        for (usable, path) in
            [(false, path(0)), (true, path(1)), (true, path(8)), (false, path(9)), (false, ClaimPath(vec!["".into()]))]
        {
            assert_eq!(path.is_usable(), usable, "{path}");
        }
    }
}
