// oauth4webapi, which keeps strictly to the RFCs: 8414 (metadata), 9207 (issuer of an answer), 7662, 7009.
import assert from "node:assert/strict";
import * as oauth from "oauth4webapi";
import { person } from "./person.mjs";

const env = process.env;
const SCOPE = "openid fhirUser launch/patient offline_access patient/*.rs";
const plain = { [oauth.allowInsecureRequests]: true };

const issuer = new URL(env.ISSUER);
const found = await oauth.discoveryRequest(issuer, { algorithm: "oauth2", ...plain });
const as = await oauth.processDiscoveryResponse(issuer, found);
assert.deepEqual(as.code_challenge_methods_supported, ["S256"]);
assert.equal(as.authorization_response_iss_parameter_supported, true);

const client = { client_id: env.BASIC_ID };
const auth = oauth.ClientSecretBasic(env.BASIC_SECRET);
const verifier = oauth.generateRandomCodeVerifier();
const [state, nonce] = [oauth.generateRandomState(), oauth.generateRandomNonce()];
const url = new URL(as.authorization_endpoint);
for (const [name, value] of Object.entries({
  response_type: "code", client_id: env.BASIC_ID, redirect_uri: env.REDIRECT_URI, scope: SCOPE, aud: env.FHIR_BASE,
  state, nonce, code_challenge: await oauth.calculatePKCECodeChallenge(verifier), code_challenge_method: "S256",
})) url.searchParams.set(name, value);

const back = oauth.validateAuthResponse(as, client, await person(url), state);
const exchanged =
  await oauth.authorizationCodeGrantRequest(as, client, auth, back, env.REDIRECT_URI, verifier, plain);
assert.match(exchanged.headers.get("cache-control"), /no-store/);
const checks = { expectedNonce: nonce, requireIdToken: true };
const tokens = await oauth.processAuthorizationCodeResponse(as, client, exchanged, checks);
await oauth.validateApplicationLevelSignature(as, exchanged, plain);
const claims = oauth.getValidatedIdTokenClaims(tokens);
assert.equal(claims.fhirUser, `${env.FHIR_BASE}/Patient/123`);
assert.deepEqual([tokens.patient, tokens.scope], ["123", SCOPE]);

const read = (token) => oauth.protectedResourceRequest(token, "GET", new URL(`${env.FHIR_BASE}/Patient/123`),
  undefined, undefined, plain);
assert.equal((await (await read(tokens.access_token)).json()).resourceType, "Patient");

const refreshed = await oauth.refreshTokenGrantRequest(as, client, auth, tokens.refresh_token, plain);
const renewed = await oauth.processRefreshTokenResponse(as, client, refreshed);
assert.notEqual(renewed.access_token, tokens.access_token);
const wrong = oauth.ClientSecretBasic("wrong");
const refused = await oauth.refreshTokenGrantRequest(as, client, wrong, tokens.refresh_token, plain);
await assert.rejects(oauth.processRefreshTokenResponse(as, client, refused), oauth.WWWAuthenticateChallengeError);

const service = { client_id: env.SERVICE_ID };
const proof = oauth.ClientSecretBasic(env.SERVICE_SECRET);
const introspect = async (token) => {
  const answer = await oauth.introspectionRequest(as, service, proof, token, plain);
  return oauth.processIntrospectionResponse(as, service, answer);
};
const told = await introspect(renewed.access_token);
assert.deepEqual([told.active, told.sub, told.client_id], [true, claims.sub, env.BASIC_ID]);

const revoke = async (token) =>
  oauth.processRevocationResponse(await oauth.revocationRequest(as, client, auth, token, plain));
await revoke(tokens.refresh_token);
// With the refresh token everything ends that came of the approval.
for (const token of [tokens.access_token, renewed.access_token]) {
  assert.deepEqual(await introspect(token), { active: false });
}
// The library finds the challenge of the answer before it can be looked at otherwise.
await assert.rejects(async () => {
  const answer = await read(renewed.access_token);
  assert.equal(answer.status, 401);
}, oauth.WWWAuthenticateChallengeError);
await revoke("nobodys");
