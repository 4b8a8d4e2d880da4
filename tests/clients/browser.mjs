// SMART's own client in a real browser, at another origin than the server: started by itself, then from the record
// system. Somebody types and clicks.
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { chromium } from "playwright-core";

const env = process.env;
const files = {
  "/launch.html": ["app/launch.html", "text/html"],
  "/index.html": ["app/index.html", "text/html"],
  "/fhir-client.js": ["node_modules/fhirclient/build/fhir-client.js", "text/javascript"],
};
const site = createServer(async (request, response) => {
  const [file, type] = files[new URL(request.url, "http://x/").pathname] ?? [];
  response.writeHead(file ? 200 : 404, { "content-type": `${type}; charset=utf-8` });
  response.end(file && (await readFile(file)));
});
await new Promise((ready) => site.listen(Number(env.APP_PORT), "127.0.0.1", ready));

const browser = await chromium.launch({
  executablePath: env.CHROMIUM,
  args: ["--no-sandbox", "--disable-dev-shm-usage", "--no-proxy-server"],
});
process.on("SIGTERM", () => process.exit(1));

/** What an app is told that somebody opened in a browser of their own; `then` goes on in that browser. */
async function open(url, account, then) {
  const context = await browser.newContext();
  const page = await context.newPage();
  const seen = [];
  page.on("console", (message) => seen.push(message.text()));
  page.on("requestfailed", (request) => seen.push(`${request.method()} ${request.url()} failed`));
  page.on("response", (response) => seen.push(`${response.status()} ${response.url()}`));
  try {
    await page.goto(url);
    await page.waitForURL(`${env.ISSUER}/oauth/login?*`);
    await page.getByLabel("User name").fill(account);
    await page.getByLabel("Password").fill(env.PASSWORD);
    await page.getByRole("button", { name: "Sign in" }).click();
    await page.waitForURL(`${env.ISSUER}/oauth/approve?*`);
    await page.locator("button[value=allow]").click();
    await page.waitForURL(`http://localhost:${env.APP_PORT}/index.html*`);
    await page.locator("html[data-told], html[data-error]").waitFor({ state: "attached" });
    const html = page.locator("html");
    assert.equal(await html.getAttribute("data-error"), null);
    const told = JSON.parse(await html.getAttribute("data-told"));
    await then?.(page, told);
    return told;
  } catch (error) {
    console.error(page.url(), seen.join("\n"));
    throw error;
  } finally {
    await context.close();
  }
}

const here = `http://localhost:${env.APP_PORT}/launch.html`;
const base = encodeURIComponent(env.FHIR_BASE);

const patient = await open(`${here}?app=${env.PATIENT_APP_ID}&iss=${base}`, env.ACCOUNT, async (page, told) => {
  // A page where no app is registered gets nothing out of the token endpoint, and records only with a token.
  await page.goto(`http://127.0.0.1:${env.APP_PORT}/launch.html`);
  const post = { method: "POST", body: new URLSearchParams({ grant_type: "refresh_token" }) };
  const call = (url, options) => page.evaluate(([url, options]) =>
    fetch(url, { ...options, body: options.body && new URLSearchParams(options.body) }).then(
      (answer) => answer.status, (error) => error.name), [url, options]);
  const body = String(post.body);
  assert.equal(await call(`${env.ISSUER}/oauth/token`, { method: "POST", body }), "TypeError");
  const headers = { authorization: `Bearer ${told.token}` };
  assert.equal(await call(`${env.FHIR_BASE}/Patient/123`, { headers }), 200);
  assert.equal(await call(`${env.FHIR_BASE}/Patient/123`, {}), 401);
});
assert.deepEqual([patient.patient, patient.user, patient.others], ["123", "Patient/123", 404]);
assert(patient.observations.length && patient.observations.every((each) => each === "Patient/123"));
assert.deepEqual([patient.renewed, patient.capabilities], [200, ["S256"]]);
assert.equal(patient.scope, "launch/patient openid fhirUser offline_access patient/Patient.rs patient/Observation.rs");
console.log("ok: by itself");

const launch = new URL(env.LAUNCH_URL);
launch.searchParams.set("app", env.PROVIDER_APP_ID);
const provider = await open(String(launch), env.PROVIDER_ACCOUNT);
assert.deepEqual([provider.patient, provider.user, provider.others], ["123", "Practitioner/17", 404]);
assert.deepEqual([...new Set(provider.observations)].sort(), ["Patient/123", "Patient/124"]);
assert.deepEqual([provider.renewed, provider.banner], [200, false]);
assert.match(provider.style, /smart-style\.json$/);
console.log("ok: from the record system");

await browser.close();
site.close();
