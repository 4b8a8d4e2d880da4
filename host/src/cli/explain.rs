//! A decision in words, for whoever has to understand or defend it: `chartgate decide --explain`.

use std::fmt::Write as _;

use chartgate_model::parse::RenderedRequest;
use chartgate_model::{Basis, DecisionRequest, FhirRequest, Interaction, Obligation, Subject, SubjectKind};

use crate::decide::{Answer, Verdict};
use crate::http::problem::Problem;
use crate::tokens::TokenError;

/// Width of the names on the left.
const LEFT: usize = 13;

/// One decision: who asked for what, what was decided and why, rule by rule.
pub(super) fn decision(request: &DecisionRequest, answer: &Answer) -> String {
    let mut page = Page::new(&headline(request, answer));
    let subject = &request.subject;
    page.row("who", &who(subject));
    page.row("app", if subject.client.is_empty() { "not named" } else { &subject.client });
    page.row("granted", if subject.scope.is_empty() { "nothing" } else { &subject.scope });
    if let Some(launch) = launch(subject) {
        page.row("launched in", &launch);
    }
    page.row("decision", &decided(answer));
    page.row("because", &format!("{} ({})", answer.text, answer.reason));
    page.rules(answer);
    if !answer.needs.is_empty() {
        page.row("missing", &answer.needs.join(", "));
    }
    page.duties(request, answer);
    page.row(
        "facts from",
        &if answer.fact_sources.is_empty() { "nowhere".into() } else { answer.fact_sources.join(", ") },
    );
    let release = &answer.release;
    page.row("release", &format!("{}@{}, {}", release.name, release.version, release.digest));
    page.0
}

/// A vouched token that is no good: no rule was walked.
pub(super) fn bad_token(error: &TokenError) -> String {
    let mut page = Page::new("DENY: the token is not valid");
    page.row("because", &format!("{error} ({})", error.code()));
    page.row("rules", "none was walked");
    page.0
}

/// A line that is no request.
pub(super) fn problem(number: usize, problem: &Problem) -> String {
    Page::new(&format!("ERROR: line {number} cannot be decided: {}", problem.detail)).0
}

fn headline(request: &DecisionRequest, answer: &Answer) -> String {
    let verdict = match &answer.verdict {
        Verdict::Permit(_) => "PERMIT",
        Verdict::Deny(_) => "DENY",
        Verdict::Indeterminate => "NO DECISION",
    };
    let what_if = if request.simulate { " (what-if)" } else { "" };
    let user = if request.subject.user.is_empty() { "a client without a user" } else { &request.subject.user };
    format!("{verdict}{what_if}: {user} asks {}", asks(&request.request))
}

fn who(subject: &Subject) -> String {
    let role = match subject.kind {
        SubjectKind::Patient => "a patient in their own right",
        SubjectKind::Proxy => "somebody who acts for patients",
        SubjectKind::Provider => "a provider",
        SubjectKind::System => return "a client without a user".into(),
    };
    format!("{}, {role}", subject.user)
}

fn launch(subject: &Subject) -> Option<String> {
    let patient = subject.patient.as_ref().map(|id| format!("Patient/{id}"));
    let encounter = subject.encounter.as_ref().map(|id| format!("Encounter/{id}"));
    let parts: Vec<String> = patient.into_iter().chain(encounter).collect();
    (!parts.is_empty()).then(|| parts.join(", "))
}

fn asks(request: &FhirRequest) -> String {
    use Interaction as I;
    let kind = if request.resource_type.is_empty() { "every type" } else { request.resource_type.as_str() };
    let target = request.id.as_ref().map_or_else(|| kind.to_owned(), |id| format!("{kind}/{id}"));
    let words = match request.interaction {
        I::Read => format!("to read {target}"),
        I::Vread => format!("to read version {} of {target}", request.version.as_deref().unwrap_or_default()),
        I::HistoryInstance | I::HistoryType | I::HistorySystem => format!("to read the history of {target}"),
        I::SearchType | I::SearchSystem => format!("to search {target}"),
        I::Create => format!("to create a new {target}"),
        I::Update => format!("to update {target}"),
        I::Patch => format!("to patch {target}"),
        I::Delete => format!("to delete {target}"),
        I::Operation => format!("for ${} on {target}", request.operation.as_deref().unwrap_or_default()),
        I::Batch | I::Transaction => format!("for a {}", request.interaction.code()),
        I::Capabilities => "for the capability statement".into(),
    };
    let within = request.compartment.as_ref().map(|(kind, id)| format!(" within {kind}/{id}")).unwrap_or_default();
    let by: Vec<String> = request.parameters.iter().map(|p| format!("{}={}", p.name, p.value)).collect();
    let by = if by.is_empty() { String::new() } else { format!(" by {}", by.join(" and ")) };
    format!("{words}{within}{by}")
}

