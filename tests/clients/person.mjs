// Somebody with a browser that runs no scripts: signs in, allows what is asked, and stops where the app begins.
import assert from "node:assert/strict";

const { ISSUER, ACCOUNT, PASSWORD } = process.env;

const plain = (text) =>
  text.replace(/&#x([0-9a-f]+);/gi, (_, hex) => String.fromCodePoint(parseInt(hex, 16)))
    .replaceAll("&quot;", '"').replaceAll("&lt;", "<").replaceAll("&gt;", ">").replaceAll("&amp;", "&");

const attribute = (tag, name) => {
  const found = new RegExp(`\\s${name}="([^"]*)"`).exec(tag);
  return found && plain(found[1]);
};

/** The form of a page, as it stands: where it goes, and its fields. */
function form(html) {
  const inner = /<main[\s\S]*?(<form[\s\S]*?<\/form>)/.exec(html);
  assert(inner, `a page without a form: ${html}`);
  const fields = new URLSearchParams();
  for (const [tag] of inner[1].matchAll(/<input[^>]*>/g)) {
    const name = attribute(tag, "name");
    const box = ["checkbox", "radio"].includes(attribute(tag, "type"));
    if (name && !(box && !/\schecked/.test(tag))) fields.append(name, attribute(tag, "value") ?? "");
  }
  return { action: attribute(inner[1], "action"), fields };
}

// They stay signed in from one call to the next, as people do.
const cookies = new Map();

/** Go to an address that asks for a code; answers the address the app is called back at. */
export async function person(start) {
  let url = new URL(start);
  let body;
  for (let step = 0; step < 12; step += 1) {
    const cookie = [...cookies].map(([name, value]) => `${name}=${value}`).join("; ");
    const headers = { accept: "text/html", ...(cookie && { cookie }), ...(body && { origin: ISSUER }) };
    const answer = await fetch(url, { method: body ? "POST" : "GET", body, headers, redirect: "manual" });
    for (const line of answer.headers.getSetCookie()) {
      const [, name, value] = /^([^=]+)=([^;]*)/.exec(line);
      cookies.set(name, value);
    }
    body = undefined;
    const location = answer.headers.get("location");
    if (location) {
      assert.equal(answer.status, 303);
      url = new URL(location, url);
      if (url.origin !== new URL(ISSUER).origin) return url;
      continue;
    }
    const html = await answer.text();
    assert.equal(answer.status, 200, `${url.pathname}: ${html}`);
    const page = form(html);
    if (url.pathname === "/oauth/login") {
      page.fields.set("username", ACCOUNT);
      page.fields.set("password", PASSWORD);
    } else {
      assert.equal(url.pathname, "/oauth/approve", html);
      page.fields.set("action", "allow");
    }
    url = new URL(page.action, url);
    body = page.fields;
  }
  assert.fail(`it leads in circles: ${url}`);
}
