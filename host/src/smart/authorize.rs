//! From a request to a code: each step the flow takes, and who has to do something before the next.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chartgate_model::{GrantRequest, Millis};
use serde::{Deserialize, Serialize};

use super::account::{Account, Identity};
use super::client::Client;
use super::error::{AuthorizeError, ErrorCode};
use super::flow::{Asked, Chosen, Flow, SignedIn};
use super::form::Form;
use super::keyring::KeyError;
use super::launch::LaunchContext;
use super::request::{self, Return};
use super::secret::{Secret, digest};
use super::settings::{CODE_MS, FLOW_MS};
use super::{Server, consent, scopes};
use crate::grant::{GrantAnswer, Granted, Stage};
use crate::store::StoreError;
use crate::store::oauth::{ApprovalRow, FlowRow, GrantRow, NewGrant, SessionRow};

/// A flow that nobody has claimed yet.
const UNCLAIMED: [u8; 32] = [0; 32];
/// The longest list of charts to choose from that is shown.
pub(super) const CHOICES_MAX: usize = 100;

/// Before what stands in a form for somebody who names a patient.
pub const UNLISTED: &str = "named ";

/// Who comes with a request: a browser with its session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Visit {
    /// the flow, as its pages name it
    pub flow: String,
    /// the browser's session
    pub session: SessionRow,
}

/// Where the browser goes next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// to a page, by its path: `login`, `choose`, `approve`
    Page(&'static str),
    /// back to the app
    Back(String),
}

/// A request that was taken up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Started {
    /// the flow, as its pages name it
    pub flow: Secret,
}

/// One way to go on: as whom, for whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Choice {
    pub(super) identity: Identity,
    pub(super) patient: Option<String>,
}

impl Choice {
    /// What stands for it in a form: itself, and not its place in a list that may be another one by then.
    pub(super) fn value(&self) -> String {
        format!("{} {}", value(&self.identity), self.patient.as_deref().unwrap_or_default()).trim_end().to_owned()
    }
}

/// What stands in a form for somebody who reaches more patients than can be listed.
pub(super) fn unlisted_value(identity: &Identity) -> String {
    format!("{UNLISTED}{}", value(identity))
}

fn value(identity: &Identity) -> String {
    format!("{} {}", chartgate_model::SubjectKind::from(identity.kind).code(), identity.user)
}

/// All ways to go on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Choices {
    pub(super) listed: Vec<Choice>,
    /// identities who reach more patients than can be listed: one has to be named
    pub(super) unlisted: Vec<Identity>,
    /// why there is none
    refused: Option<String>,
}

/// What a grant is remembered with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct GrantBody {
    pub(super) identity: Identity,
    pub(super) scope: String,
    pub(super) patient: Option<String>,
    /// of a launch
    pub(super) launch: Option<LaunchContext>,
    pub(super) nonce: Option<String>,
    /// when the user signed in, milliseconds since 1970
    pub(super) auth_ms: u64,
    /// digest of the release that granted
    pub(super) release: String,
    /// the decision
    pub(super) decision: String,
    /// from it and a refresh token the next one follows
    pub(super) seed: String,
}

/// What a code is bound to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct CodeBody {
    pub(super) redirect_uri: String,
    pub(super) challenge: String,
}

/// What an approval is remembered with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ApprovalBody {
    pub(super) identity: Identity,
    pub(super) scope: String,
}

