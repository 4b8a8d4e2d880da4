// SMART's own client as a web app with a server, which proves who it is by a key.
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import FHIR from "fhirclient";
import { person } from "./person.mjs";

const env = process.env;
const keys = JSON.parse(await readFile(env.KEYS, "utf8"));

/** What the session of somebody's browser holds, at this app. */
function session() {
  const kept = new Map();
  return {
    get: async (key) => kept.get(key),
    set: async (key, value) => kept.set(key, value) && value,
    unset: async (key) => kept.delete(key),
  };
}

for (const [alg, id] of [["ES384", env.ES384_ID], ["RS384", env.RS384_ID]]) {
  const storage = session();
  let told;
  const app = createServer((request, response) => {
    const smart = FHIR(request, response, storage);
    const launch = () => smart.authorize({
      clientId: id,
      clientPrivateJwk: keys[alg].secret,
      scope: "launch/patient openid fhirUser offline_access patient/Patient.rs",
      redirectUri: env.REDIRECT_URI,
      iss: env.FHIR_BASE,
    });
    const open = async () => {
      const client = await smart.ready();
      const first = client.state.tokenResponse.access_token;
      const patient = await client.patient.read();
      const others = await client.request("Patient/124").catch((error) => error.status);
      told = { patient: patient.id, others, user: client.user.fhirUser, first };
      response.end();
    };
    (request.url.startsWith("/launch") ? launch() : open()).catch((error) => response.end(String(error.stack)));
  });
  await new Promise((ready) => app.listen(0, "127.0.0.1", ready));
  const at = `http://127.0.0.1:${app.address().port}`;
  const sent = await fetch(`${at}/launch`, { redirect: "manual" });
  assert.equal(sent.status, 302, await sent.text());
  const back = await person(sent.headers.get("location"));
  const answer = await (await fetch(`${at}/callback${back.search}`)).text();
  assert(told, answer);
  assert.deepEqual([told.patient, told.others, told.user], ["123", 404, "Patient/123"]);
  app.close();
  app.closeAllConnections();
  console.log(`ok: ${alg}`);
}
