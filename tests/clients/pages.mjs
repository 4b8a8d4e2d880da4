// Every page, as people meet it, at the width of a phone and of a desk, light and dark: axe-core finds nothing serious,
// nothing is cut off, and the keyboard gets to the button.
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { chromium } from "playwright-core";

const env = process.env;
const axe = await readFile("node_modules/axe-core/axe.min.js", "utf8");
// The app that people are sent back to.
const app = createServer((request, response) => response.end("the app"));
await new Promise((ready) => app.listen(Number(env.APP_PORT), "127.0.0.1", ready));
const browser = await chromium.launch({
  executablePath: env.CHROMIUM,
  args: ["--no-sandbox", "--disable-dev-shm-usage", "--no-proxy-server"],
});
process.on("SIGTERM", () => process.exit(1));

const widths = { phone: { width: 360, height: 740 }, desk: { width: 1280, height: 900 } };
const seen = new Set();

/** Look at a page as it stands. */
async function look(page, name) {
  for (const colorScheme of ["light", "dark"]) {
    await page.emulateMedia({ colorScheme });
    await page.evaluate(axe);
    const { violations } = await page.evaluate(() => window.axe.run());
    const serious = violations.filter((each) => ["serious", "critical"].includes(each.impact));
    const told = serious.map((each) => `${each.id}: ${each.nodes.map((node) => node.html).join(" | ")}`);
    assert.deepEqual(told, [], `${name}, ${colorScheme}`);
  }
  const [wide, shown] = await page.evaluate(() => [document.documentElement.scrollWidth, window.innerWidth]);
  assert(wide <= shown, `${name} is ${wide} wide where ${shown} are shown`);
  seen.add(name);
}

/** Press the tabulator until the button has the focus. */
async function tab(page, button) {
  for (let presses = 0; presses < 200; presses += 1) {
    if (await button.evaluate((element) => element === document.activeElement)) return;
    await page.keyboard.press("Tab");
  }
  assert.fail(`the keyboard does not get to ${button}`);
}

for (const [width, viewport] of Object.entries(widths)) {
  const context = await browser.newContext({ viewport });
  const page = await context.newPage();
  const at = (name) => look(page, `${name}, ${width}`);

  await page.goto(env.AUTHORIZE_URL);
  const login = page.url();
  await at("login");
  await page.getByLabel("User name").fill(env.GUARDIAN);
  await page.getByLabel("Password").fill("not the password");
  await page.keyboard.press("Enter");
  await page.getByRole("alert").waitFor();
  await at("login that failed");

  await page.goto(login.replace("/oauth/login", "/oauth/enrol"));
  await at("enrolment");
  await page.getByLabel("Enrolment code").fill(env[`CODE_${width.toUpperCase()}`]);
  await page.getByLabel("Your last name").fill("Example");
  await page.getByLabel("Your date of birth").fill("1968-04-12");
  await page.keyboard.press("Enter");
  await page.getByLabel("User name").waitFor();
  await at("enrolment, the account");

  await page.goto(login);
  await page.getByLabel("User name").fill(env.GUARDIAN);
  await page.getByLabel("Password").fill(env.PASSWORD);
  await page.keyboard.press("Enter");
  await page.waitForURL("**/oauth/choose?*");
  await at("choice");
  await page.getByRole("radio").first().focus();
  await page.keyboard.press("Space");
  await page.keyboard.press("Enter");
  await page.waitForURL("**/oauth/approve?*");
  await at("approval");
  const allow = page.locator("button[value=allow]");
  await tab(page, allow);
  await allow.press("Enter");
  await page.waitForURL(`http://localhost:${env.APP_PORT}/callback?*`);

  for (const [path, name] of [["/oauth/", "home"], ["/oauth/apps", "connected apps"], ["/oauth/approve?flow=x", "message"]]) {
    await page.goto(env.ISSUER + path);
    await at(name);
  }
  await page.goto(`${env.ISSUER}/oauth/apps`);
  await page.locator("main button[type=submit]").first().press("Enter");
  await page.getByRole("status").waitFor();
  await at("connected apps, one taken back");
  await page.goto(`${env.ISSUER}/`);
  await at("demonstration");
  await context.close();
}
assert.equal(seen.size, 2 * 11, [...seen].join("; "));
await browser.close();
app.close();
console.log(`ok: ${seen.size} pages`);
