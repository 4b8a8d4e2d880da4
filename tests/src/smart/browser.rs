//! A browser without scripts: cookies, forms, redirects.

use std::collections::BTreeMap;

use reqwest::blocking::{Client, Response};
use reqwest::header::{COOKIE, HeaderMap, LOCATION, ORIGIN, SET_COOKIE};
use reqwest::{Method, Url};

/// A browser.
pub struct Browser {
    client: Client,
    issuer: String,
    address: String,
    cookies: BTreeMap<String, String>,
}

/// Where a browser is.
#[derive(Debug, Clone)]
pub struct Page {
    /// the address
    pub url: Url,
    /// 0 when it lies outside of the server and was not loaded
    pub status: u16,
    /// the headers
    pub headers: HeaderMap,
    /// what it shows
    pub text: String,
}

impl Browser {
    pub(super) fn new(issuer: &str, address: &str) -> Self {
        let client = Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).build().unwrap();
        Self { client, issuer: issuer.to_owned(), address: address.to_owned(), cookies: BTreeMap::new() }
    }

    /// Go somewhere, and on to wherever that leads.
    pub fn get(&mut self, url: &str) -> Page {
        let url = Url::parse(&self.issuer).unwrap().join(url).unwrap();
        self.walk(Method::GET, url, None, &[])
    }

    /// Send a form, and go on to wherever that leads.
    pub fn post(&mut self, url: &str, form: &[(String, String)]) -> Page {
        let url = Url::parse(&self.issuer).unwrap().join(url).unwrap();
        let origin = self.issuer.clone();
        self.walk(Method::POST, url, Some(form), &[(ORIGIN.as_str(), &origin)])
    }

    /// One request, and not a step further.
    pub fn send(
        &mut self,
        method: Method,
        url: &str,
        form: Option<&[(String, String)]>,
        headers: &[(&str, &str)],
    ) -> Page {
        let url = Url::parse(&self.issuer).unwrap().join(url).unwrap();
        let mut request = self.client.request(method, url.clone()).header("x-forwarded-for", &self.address);
        if !self.cookies.is_empty() {
            let cookies: Vec<String> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
            request = request.header(COOKIE, cookies.join("; "));
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(form) = form {
            request = request.form(form);
        }
        let response = request.send().unwrap();
        self.keep(&response);
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Page { url, status, headers, text: response.text().unwrap() }
    }

    fn walk(&mut self, method: Method, url: Url, form: Option<&[(String, String)]>, headers: &[(&str, &str)]) -> Page {
        let mut page = self.send(method, url.as_str(), form, headers);
        for _ in 0..10 {
            let Some(location) = page.headers.get(LOCATION) else { return page };
            assert_eq!(page.status, 303, "a redirect that could send a form on");
            let next = page
                .url
                .join(location.to_str().unwrap())
                .unwrap_or_else(|_| Url::parse(location.to_str().unwrap()).unwrap());
            if !next.as_str().starts_with(&self.issuer) {
                return Page { url: next, status: 0, headers: HeaderMap::new(), text: String::new() };
            }
            page = self.send(Method::GET, next.as_str(), None, &[]);
        }
        panic!("it leads in circles: {}", page.url);
    }

    fn keep(&mut self, response: &Response) {
        for cookie in response.headers().get_all(SET_COOKIE) {
            let text = cookie.to_str().unwrap();
            let (name, value) = text.split(';').next().unwrap().split_once('=').unwrap();
            match value.is_empty() {
                true => self.cookies.remove(name),
                false => self.cookies.insert(name.to_owned(), value.to_owned()),
            };
        }
    }

    /// Its cookies.
    pub fn cookies(&mut self) -> &mut BTreeMap<String, String> {
        &mut self.cookies
    }

    /// Fill in the form of a page and send it. `fill` is given its fields as a browser has them at first.
    pub fn submit(&mut self, page: &Page, fill: impl FnOnce(&mut Fields)) -> Page {
        let (action, mut fields) = page.form();
        fill(&mut fields);
        self.post(&action, &fields.0)
    }

    /// Sign in on a login page.
    pub fn sign_in(&mut self, page: &Page, name: &str) -> Page {
        self.submit(page, |fields| {
            fields.set("username", name);
            fields.set("password", super::PASSWORD);
        })
    }

    /// Allow what a page of approval asks, as it stands.
    pub fn allow(&mut self, page: &Page) -> Page {
        self.submit(page, |fields| fields.set("action", "allow"))
    }
}

/// The fields of a form.
#[derive(Debug, Clone, Default)]
pub struct Fields(pub Vec<(String, String)>);

impl Fields {
    /// Give a field this one value.
    pub fn set(&mut self, name: &str, value: &str) {
        self.0.retain(|(known, _)| known != name);
        self.0.push((name.to_owned(), value.to_owned()));
    }

    /// Take a ticked box away.
    pub fn untick(&mut self, name: &str, value: &str) {
        self.0.retain(|field| *field != (name.to_owned(), value.to_owned()));
    }

    /// Tick a box.
    pub fn tick(&mut self, name: &str, value: &str) {
        self.0.push((name.to_owned(), value.to_owned()));
    }
}

impl Page {
    /// A parameter of its address.
    pub fn query(&self, name: &str) -> Option<String> {
        self.url.query_pairs().find(|(known, _)| known == name).map(|(_, value)| value.into_owned())
    }

    /// A parameter that has to be there.
    pub fn must(&self, name: &str) -> String {
        self.query(name).unwrap_or_else(|| panic!("no `{name}` in {} ({}): {}", self.url, self.status, self.text))
    }

    /// Its path.
    pub fn path(&self) -> &str {
        self.url.path()
    }

    /// The form of its main part: where it goes, and its fields.
    pub fn form(&self) -> (String, Fields) {
        let main = self.text.split("<main").nth(1).unwrap_or_else(|| panic!("no page: {} {}", self.status, self.text));
        let form = main.split("<form").nth(1).unwrap_or_else(|| panic!("no form: {main}"));
        let form = form.split("</form>").next().unwrap();
        let action = attribute(form.split('>').next().unwrap(), "action").unwrap();
        let mut fields = Fields::default();
        for input in form.split("<input").skip(1).map(|rest| rest.split('>').next().unwrap()) {
            let kind = attribute(input, "type").unwrap_or_default();
            let ticked = input.contains(" checked");
            let Some(name) = attribute(input, "name") else { continue };
            if matches!(kind.as_str(), "checkbox" | "radio") && !ticked {
                continue;
            }
            fields.0.push((name, attribute(input, "value").unwrap_or_default()));
        }
        (action, fields)
    }

    /// All values of the boxes of a name, ticked or not, with their ids.
    pub fn boxes(&self, name: &str) -> Vec<String> {
        let inputs = self.text.split("<input").skip(1).map(|rest| rest.split('>').next().unwrap());
        let named = inputs.filter(|input| attribute(input, "name").as_deref() == Some(name));
        named.filter_map(|input| attribute(input, "value")).collect()
    }
}

fn attribute(tag: &str, name: &str) -> Option<String> {
    let rest = tag.split(&format!("{name}=\"")).nth(1)?;
    let value = rest.split('"').next()?;
    let plain = [("&quot;", "\""), ("&#x27;", "'"), ("&#x2f;", "/"), ("&lt;", "<"), ("&gt;", ">"), ("&amp;", "&")];
    Some(plain.iter().fold(value.to_owned(), |text, (coded, plain)| text.replace(coded, plain)))
}
