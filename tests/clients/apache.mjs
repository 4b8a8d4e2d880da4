// Apache, with two modules of other makers: one signs people in and holds their tokens, the other guards records by
// asking what a token is worth.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { chmod, mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { request } from "node:http";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { person } from "./person.mjs";

const env = process.env;
const site = `http://127.0.0.1:${env.APACHE_PORT}`;

const folder = await mkdtemp(join(tmpdir(), "chartgate-apache-"));
for (const page of ["app/page", "records/Patient/123", "records/Patient/124"]) {
  await mkdir(join(folder, "site", dirname(page)), { recursive: true });
  await writeFile(join(folder, "site", page), "a record\n");
}
// Started as root it serves as somebody else.
await chmod(folder, 0o755);

const apache = spawn(env.APACHE, ["-f", join(process.cwd(), "apache.conf"), "-DFOREGROUND"], {
  env: { ...env, APACHE_FOLDER: folder, AUD: encodeURIComponent(env.FHIR_BASE) },
  stdio: ["ignore", "inherit", "inherit"],
});
process.on("exit", () => apache.kill());
process.on("SIGTERM", () => process.exit(1));
apache.on("exit", (code) => code && process.exit(code));

for (let tries = 0; ; tries += 1) {
  if (await fetch(site).then(() => true, () => false)) break;
  assert(tries < 100, "it does not start");
  await sleep(100);
}

const cookies = new Map();
/** A page of the site, as the same browser sees it; redirects are not followed. */
async function get(url) {
  const cookie = [...cookies].map(([name, value]) => `${name}=${value}`).join("; ");
  // Not by `fetch`, which says that it is a script: those are not sent to sign in.
  const headers = { accept: "text/html", "sec-fetch-mode": "navigate", ...(cookie && { cookie }) };
  const answer = await new Promise((done, failed) =>
    request(new URL(url, site), { headers }, done).on("error", failed).end());
  answer.resume();
  for (const line of answer.headers["set-cookie"] ?? []) {
    const [, name, value] = /^([^=]+)=([^;]*)/.exec(line);
    if (value) cookies.set(name, value);
    else cookies.delete(name);
  }
  return { status: answer.statusCode, headers: answer.headers };
}

/** What the resource server says to a token. */
async function record(id, token) {
  const headers = token && { authorization: `Bearer ${token}` };
  return (await fetch(`${site}/records/Patient/${id}`, { headers })).status;
}

const sent = await get("/app/page");
assert.equal(sent.status, 302);
const called = await get(await person(sent.headers.location));
assert.equal(called.status, 302);
assert.equal(called.headers.location, `${site}/app/page`);
const inside = await get("/app/page");
assert.equal(inside.status, 200);
assert.equal(inside.headers["x-fhir-user"], `${env.FHIR_BASE}/Patient/123`);
const first = inside.headers["x-access-token"];
console.log("ok: signed in");

assert.equal(await record("123", first), 200);
assert.notEqual(await record("124", first), 200);
assert.equal(await record("123"), 401);
assert.equal(await record("123", "nobodys"), 401);
console.log("ok: records guarded");

const back = encodeURIComponent(`${site}/app/page`);
const renewed = await get(`/app/callback?refresh=${back}&access_token=${encodeURIComponent(first)}`);
assert.deepEqual([renewed.status, renewed.headers.location], [302, `${site}/app/page`]);
const second = (await get("/app/page")).headers["x-access-token"];
assert.notEqual(second, first);
assert.equal(await record("123", second), 200);
console.log("ok: renewed");

// It takes back what it holds, and the records close.
assert.equal((await get(`/app/callback?logout=${encodeURIComponent(site)}`)).status, 302);
await sleep(2_000);
assert.equal(await record("123", second), 401);
console.log("ok: signed out, taken back");

apache.kill();
await new Promise((ended) => apache.once("exit", ended));
await rm(folder, { recursive: true, force: true });