impl Server {
    /// Take up a request. `session` is the browser's; without one, whoever comes first with the flow claims it.
    pub fn start_flow(&self, query: &[u8], session: Option<&SessionRow>) -> Result<Started, AuthorizeError> {
        let form = Form::parse(query, &request::PARAMETERS).map_err(|e| AuthorizeError::Unreadable(e.to_string()))?;
        let client = form.get("client_id").map(|id| self.client(id)).transpose()?.flatten();
        let client = client.ok_or(AuthorizeError::Client)?;
        let to = request::return_to(&form, &client)?;
        let back = |(code, text): (ErrorCode, &str)| AuthorizeError::Back(to.clone(), code, text.to_owned());
        let mut request = request::read(&form, &client, &self.settings, &to).map_err(back)?;
        let launch = match &request.launch {
            Some(launch) => {
                let text = "`launch` is unknown, used, too old or not of this app";
                Some(self.spend_launch(launch, &client)?.ok_or_else(|| back((ErrorCode::InvalidRequest, text)))?)
            }
            None => None,
        };
        // Some apps ask for the context of a launch when there is none: they get none, and are told by `scope`.
        if launch.is_none() {
            request.scope = scopes::without(&request.scope, "launch");
        }
        let flow = Flow::SignIn(Asked { request, launch, at_ms: self.now().0 });
        let secret = Secret::draw(&self.edge)?;
        let row = FlowRow {
            id: secret.digest(),
            session: session.map_or(UNCLAIMED, |session| session.id),
            body: serde_json::to_string(&flow)?,
            expires: self.now().plus_ms(FLOW_MS),
        };
        self.store.begin_flow(&row)?;
        Ok(Started { flow: secret })
    }

    fn spend_launch(&self, launch: &str, client: &Client) -> Result<Option<LaunchContext>, AuthorizeError> {
        let body = self.store.spend_launch(&self.settings.tenant, &digest(launch), &client.id, self.now())?;
        Ok(body.map(|body| serde_json::from_str(&body)).transpose()?)
    }

    /// Let a browser claim a flow that came without its cookie.
    pub fn claim_flow(&self, visit: &Visit) -> Result<(), AuthorizeError> {
        let row = self.store.flow(&digest(&visit.flow), &UNCLAIMED, self.now())?.ok_or(AuthorizeError::NoFlow)?;
        match self.store.claim_flow(&row.id, &UNCLAIMED, &visit.session.id)? {
            true => Ok(()),
            false => Err(AuthorizeError::NoFlow),
        }
    }

    /// The flow of a browser.
    ///
    /// SECURITY: it goes on only for the account it began with. Who signed in as somebody else since begins again, and
    /// sees nothing of what the first could choose from.
    pub(super) fn flow(&self, visit: &Visit) -> Result<(FlowRow, Flow), AuthorizeError> {
        let row = self.store.flow(&digest(&visit.flow), &visit.session.id, self.now())?;
        let row = row.ok_or(AuthorizeError::NoFlow)?;
        let flow: Flow = serde_json::from_str(&row.body)?;
        let signed_in = visit.session.account.as_ref().map(|(name, _)| name.as_str());
        let same = flow.account().is_none_or(|account| Some(account) == signed_in);
        Ok((row, if same { flow } else { flow.again() }))
    }

    /// Go as far as can be gone without asking anybody.
    pub async fn advance(&self, visit: &Visit) -> Result<Next, AuthorizeError> {
        loop {
            let (row, flow) = self.flow(visit)?;
            let signed_in = visit.session.account.as_ref();
            let asked = flow.asked().clone();
            let asks = |code, text: &str| self.end(&row, &asked, code, text);
            let next = match flow {
                Flow::SignIn(asked) => {
                    let now = self.now();
                    let signed_in = signed_in.and_then(|(account, auth)| asked.signed_in(account, *auth, now));
                    match signed_in {
                        Some(signed_in) if self.is_expected(&signed_in)? => Flow::Choose(signed_in),
                        // Somebody signed in for this, and is not who was meant: that is an answer.
                        Some(signed_in) if asked.was_made_for(Millis(signed_in.auth_ms)) => Flow::Choose(signed_in),
                        _ if asked.request.prompt.none => {
                            return asks(ErrorCode::LoginRequired, "whom this is for is not signed in");
                        }
                        Some(_) => return Ok(Next::Page("login")),
                        None => return Ok(Next::Page("login")),
                    }
                }
                Flow::Choose(signed_in) => {
                    let choices = self.choices(&signed_in).await.map_err(|code| self.failed(&asked, code))?;
                    let plain = !asked.request.prompt.select && choices.unlisted.is_empty();
                    match choices.listed.as_slice() {
                        // Somebody else may be able to, who is asked to sign in; unless this is who signed in for it.
                        [] if choices.unlisted.is_empty() && !asked.was_made_for(Millis(signed_in.auth_ms)) => {
                            if asked.request.prompt.none {
                                return asks(ErrorCode::LoginRequired, "whom this is for is not signed in");
                            }
                            self.store.advance_flow(&row, &serde_json::to_string(&Flow::SignIn(asked.clone()))?)?;
                            return Ok(Next::Page("login"));
                        }
                        [] if choices.unlisted.is_empty() => {
                            let reason = choices.refused.unwrap_or_default();
                            tracing::info!(client = %asked.request.client, %reason, "nothing can be granted");
                            return asks(ErrorCode::AccessDenied, "this app cannot be used with this account");
                        }
                        [only] if plain => Flow::Approve(signed_in.chosen(only.identity.clone(), only.patient.clone())),
                        _ if asked.request.prompt.none => {
                            return asks(ErrorCode::InteractionRequired, "somebody has to choose a patient");
                        }
                        _ => return Ok(Next::Page("choose")),
                    }
                }
                Flow::Approve(chosen) => match self.remembered(&chosen).await? {
                    Some(scope) => return self.finish(&row, chosen, &scope, &visit.session).await,
                    None if asked.request.prompt.none => {
                        return asks(ErrorCode::ConsentRequired, "this is not approved yet");
                    }
                    None => return Ok(Next::Page("approve")),
                },
            };
            if !self.store.advance_flow(&row, &serde_json::to_string(&next)?)? {
                return Err(AuthorizeError::NoFlow);
            }
        }
    }

