//! The crate openidconnect: discovery, a code with PKCE, an ID token checked by the published keys, a refresh and
//! introspection.

use std::error::Error;
use std::io::{self, Read as _, Write as _};
use std::net::TcpStream;
use std::process::Command;

use openidconnect::core::{
    CoreAuthDisplay, CoreAuthPrompt, CoreAuthenticationFlow, CoreClaimName, CoreClaimType, CoreClientAuthMethod,
    CoreErrorResponseType, CoreGenderClaim, CoreGrantType, CoreJsonWebKey, CoreJweContentEncryptionAlgorithm,
    CoreJweKeyManagementAlgorithm, CoreJwsSigningAlgorithm, CoreResponseMode, CoreResponseType, CoreRevocableToken,
    CoreRevocationErrorResponse, CoreSubjectIdentifierType, CoreTokenIntrospectionResponse, CoreTokenType,
};
use openidconnect::http::{Request, Response};
use openidconnect::{
    AccessTokenHash, AdditionalClaims, AdditionalProviderMetadata, AuthorizationCode, ClientId, ClientSecret,
    CsrfToken, EndpointMaybeSet, EndpointNotSet, EndpointSet, ExtraTokenFields, HttpRequest, HttpResponse,
    IdTokenFields, IntrospectionUrl, IssuerUrl, Nonce, OAuth2TokenResponse as _, PkceCodeChallenge, ProviderMetadata,
    RedirectUrl, Scope, StandardErrorResponse, StandardTokenResponse, TokenIntrospectionResponse as _,
    TokenResponse as _,
};
use serde::{Deserialize, Serialize};

/// Where tokens are looked up.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Endpoints {
    introspection_endpoint: IntrospectionUrl,
}
impl AdditionalProviderMetadata for Endpoints {}

/// Who the person is in the record system.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct FhirClaims {
    #[serde(rename = "fhirUser")]
    fhir_user: String,
}
impl AdditionalClaims for FhirClaims {}

/// Whose record it is about.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct LaunchContext {
    patient: String,
}
impl ExtraTokenFields for LaunchContext {}

type Provider = ProviderMetadata<
    Endpoints,
    CoreAuthDisplay,
    CoreClientAuthMethod,
    CoreClaimName,
    CoreClaimType,
    CoreGrantType,
    CoreJweContentEncryptionAlgorithm,
    CoreJweKeyManagementAlgorithm,
    CoreJsonWebKey,
    CoreResponseMode,
    CoreResponseType,
    CoreSubjectIdentifierType,
>;
type Tokens = StandardTokenResponse<
    IdTokenFields<
        FhirClaims,
        LaunchContext,
        CoreGenderClaim,
        CoreJweContentEncryptionAlgorithm,
        CoreJwsSigningAlgorithm,
    >,
    CoreTokenType,
>;
type Client = openidconnect::Client<
    FhirClaims,
    CoreAuthDisplay,
    CoreGenderClaim,
    CoreJweContentEncryptionAlgorithm,
    CoreJsonWebKey,
    CoreAuthPrompt,
    StandardErrorResponse<CoreErrorResponseType>,
    Tokens,
    CoreTokenIntrospectionResponse,
    CoreRevocableToken,
    CoreRevocationErrorResponse,
    EndpointSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointMaybeSet,
    EndpointMaybeSet,
>;

fn env(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set"))
}

/// Somebody goes there and allows it.
fn person(url: &str) -> Result<String, Box<dyn Error>> {
    let came = Command::new("node").args(["visit.mjs", url]).output()?;
    assert!(came.status.success(), "{}", String::from_utf8_lossy(&came.stderr));
    Ok(String::from_utf8(came.stdout)?.trim().to_owned())
}