fn decided(answer: &Answer) -> String {
    match &answer.verdict {
        Verdict::Permit(permit) => match permit.expires_at() {
            Some(end) => format!("permit, good until {}", end.to_rfc3339()),
            None => "permit, for this once".into(),
        },
        Verdict::Deny(Basis::Request) => "deny, on the request alone: answer 403".into(),
        Verdict::Deny(Basis::Content) => {
            "deny, on the record or whom it is about: answer 404, as if it were not there".into()
        }
        Verdict::Indeterminate => "none could be reached: answer 503".into(),
    }
}

fn duty(obligation: &Obligation, request: &DecisionRequest) -> String {
    let parameters = String::from_utf8_lossy(&obligation.parameters);
    let one = |RenderedRequest { method, url, body, if_none_exist }: RenderedRequest| {
        let form = body.map(|body| format!(" with {body}")).unwrap_or_default();
        let criteria = if_none_exist.map(|criteria| format!(" if none exists by {criteria}")).unwrap_or_default();
        format!("{method} {url}{form}{criteria}")
    };
    match (obligation.id.as_str(), obligation.requests(&request.request)) {
        (id, Some(requests)) => {
            let instead: Vec<String> = requests.into_iter().map(one).collect();
            format!("{id}: run {} instead", instead.join(" and "))
        }
        (id, _) if parameters == "{}" => id.to_owned(),
        (id, _) => format!("{id}: {parameters}"),
    }
}

/// What a rule of `smart-access` asks, for readers who do not know its name. Rules of other policies
/// speak for themselves.
fn question(rule: &str) -> &'static str {
    match rule {
        "settings" => "are the settings of the release sound? ",
        "fhir-version" => "is the FHIR version known? ",
        "subject" => "does the user fit the role? ",
        "resource-type" => "is the resource type known? ",
        "interaction" => "is this interaction ruled? ",
        "own-user-record" => "is it the record that stands for the user? ",
        "scope" => "does a granted scope cover it? ",
        "writes" => "may apps write at all? ",
        "context" => "does the token speak of what is asked? ",
        "class" => "what kind of data is it? ",
        "launch-patient" => "does the launch patient allow it? ",
        "client" => "may the app act for this role? ",
        "user" => "may the user act in this role? ",
        "fact-age" => "is what is known fresh enough? ",
        "merge" => "which chart is the patient's now? ",
        "own-chart" => "is it not the provider's own chart? ",
        "relationship" => "may the user reach the patient? ",
        "condition" => "is what the relationship rests on so? ",
        "delegation" => "does the delegator have access? ",
        "age" => "does the patient's age allow it? ",
        "test-data" => "do test data stay with test users? ",
        "chart" => "is the chart open to apps? ",
        "restriction" => "is the user on the chart's list? ",
        "level" => "does the level of access reach the type? ",
        "labels" => "does no security label hide it? ",
        "content" => "is the stored resource at hand? ",
        "compartment" => "whose record is it? ",
        "exclusive" => "does it name nobody out of reach? ",
        "granular" => "does it meet the conditions of the scope? ",
        "body" => "is the resource sent the one named? ",
        "search-parameters" => "do the parameters stay within reach? ",
        "includes" => "what may come along? ",
        "join" => "may what it looks at be searched for? ",
        "reference" => "is it plain what it refers to? ",
        "protected" => "does it leave what rules go by? ",
        "narrowing" => "which search stays within reach? ",
        "if-match" => "which version was judged? ",
        "return-minimal" => "may the answer carry the resource? ",
        _ => "",
    }
}

/// Names on the left, words on the right.
struct Page(String);

impl Page {
    fn new(headline: &str) -> Self {
        Self(format!("{}\n", plain(headline)))
    }

    fn row(&mut self, name: &str, words: &str) {
        // Writing to a string does not fail.
        let _ = writeln!(self.0, "  {name:LEFT$}{}", plain(words));
    }

    /// Each rule as the policy walked it: `pass`, `fail`, or `need` where it asked for more.
    fn rules(&mut self, answer: &Answer) {
        if answer.trace.is_empty() {
            self.row("rules", "none was walked");
        }
        let longest = answer.trace.iter().map(|step| step.rule.len()).max().unwrap_or_default();
        for (at, step) in answer.trace.iter().enumerate() {
            let (outcome, rule, asked) = (step.outcome.code(), &step.rule, question(&step.rule));
            let words = format!("{outcome:5} {rule:longest$}  {asked}{}", step.detail);
            self.row(if at == 0 { "rules" } else { "" }, &words);
        }
    }

    fn duties(&mut self, request: &DecisionRequest, answer: &Answer) {
        let Verdict::Permit(permit) = &answer.verdict else { return };
        if permit.obligations().is_empty() {
            self.row("obligations", "none");
        }
        for (at, obligation) in permit.obligations().iter().enumerate() {
            self.row(if at == 0 { "obligations" } else { "" }, &duty(obligation, request));
        }
    }
}

/// SECURITY: names and values come from whoever wrote the request. A control character among them
/// could rewrite what stands on the reader's terminal.
fn plain(text: &str) -> String {
    let escaped = |c: char| if c.is_control() { c.escape_default().to_string() } else { c.to_string() };
    text.chars().map(escaped).collect::<String>().trim_end().to_owned()
}
