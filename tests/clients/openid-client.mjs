// openid-client, a certified relying party: every way an app proves who it is, with its strict checks of ID tokens.
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { importJWK } from "jose";
import * as client from "openid-client";
import { person } from "./person.mjs";

const env = process.env;
const SCOPE = "openid fhirUser launch/patient offline_access patient/Patient.rs patient/Observation.rs";
const keys = JSON.parse(await readFile(env.KEYS, "utf8"));
const key = async (alg) => ({ key: await importJWK(keys[alg].secret, alg), kid: keys[alg].secret.kid });

// By itself it names the issuer as audience, as newer drafts have it; SMART says the token endpoint.
const smart = {
  [client.modifyAssertion]: (header, payload) => {
    header.typ = "JWT";
    payload.aud = `${env.ISSUER}/oauth/token`;
  },
};
const discover = (id, auth, algorithm) =>
  client.discovery(new URL(env.ISSUER), id, undefined, auth, { algorithm, execute: [client.allowInsecureRequests] });

const apps = [
  ["public", env.PUBLIC_ID, client.None()],
  ["client_secret_basic", env.BASIC_ID, client.ClientSecretBasic(env.BASIC_SECRET)],
  ["private_key_jwt ES384, aud: issuer", env.ES384_ID, client.PrivateKeyJwt(await key("ES384"))],
  ["private_key_jwt ES384, aud: token endpoint", env.ES384_ID, client.PrivateKeyJwt(await key("ES384"), smart)],
  ["private_key_jwt RS384, aud: token endpoint", env.RS384_ID, client.PrivateKeyJwt(await key("RS384"), smart)],
];

/** Ask for a code; answers what is needed to exchange it. */
async function codeOf(config) {
  const verifier = client.randomPKCECodeVerifier();
  const [state, nonce] = [client.randomState(), client.randomNonce()];
  const url = client.buildAuthorizationUrl(config, {
    redirect_uri: env.REDIRECT_URI,
    scope: SCOPE,
    aud: env.FHIR_BASE,
    state,
    nonce,
    code_challenge: await client.calculatePKCECodeChallenge(verifier),
    code_challenge_method: "S256",
  });
  const back = await person(url);
  assert.equal(back.searchParams.get("iss"), env.ISSUER);
  return [back, { pkceCodeVerifier: verifier, expectedState: state, expectedNonce: nonce, idTokenExpected: true }];
}

const service = await discover(env.SERVICE_ID, client.ClientSecretBasic(env.SERVICE_SECRET), "oidc");

for (const [name, id, auth] of apps) {
  const config = await discover(id, auth, "oidc");
  client.enableNonRepudiationChecks(config);
  const tokens = await client.authorizationCodeGrant(config, ...(await codeOf(config)));
  assert.deepEqual([tokens.scope, tokens.patient], [SCOPE, "123"]);
  const claims = tokens.claims();
  assert.deepEqual([claims.aud, claims.fhirUser], [id, `${env.FHIR_BASE}/Patient/123`]);

  const read = (token, url) => client.fetchProtectedResource(config, token, new URL(`${env.FHIR_BASE}/${url}`), "GET");
  assert.equal((await (await read(tokens.access_token, "Patient/123")).json()).id, "123");
  assert.equal((await read(tokens.access_token, "Patient/124")).status, 404);

  const renewed = await client.refreshTokenGrant(config, tokens.refresh_token);
  assert.notEqual(renewed.access_token, tokens.access_token);
  assert.equal(renewed.claims().sub, claims.sub);
  const told = await client.tokenIntrospection(service, renewed.access_token);
  assert.deepEqual([told.active, told.client_id, told.patient, told.sub], [true, id, "123", claims.sub]);
  assert.deepEqual([told.iss, told.fhirUser, told.scope], [env.ISSUER, claims.fhirUser, SCOPE]);
  await assert.rejects(client.tokenIntrospection(config, renewed.access_token), { status: 401 });

  await client.tokenRevocation(config, renewed.access_token);
  assert.deepEqual(await client.tokenIntrospection(service, renewed.access_token), { active: false });
  const refresh = renewed.refresh_token ?? tokens.refresh_token;
  await client.tokenRevocation(config, refresh);
  await assert.rejects(client.refreshTokenGrant(config, refresh), { error: "invalid_grant" });

  // A code that comes twice takes with it what it gave.
  const twice = await codeOf(config);
  const spoilt = await client.authorizationCodeGrant(config, ...twice);
  await assert.rejects(client.authorizationCodeGrant(config, ...twice), { error: "invalid_grant" });
  assert.equal((await client.tokenIntrospection(service, spoilt.access_token)).active, false);
  console.log(`ok: ${name}`);
}

// RFC 8414 leads to the same place.
const other = await discover(env.PUBLIC_ID, client.None(), "oauth2");
assert.equal(other.serverMetadata().token_endpoint, service.serverMetadata().token_endpoint);