/// Plain HTTP on this machine needs no library, and this one's would take most of the time to build.
fn http(request: HttpRequest) -> io::Result<HttpResponse> {
    let wrong = |what: &str| io::Error::other(what.to_owned());
    let host = request.uri().authority().ok_or_else(|| wrong("no host"))?.as_str();
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
    let mut message =
        format!("{} {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n", request.method()).into_bytes();
    for (name, value) in request.headers() {
        message.extend([name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"].concat());
    }
    message.extend(format!("content-length: {}\r\n\r\n", request.body().len()).bytes());
    message.extend(request.body());
    let mut stream = TcpStream::connect(host)?;
    stream.write_all(&message)?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;

    let end = answer.windows(4).position(|four| four == b"\r\n\r\n").ok_or_else(|| wrong("no headers"))?;
    let head = String::from_utf8_lossy(&answer[..end]).into_owned();
    let mut lines = head.lines();
    let status = lines.next().and_then(|line| line.split(' ').nth(1)).ok_or_else(|| wrong("no status"))?;
    let mut response = Response::builder().status(status);
    for (name, value) in lines.filter_map(|line| line.split_once(": ")) {
        assert!(!name.eq_ignore_ascii_case("transfer-encoding"), "{head}");
        response = response.header(name, value);
    }
    response.body(answer.split_off(end + 4)).map_err(io::Error::other)
}

fn main() -> Result<(), Box<dyn Error>> {
    let provider = Provider::discover(&IssuerUrl::new(env("ISSUER"))?, &http)?;
    let introspection = provider.additional_metadata().introspection_endpoint.clone();

    let service = Client::from_provider_metadata(
        provider.clone(),
        ClientId::new(env("SERVICE_ID")),
        Some(ClientSecret::new(env("SERVICE_SECRET"))),
    )
    .set_introspection_url(introspection);

    for (name, secret) in [("PUBLIC", None), ("BASIC", Some(ClientSecret::new(env("BASIC_SECRET"))))] {
        let client =
            Client::from_provider_metadata(provider.clone(), ClientId::new(env(&format!("{name}_ID"))), secret)
                .set_redirect_uri(RedirectUrl::new(env("REDIRECT_URI"))?);
        let (challenge, verifier) = PkceCodeChallenge::new_random_sha256();
        let scopes = ["fhirUser", "launch/patient", "offline_access", "patient/Patient.rs"];
        let (url, state, nonce) = client
            .authorize_url(CoreAuthenticationFlow::AuthorizationCode, CsrfToken::new_random, Nonce::new_random)
            .add_scopes(scopes.map(|scope| Scope::new(scope.into())))
            .add_extra_param("aud", env("FHIR_BASE"))
            .set_pkce_challenge(challenge)
            .url();

        let back = openidconnect::url::Url::parse(&person(url.as_str())?)?;
        let parameter =
            |name: &str| back.query_pairs().find(|(known, _)| known == name).map(|(_, value)| value.into_owned());
        assert_eq!(parameter("state").as_ref(), Some(state.secret()));
        assert_eq!(parameter("iss"), Some(env("ISSUER")));
        let code = AuthorizationCode::new(parameter("code").ok_or("no code")?);
        let tokens = client.exchange_code(code)?.set_pkce_verifier(verifier).request(&http)?;
        assert_eq!(tokens.extra_fields().extra_fields().patient, "123");

        let id_token = tokens.id_token().ok_or("no ID token")?;
        let verifier = client.id_token_verifier();
        let claims = id_token.claims(&verifier, &nonce)?;
        assert_eq!(claims.additional_claims().fhir_user, format!("{}/Patient/123", env("FHIR_BASE")));
        let hash = claims.access_token_hash().ok_or("no at_hash")?;
        let own = AccessTokenHash::from_token(
            tokens.access_token(),
            id_token.signing_alg()?,
            id_token.signing_key(&verifier)?,
        )?;
        assert_eq!(*hash, own);

        let refresh = tokens.refresh_token().ok_or("no refresh token")?;
        let renewed = client.exchange_refresh_token(refresh)?.request(&http)?;
        assert_ne!(renewed.access_token().secret(), tokens.access_token().secret());
        let told = service.introspect(renewed.access_token()).request(&http)?;
        assert!(told.active());
        assert_eq!(told.sub(), Some(claims.subject().as_str()));
        assert_eq!(told.client_id().map(|id| id.to_string()), Some(env(&format!("{name}_ID"))));

        let bearer = format!("Bearer {}", renewed.access_token().secret());
        let read = Request::get(format!("{}/Patient/123", env("FHIR_BASE"))).header("authorization", bearer);
        assert_eq!(http(read.body(Vec::new())?)?.status(), 200);
        println!("ok: {name}");
    }
    // It takes tokens back over https alone, so that is not tried here.
    Ok(())
}
