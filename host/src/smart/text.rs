//! The pages: templates, and the words in them, which stand in a catalogue of their own for each language.

use std::collections::BTreeMap;
use std::sync::Arc;

use minijinja::value::Kwargs;
use minijinja::{Environment, Error, ErrorKind};
use serde_json::Value;

/// The one catalogue there is yet.
const ENGLISH: &str = include_str!("pages/en.toml");
/// The one stylesheet.
pub(crate) const STYLE: &str = include_str!("pages/style.css");

/// A page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Page {
    /// sign in
    Login,
    /// show a code
    Enrol,
    /// make an account
    EnrolAccount,
    /// as whom, for whom
    Choose,
    /// what an app may have
    Approve,
    /// what apps have
    Apps,
    /// something went wrong, or is done
    Message,
    /// where somebody who is signed in can go
    Home,
    /// what a demo offers
    Demo,
    /// what its app got
    DemoApp,
}

const TEMPLATES: [(&str, &str); 14] = [
    ("_error.html", include_str!("pages/_error.html")),
    ("_hidden.html", include_str!("pages/_hidden.html")),
    ("_items.html", include_str!("pages/_items.html")),
    ("base.html", include_str!("pages/base.html")),
    ("login.html", include_str!("pages/login.html")),
    ("enrol.html", include_str!("pages/enrol.html")),
    ("enrol_account.html", include_str!("pages/enrol_account.html")),
    ("choose.html", include_str!("pages/choose.html")),
    ("approve.html", include_str!("pages/approve.html")),
    ("apps.html", include_str!("pages/apps.html")),
    ("message.html", include_str!("pages/message.html")),
    ("home.html", include_str!("pages/home.html")),
    ("demo.html", include_str!("pages/demo.html")),
    ("demo_app.html", include_str!("pages/demo_app.html")),
];

impl Page {
    fn template(self) -> &'static str {
        match self {
            Self::Login => "login.html",
            Self::Enrol => "enrol.html",
            Self::EnrolAccount => "enrol_account.html",
            Self::Choose => "choose.html",
            Self::Approve => "approve.html",
            Self::Apps => "apps.html",
            Self::Message => "message.html",
            Self::Home => "home.html",
            Self::Demo => "demo.html",
            Self::DemoApp => "demo_app.html",
        }
    }
}

/// The pages cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum TextError {
    /// a template
    #[error("a template cannot be used")]
    Template(#[from] Error),
    /// the catalogue
    #[error("the catalogue of texts cannot be read: {0}")]
    Catalogue(String),
}

/// Renders pages.
pub(super) struct Texts {
    environment: Environment<'static>,
    catalogue: Arc<BTreeMap<String, String>>,
}

impl Texts {
    pub(super) fn new() -> Result<Self, TextError> {
        let catalogue = Arc::new(catalogue(ENGLISH)?);
        let mut environment = Environment::new();
        let known = Arc::clone(&catalogue);
        environment.add_function("t", move |key: &str, named: Kwargs| -> Result<String, Error> {
            let text = known.get(key);
            let text = text.ok_or_else(|| Error::new(ErrorKind::InvalidOperation, format!("no text `{key}`")))?;
            let mut words = text.clone();
            for name in named.args() {
                let value: minijinja::Value = named.get(name)?;
                words = words.replace(&format!("{{{name}}}"), &value.to_string());
            }
            Ok(words)
        });
        for (name, source) in TEMPLATES {
            environment.add_template(name, source)?;
        }
        Ok(Self { environment, catalogue })
    }

    /// A page in words and pictures.
    pub(super) fn render(&self, page: Page, context: &Value) -> Result<String, TextError> {
        Ok(self
            .environment
            .get_template(page.template())?
            .render(minijinja::Value::from(minijinja::value::Serde(context)))?)
    }

    /// One text, if the catalogue has it.
    pub(super) fn find(&self, key: &str) -> Option<&str> {
        self.catalogue.get(key).map(String::as_str)
    }

    /// One text, or its key.
    pub(super) fn get<'a>(&'a self, key: &'a str) -> &'a str {
        self.find(key).unwrap_or(key)
    }
}

/// `[login] title = "…"` is `login.title`.
fn catalogue(text: &str) -> Result<BTreeMap<String, String>, TextError> {
    let table: toml::Table = text.parse().map_err(|error: toml::de::Error| TextError::Catalogue(error.to_string()))?;
    let mut flat = BTreeMap::new();
    flatten("", &table, &mut flat)?;
    Ok(flat)
}

fn flatten(prefix: &str, table: &toml::Table, flat: &mut BTreeMap<String, String>) -> Result<(), TextError> {
    for (name, value) in table {
        let key = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
        match value {
            toml::Value::String(text) => drop(flat.insert(key, text.clone())),
            toml::Value::Table(inner) => flatten(&key, inner, flat)?,
            _ => return Err(TextError::Catalogue(format!("`{key}` is no text"))),
        }
    }
    Ok(())
}