    /// The account of a name, if it is open.
    pub(super) fn account(&self, name: &str) -> Result<Option<Account>, StoreError> {
        let row = self.store.account(&self.settings.tenant, name)?;
        let unreadable = |_| StoreError::Unreadable { column: "accounts.body" };
        let account = row.map(|row| serde_json::from_str::<Account>(&row.body).map_err(unreadable)).transpose()?;
        Ok(account.filter(|account| !account.closed))
    }

    /// As whom and for whom this could go on, by the policy and the facts of now.
    pub(super) async fn choices(&self, signed_in: &SignedIn) -> Result<Choices, ErrorCode> {
        let failed = |_| ErrorCode::ServerError;
        let asked = &signed_in.asked;
        let client = self.client(&asked.request.client).map_err(failed)?.ok_or(ErrorCode::UnauthorizedClient)?;
        let account = self.account(&signed_in.account).map_err(failed)?.ok_or(ErrorCode::AccessDenied)?;
        let mut choices = Choices::default();
        let serves = |identity: &&Identity| client.kind.serves(identity.kind.into());
        for identity in
            self.identities(signed_in, &account).map_err(|_| ErrorCode::ServerError)?.into_iter().filter(serves)
        {
            let patient = asked.launch.as_ref().and_then(|launch| launch.patient.clone());
            let request = self.grant_request(&asked.request.client, identity, &asked.request.scope, patient);
            match self.ask(Stage::Look, &request).await {
                GrantAnswer::Granted(granted) => choices
                    .listed
                    .push(Choice { identity: identity.clone(), patient: granted.patient().map(str::to_owned) }),
                GrantAnswer::Choose { patients, more } => {
                    let choice = |patient| Choice { identity: identity.clone(), patient: Some(patient) };
                    choices.listed.extend(patients.into_iter().take(CHOICES_MAX).map(choice));
                    choices.unlisted.extend(more.then(|| identity.clone()));
                }
                GrantAnswer::Refused { reason } => choices.refused = Some(reason),
                GrantAnswer::Indeterminate { .. } => return Err(ErrorCode::TemporarilyUnavailable),
            }
        }
        Ok(choices)
    }

    /// Whether somebody signed in who is meant: by the app, or by the record system that opened it.
    fn is_expected(&self, signed_in: &SignedIn) -> Result<bool, AuthorizeError> {
        let asked = &signed_in.asked;
        if asked.launch.is_none() && asked.request.id_token_hint.is_none() {
            return Ok(true);
        }
        let account = self.account(&signed_in.account)?;
        Ok(account.map(|account| self.identities(signed_in, &account).map(|all| !all.is_empty())).transpose()?
            == Some(true))
    }

