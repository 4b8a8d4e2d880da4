//! What the pages show.

use chartgate_model::Millis;
use serde_json::{Value, json};

use super::account::Kind;
use super::authorize::{ApprovalBody, CHOICES_MAX, GrantBody, unlisted_value};
use super::consent::{self, About, Item, Part};
use super::error::{AuthorizeError, OAuthError};
use super::flow::{Chosen, Flow};
use super::scopes;
use super::text::{Page, STYLE, TextError};
use super::{Server, Visit};
use crate::store::StoreError;
use crate::store::oauth::{ApprovalRow, GrantRow, SessionRow};

impl Server {
    /// The stylesheet of the pages.
    pub fn style(&self) -> &'static str {
        STYLE
    }

    /// Render a page for a browser: `more` is what the page is about.
    pub fn page(
        &self,
        page: Page,
        session: Option<&SessionRow>,
        flow: Option<&str>,
        more: Value,
    ) -> Result<String, TextError> {
        let account = session.and_then(|session| session.account.as_ref());
        let label = account.map(|(name, _)| match self.account(name) {
            Ok(Some(account)) => account.label,
            _ => name.clone(),
        });
        let mut context = json!({
            "lang": "en",
            "theme": {
                "name": if self.settings.theme.name.is_empty() { self.texts.get("base.place") } else { &self.settings.theme.name },
                "logo": self.settings.theme.logo,
                "stylesheet": self.settings.theme.stylesheet,
            },
            "csrf": session.map(|session| &session.csrf),
            "flow": flow,
            "account": label,
        });
        if let (Some(context), Value::Object(more)) = (context.as_object_mut(), more) {
            context.extend(more);
        }
        self.texts.render(page, &context)
    }

    /// What the login page shows.
    pub fn login_view(&self, visit: &Visit, error: Option<&str>, username: &str) -> Result<Value, AuthorizeError> {
        if visit.flow.is_empty() {
            return Ok(json!({ "client": Value::Null, "error": error, "username": username }));
        }
        let (_, flow) = self.flow(visit)?;
        let asked = flow.asked();
        let hint = asked.request.login_hint.as_deref().unwrap_or_default();
        let username = if username.is_empty() { hint } else { username };
        Ok(json!({ "client": self.client_view(&asked.request.client)?, "error": error, "username": username }))
    }

    /// What the page of choices shows.
    pub async fn choose_view(&self, visit: &Visit, error: Option<&str>) -> Result<Value, AuthorizeError> {
        let (_, flow) = self.flow(visit)?;
        let signed_in = flow.choosing().ok_or(AuthorizeError::NoFlow)?;
        let choices = self.choices(&signed_in).await.map_err(|_| AuthorizeError::Failed)?;
        let mut options = Vec::new();
        for choice in choices.listed.iter().take(CHOICES_MAX) {
            let own =
                choice.identity.own_patient().is_some() && choice.identity.own_patient() == choice.patient.as_deref();
            let label = match &choice.patient {
                Some(patient) => self.patient_label(patient)?,
                None => self.texts.get("choose.nobody").to_owned(),
            };
            let detail = match (own, choice.identity.kind, &choice.patient) {
                (true, ..) => self.texts.get("choose.self").to_owned(),
                (_, _, None) => self.texts.get("choose.nobody_detail").to_owned(),
                (_, Kind::Proxy, _) => self.texts.get("choose.proxy").to_owned(),
                _ => self.role(choice.identity.kind),
            };
            options.push(json!({ "value": choice.value(), "label": label, "detail": detail }));
        }
        for identity in &choices.unlisted {
            let label = self.texts.get("choose.named");
            let detail = self.texts.get("choose.named_detail");
            let value = unlisted_value(identity);
            options
                .push(json!({ "value": value, "label": label, "detail": detail, "named": true, "as": identity.user }));
        }
        let client = self.client_view(&signed_in.asked.request.client)?;
        Ok(json!({ "client": client, "options": options, "more": !choices.unlisted.is_empty(), "error": error }))
    }

    /// What the page of approval shows; `None` when nothing can be granted any more.
    pub async fn approve_view(&self, visit: &Visit) -> Result<Option<Value>, AuthorizeError> {
        let (_, flow) = self.flow(visit)?;
        let Flow::Approve(chosen) = flow else { return Err(AuthorizeError::NoFlow) };
        let Some(granted) = self.look(&chosen).await? else { return Ok(None) };
        let choices = self.choices(&chosen.signed_in).await.map_err(|_| AuthorizeError::Failed)?;
        let patient = granted.patient().map(|id| self.patient_label(id)).transpose()?;
        let items = consent::items(granted.scope());
        let (offline, others): (Vec<&Item>, Vec<&Item>) = items.iter().partition(|item| item.about == About::Offline);
        let site = chosen.signed_in.asked.request.redirect_uri.clone();
        let site = url::Url::parse(&site).ok().and_then(|url| url.host_str().map(str::to_owned)).unwrap_or(site);
        let mut client = self.client_view(&chosen.signed_in.asked.request.client)?;
        if let Some(members) = client.as_object_mut() {
            members.insert("site".into(), json!(site));
        }
        Ok(Some(json!({
            "client": client,
            "page": Self::page_of(&granted),
            "person": self.role(chosen.identity.kind),
            "patient": patient.as_ref().map(|label| json!({ "label": label, "is_self": is_own(&chosen) })),
            "items": others.iter().map(|item| self.item_view(item, patient.as_deref())).collect::<Vec<_>>(),
            "offline": offline.iter().map(|item| self.item_view(item, None)).collect::<Vec<_>>(),
            "choices": choices.listed.len() + choices.unlisted.len() > 1,
        })))
    }

    fn item_view(&self, item: &Item, patient: Option<&str>) -> Value {
        let (title, consequence, writes, everything) = match &item.about {
            About::Records { resource_type, letters, everybody, filter } => {
                let title = match filter {
                    Some(filter) => self.filter_title(resource_type, filter),
                    None => self.type_title(resource_type),
                };
                let whose = match (everybody, patient) {
                    (false, Some(patient)) => self.texts.get("context.patient").replace("{patient}", patient),
                    _ => self.texts.get("context.user").to_owned(),
                };
                (
                    format!("{title} {whose}"),
                    self.texts.find(&format!("letters.{letters}")).unwrap_or_default().to_owned(),
                    letters.contains(['c', 'u', 'd']),
                    resource_type == "*",
                )
            }
            About::Identity | About::Offline => {
                let name = item.text.split('/').next().unwrap_or_default();
                self.named_view(name, &item.text)
            }
            About::Other => self.named_view("other", &item.text),
        };
        let of_types = item.parts.iter().any(|part| part.id.ends_with(".Patient"));
        let part = |part: &Part| {
            let resource_type = scopes::ResourceScope::parse(&item.text).map_or("", |scope| scope.resource_type);
            let title = if of_types { self.type_title(&part.name) } else { self.part_title(resource_type, &part.name) };
            json!({ "id": part.id, "title": title, "checked": false })
        };
        json!({
            "id": item.id,
            "title": title,
            "consequence": consequence,
            "writes": writes,
            "everything": everything,
            "fixed": item.is_fixed(),
            "checked": true,
            "parts": item.parts.iter().map(part).collect::<Vec<_>>(),
            "parts_of": if item.parts.is_empty() { Value::Null } else if of_types { json!("types") } else { json!("categories") },
            "text": item.text,
        })
    }

    /// Something that is no record: what it is, and what comes of it.
    fn named_view(&self, name: &str, text: &str) -> (String, String, bool, bool) {
        let known = self.texts.find(&format!("identity.{name}")).map_or("other", |_| name);
        let about = self.texts.find(&format!("identity.{known}_about")).unwrap_or_default().replace("{text}", text);
        (self.texts.find(&format!("identity.{known}")).unwrap_or_default().to_owned(), about, false, false)
    }

    fn type_title(&self, resource_type: &str) -> String {
        if resource_type == "*" {
            return self.texts.get("type.everything").to_owned();
        }
        match self.texts.find(&format!("type.{resource_type}")) {
            Some(title) => title.to_owned(),
            None => self.texts.get("type.other").replace("{type}", resource_type),
        }
    }

    /// A part of a type by its name, where the filter is that of a category and of nothing else; any other by what it
    /// says.
    fn filter_title(&self, resource_type: &str, filter: &str) -> String {
        let category = scopes::categories(resource_type).iter().find(|(_, known)| *known == filter);
        match category {
            Some((name, _)) => self.part_title(resource_type, name),
            None => self
                .texts
                .get("type.filtered")
                .replace("{type}", &self.type_title(resource_type))
                .replace("{filter}", filter),
        }
    }

    fn part_title(&self, resource_type: &str, category: &str) -> String {
        match self.texts.find(&format!("category.{category}")) {
            Some(title) => title.to_owned(),
            None => format!("{}: {category}", self.type_title(resource_type)),
        }
    }

    fn role(&self, kind: Kind) -> String {
        let key = match kind {
            Kind::Patient => "role.patient",
            Kind::Proxy => "role.proxy",
            Kind::Provider => "role.provider",
        };
        self.texts.get(key).to_owned()
    }

    fn client_view(&self, id: &str) -> Result<Value, StoreError> {
        let client = self.client(id)?;
        Ok(match client {
            Some(client) => json!({
                "id": client.id, "name": client.name, "kind": client.kind, "site": "",
                "policy_uri": client.policy_uri, "tos_uri": Value::Null,
            }),
            None => json!({
                "id": id, "name": id, "kind": "patient", "site": "", "policy_uri": Value::Null, "tos_uri": Value::Null,
            }),
        })
    }

    /// What people call a patient: by the directory, or by the id of the chart.
    pub(super) fn patient_label(&self, id: &str) -> Result<String, StoreError> {
        let label = self.store.label(&self.settings.tenant, id)?;
        Ok(label.unwrap_or_else(|| format!("{} {id}", self.texts.get("choose.patient"))))
    }

    /// The apps of the one who is signed in, and those that others let into their chart.
    pub fn apps_view(&self, session: &SessionRow, notice: Option<&str>) -> Result<Value, OAuthError> {
        let mut grants = Vec::new();
        for row in self.approvals_of(session)? {
            let body: ApprovalBody = serde_json::from_str(&row.body)?;
            let held = self.store.grants_by(&row.id)?;
            let last = held.iter().map(|grant| grant.used).max();
            let patient = match row.patient.as_str() {
                "" => None,
                id => Some(self.patient_label(id)?),
            };
            // Each time it was approved it may have been for something else, and all of it is held.
            let mut scope: Vec<String> = scopes::tokens(&body.scope).into_iter().map(str::to_owned).collect();
            for grant in &held {
                let granted: GrantBody = serde_json::from_str(&grant.body)?;
                for token in scopes::tokens(&granted.scope) {
                    if scope.iter().all(|known| known != token) {
                        scope.push(token.to_owned());
                    }
                }
            }
            let scope = scope.join(" ");
            let items = consent::items(&scope);
            let told = |item: &Item| {
                let view = self.item_view(item, patient.as_deref());
                let text = |name: &str| view.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
                format!("{}: {}", text("title"), text("consequence")).trim_end_matches([':', ' ']).to_owned()
            };
            let records = items.iter().filter(|item| !item.is_fixed() && item.about != About::Offline).map(told);
            let name = self.client(&row.client)?.map_or(row.client.clone(), |client| client.name);
            grants.push(json!({
                "id": row.id,
                "app": name,
                "patient_label": patient,
                "acts_as": self.role(body.identity.kind),
                "since": day(row.approved),
                "last_used": last.map(day),
                "until": held.iter().map(|grant: &GrantRow| grant.expires).max().map(day),
                "items": records.collect::<Vec<_>>(),
                "offline": scopes::has(&scope, "offline_access"),
                "ends": may_end(session, &row, &body),
            }));
        }
        Ok(json!({ "grants": grants, "notice": notice }))
    }

    /// Take an approval back: one's own, or one for one's own chart. Whether there was one.
    pub fn withdraw(&self, session: &SessionRow, approval: &str) -> Result<bool, OAuthError> {
        let found = self.approvals_of(session)?.into_iter().find(|row| row.id == approval);
        let Some(row) = found else { return Ok(false) };
        let body: ApprovalBody = serde_json::from_str(&row.body)?;
        let may = may_end(session, &row, &body);
        Ok(may && self.store.withdraw(&self.settings.tenant, approval, self.now())?)
    }

    fn approvals_of(&self, session: &SessionRow) -> Result<Vec<ApprovalRow>, StoreError> {
        let Some((name, _)) = &session.account else { return Ok(Vec::new()) };
        let account = self.account(name)?;
        let own: Vec<&str> =
            account.iter().flat_map(|account| &account.identities).filter_map(|i| i.own_patient()).collect();
        self.store.approvals(&self.settings.tenant, name, &own)
    }
}

/// Whether somebody may take an approval back: their own, and one by which somebody else acts for them. What a clinician
/// uses is seen where it is used on one's chart, and is not one's own to end: other patients' charts hang on it.
fn may_end(session: &SessionRow, row: &ApprovalRow, body: &ApprovalBody) -> bool {
    let is_own = session.account.as_ref().is_some_and(|(name, _)| *name == row.account);
    is_own || body.identity.kind != Kind::Provider
}

fn is_own(chosen: &Chosen) -> bool {
    chosen.identity.own_patient().is_some() && chosen.identity.own_patient() == chosen.patient.as_deref()
}

/// A day, as people write it down.
fn day(time: Millis) -> String {
    time.to_string().chars().take(10).collect()
}