    /// The identities of an account that are meant.
    fn identities<'a>(&self, signed_in: &SignedIn, account: &'a Account) -> Result<Vec<&'a Identity>, KeyError> {
        let request = &signed_in.asked.request;
        let hint = request.id_token_hint.as_ref();
        let hinted = hint.map(|token| self.keyring.signed(&self.store, token)).transpose()?.flatten();
        let named = hinted.as_ref().and_then(|claims| claims.get("sub")?.as_str());
        let meant = |identity: &&Identity| match (named, hint) {
            (Some(named), _) => named == self.subject(&signed_in.account, &identity.user),
            // Of a token that none of the keys signed that are still known, nobody can tell whose it is: without
            // asking nobody is taken for them, and by asking anybody may be.
            (None, Some(_)) => !request.prompt.none,
            (None, None) => true,
        };
        Ok(signed_in.identities(account).filter(meant).collect())
    }

    /// Take up a choice: one of those listed, or a patient named by somebody who reaches too many to list.
    pub async fn choose(&self, visit: &Visit, choice: &str, named: Option<&str>) -> Result<bool, AuthorizeError> {
        let (row, flow) = self.flow(visit)?;
        let Some(signed_in) = flow.choosing() else { return Ok(true) };
        let asked = signed_in.asked.clone();
        let choices = self.choices(&signed_in).await.map_err(|code| self.failed(&asked, code))?;
        let found = match choice.strip_prefix(UNLISTED) {
            Some(_) => {
                let identity = choices.unlisted.iter().find(|identity| unlisted_value(identity) == choice).cloned();
                let named = named.map(str::trim).filter(|id| super::launch::is_id(id));
                identity.zip(named).map(|(identity, id)| Choice { identity, patient: Some(id.to_owned()) })
            }
            None => choices.listed.iter().find(|listed| listed.value() == choice).cloned(),
        };
        let Some(Choice { identity, patient }) = found else { return Ok(false) };
        let request = self.grant_request(&asked.request.client, &identity, &asked.request.scope, patient.clone());
        match self.ask(Stage::Look, &request).await {
            GrantAnswer::Granted(_) => {}
            GrantAnswer::Refused { .. } | GrantAnswer::Choose { .. } => return Ok(false),
            GrantAnswer::Indeterminate { .. } => return Err(self.failed(&asked, ErrorCode::TemporarilyUnavailable)),
        }
        let next = serde_json::to_string(&Flow::Approve(signed_in.chosen(identity, patient)))?;
        self.store.advance_flow(&row, &next)?;
        Ok(true)
    }

    /// What stands for what can be granted on the page of approval: boxes are numbered by it.
    pub(super) fn page_of(granted: &Granted) -> String {
        URL_SAFE_NO_PAD.encode(digest(granted.scope()))
    }

    /// What was approved before, if it covers all that is asked now.
    async fn remembered(&self, chosen: &Chosen) -> Result<Option<String>, AuthorizeError> {
        let Chosen { signed_in, identity, patient } = chosen;
        let asked = &signed_in.asked;
        let client = self.client(&asked.request.client)?.ok_or(AuthorizeError::Client)?;
        if asked.request.prompt.consent || !client.may_be_remembered(&asked.request.redirect_uri) {
            return Ok(None);
        }
        let (tenant, patient_key) = (&self.settings.tenant, patient.as_deref().unwrap_or_default());
        let found = self.store.approval(tenant, &signed_in.account, &client.id, &identity.user, patient_key)?;
        let Some(approval) = found else { return Ok(None) };
        let body: ApprovalBody = serde_json::from_str(&approval.body)?;
        let look = self.look(chosen).await?;
        let Some(granted) = look else { return Ok(None) };
        Ok(scopes::is_within(granted.scope(), &body.scope).then(|| granted.scope().to_owned()))
    }

    /// What could be granted now, to be shown; `None` when nothing can.
    pub(super) async fn look(&self, chosen: &Chosen) -> Result<Option<Granted>, AuthorizeError> {
        let request = self.request_of(chosen, &chosen.signed_in.asked.request.scope);
        match self.ask(Stage::Look, &request).await {
            GrantAnswer::Granted(granted) => Ok(Some(granted)),
            GrantAnswer::Refused { .. } | GrantAnswer::Choose { .. } => Ok(None),
            GrantAnswer::Indeterminate { .. } => {
                Err(self.failed(&chosen.signed_in.asked, ErrorCode::TemporarilyUnavailable))
            }
        }
    }

    /// Take up an approval, or a refusal. `ticked` and `parts` are the boxes of `page`.
    pub async fn approve(
        &self,
        visit: &Visit,
        allow: bool,
        page: &str,
        ticked: &[String],
        parts: &[String],
    ) -> Result<Next, AuthorizeError> {
        let (row, flow) = self.flow(visit)?;
        let Flow::Approve(chosen) = flow else { return self.advance(visit).await };
        let asked = chosen.signed_in.asked.clone();
        if !allow {
            return self.end(&row, &asked, ErrorCode::AccessDenied, "the user did not approve");
        }
        let Some(granted) = self.look(&chosen).await? else {
            return self.end(&row, &asked, ErrorCode::AccessDenied, "nothing of this can be had any more");
        };
        // SECURITY: what can be granted has changed since the page was shown, so its boxes mean something else now.
        if page != Self::page_of(&granted) {
            return Ok(Next::Page("approve"));
        }
        let items = consent::items(granted.scope());
        let scope = consent::approved(&items, ticked, parts);
        let was_anything = consent::is_anything(granted.scope());
        if scope.is_empty() || (was_anything && !consent::is_anything(&scope)) {
            return self.end(&row, &asked, ErrorCode::AccessDenied, "the user approved nothing of this");
        }
        self.finish(&row, chosen, &scope, &visit.session).await
    }

    /// Grant, and send the browser back with a code.
    async fn finish(
        &self,
        row: &FlowRow,
        chosen: Chosen,
        scope: &str,
        session: &SessionRow,
    ) -> Result<Next, AuthorizeError> {
        let asked = chosen.signed_in.asked.clone();
        let granted = match self.ask(Stage::Approval, &self.request_of(&chosen, scope)).await {
            GrantAnswer::Granted(granted) => granted,
            GrantAnswer::Refused { .. } | GrantAnswer::Choose { .. } => {
                return self.end(row, &asked, ErrorCode::AccessDenied, "this cannot be granted");
            }
            GrantAnswer::Indeterminate { .. } => return Err(self.failed(&asked, ErrorCode::TemporarilyUnavailable)),
        };
        let code = Secret::draw(&self.edge)?;
        let new = self.new_grant(&chosen, &granted, &code, session)?;
        if !self.store.finish_flow(&self.settings.tenant, row, &new)? {
            return Err(AuthorizeError::NoFlow);
        }
        Ok(Next::Back(self.back(&asked, &[("code", code.text())])))
    }

    fn new_grant(
        &self,
        chosen: &Chosen,
        granted: &Granted,
        code: &Secret,
        session: &SessionRow,
    ) -> Result<NewGrant, AuthorizeError> {
        let (now, request) = (self.now(), &chosen.signed_in.asked.request);
        let identity = chosen.identity.clone();
        let body = GrantBody {
            identity: identity.clone(),
            scope: granted.scope().to_owned(),
            patient: granted.patient().map(str::to_owned),
            launch: chosen.signed_in.asked.launch.clone(),
            nonce: request.nonce.clone(),
            auth_ms: chosen.signed_in.auth_ms,
            release: granted.release().to_owned(),
            decision: granted.id().to_owned(),
            seed: Secret::draw(&self.edge)?.text().to_owned(),
        };
        // Offline access outlives the session, online access ends with it, and without either nothing is left when
        // the access token ends.
        let online = scopes::has(granted.scope(), "online_access") && !scopes::has(granted.scope(), "offline_access");
        let grant = GrantRow {
            id: (self.edge.new_id)(),
            approval: String::new(),
            account: chosen.signed_in.account.clone(),
            client: request.client.clone(),
            user: identity.user.clone(),
            session: online.then_some(session.id),
            body: serde_json::to_string(&body)?,
            created: now,
            used: now,
            expires: now.plus_ms(CODE_MS),
            revoked: None,
        };
        let approval = ApprovalRow {
            id: (self.edge.new_id)(),
            account: chosen.signed_in.account.clone(),
            client: request.client.clone(),
            user: identity.user.clone(),
            patient: granted.patient().unwrap_or_default().to_owned(),
            body: serde_json::to_string(&ApprovalBody { identity, scope: granted.scope().to_owned() })?,
            approved: now,
        };
        let bound = CodeBody { redirect_uri: request.redirect_uri.clone(), challenge: request.challenge.clone() };
        Ok(NewGrant {
            approval,
            grant,
            code: code.digest(),
            code_body: serde_json::to_string(&bound)?,
            code_expires: now.plus_ms(CODE_MS),
        })
    }

    fn request_of(&self, chosen: &Chosen, scope: &str) -> GrantRequest {
        let client = &chosen.signed_in.asked.request.client;
        self.grant_request(client, &chosen.identity, scope, chosen.patient.clone())
    }

    pub(super) fn grant_request(
        &self,
        client: &str,
        identity: &Identity,
        scope: &str,
        patient: Option<String>,
    ) -> GrantRequest {
        GrantRequest {
            tenant: self.settings.tenant.clone(),
            base: self.settings.base.clone(),
            kind: identity.kind.into(),
            user: identity.user.clone(),
            client: client.to_owned(),
            scope: scope.to_owned(),
            patient,
            explain: false,
            now: self.now(),
        }
    }

    pub(super) async fn ask(&self, stage: Stage, request: &GrantRequest) -> GrantAnswer {
        self.decider.grant((self.edge.new_id)(), stage, request).await
    }

    /// End a flow with an error the app hears of.
    fn end(&self, row: &FlowRow, asked: &Asked, code: ErrorCode, text: &str) -> Result<Next, AuthorizeError> {
        self.store.end_flow(row)?;
        Ok(Next::Back(self.back_with_error(&to(asked), code, text)))
    }

    fn failed(&self, asked: &Asked, code: ErrorCode) -> AuthorizeError {
        AuthorizeError::Back(to(asked), code, "no decision could be reached".into())
    }

    /// The address an error goes to.
    pub fn back_with_error(&self, to: &Return, code: ErrorCode, text: &str) -> String {
        let mut pairs = vec![("error", code.code()), ("error_description", text)];
        pairs.extend(to.state.as_deref().map(|state| ("state", state)));
        pairs.push(("iss", &self.settings.issuer));
        with_query(&to.redirect_uri, &pairs)
    }

    /// The address a code goes to (RFC 6749, section 4.1.2; `iss` by RFC 9207).
    fn back(&self, asked: &Asked, pairs: &[(&str, &str)]) -> String {
        let mut pairs = pairs.to_vec();
        pairs.push(("state", &asked.request.state));
        pairs.push(("iss", &self.settings.issuer));
        with_query(&asked.request.redirect_uri, &pairs)
    }
}

fn to(asked: &Asked) -> Return {
    Return { redirect_uri: asked.request.redirect_uri.clone(), state: Some(asked.request.state.clone()) }
}

/// An address with more in its query: what was there stays as it was.
pub(super) fn with_query(address: &str, pairs: &[(&str, &str)]) -> String {
    let query = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish();
    let join = if !address.contains('?') {
        "?"
    } else if address.ends_with(['?', '&']) {
        ""
    } else {
        "&"
    };
    format!("{address}{join}{query}")
}

#[cfg(test)]
mod tests {
    use super::with_query;

    #[test]
    fn an_address_keeps_its_own_query() {
        for (address, expected) in [
            ("https://app.example/cb", "https://app.example/cb?code=a+b%26c"),
            ("https://app.example/cb?x=1", "https://app.example/cb?x=1&code=a+b%26c"),
            ("https://app.example/cb?", "https://app.example/cb?code=a+b%26c"),
            ("com.example.app:/cb", "com.example.app:/cb?code=a+b%26c"),
        ] {
            assert_eq!(with_query(address, &[("code", "a b&c")]), expected);
        }
    }
}
