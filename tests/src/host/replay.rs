//! Deciding a record again: from its own bytes and its release alone.

use chartgate_model::{
    DecisionRequest, Fact, FhirBase, FhirRequest, Interaction, Method, Millis, Parameter, PolicyInput, ReleasePin,
    ReturnPreference, Stored, Subject, SubjectKind,
};
use chartgate_runtime::release::Registry;
use chartgate_runtime::{CallError, Called, PolicyLimits};
use serde_json::Value;

/// The last policy call of a recorded decision, rebuilt.
#[derive(Debug)]
pub struct Replay {
    request: DecisionRequest,
    facts: Vec<Fact>,
    is_final: bool,
    release: String,
    limits: PolicyLimits,
}

impl Replay {
    /// Read a decision record. Every member of its input is used.
    pub fn of(record: &Value) -> Self {
        let input = &record["input"];
        let facts =
            list(&input["facts"]).iter().map(|fact| Fact { key: text(&fact["key"]), value: raw(&fact["value"]) });
        let request = DecisionRequest {
            tenant: text(&record["tenant"]),
            base: FhirBase { name: String::new(), url: text(&input["base"]), version: text(&input["fhir_version"]) },
            request: fhir(input),
            subject: subject(&input["subject"]),
            stored: list(&input["stored"])
                .iter()
                .map(|stored| Stored { key: text(&stored["key"]), content: optional_raw(&stored["content"]) })
                .collect(),
            relationships: Vec::new(),
            records: Vec::new(),
            obligations: list(&input["obligations"]).iter().map(text).collect(),
            pin: None,
            explain: input["explain"].as_bool().unwrap(),
            now: Millis(input["now_ms"].as_u64().unwrap()),
            simulate: false,
            break_glass: Vec::new(),
        };
        let (facts, release) = (facts.collect(), &record["release"]);
        let limit = |name: &str| release[name].as_u64().unwrap();
        let limits = PolicyLimits {
            fuel: limit("fuel_limit"),
            memory_bytes: usize::try_from(limit("memory_limit_bytes")).unwrap(),
        };
        let is_final = input["facts_final"].as_bool().unwrap();
        Self { request, facts, is_final, release: text(&release["digest"]), limits }
    }

    /// Decide it by the release and within the limits it names.
    pub fn run(&self, releases: &Registry) -> Result<Called, CallError> {
        let release = releases.get(&ReleasePin::Digest(self.release.clone())).unwrap();
        let input = PolicyInput {
            decision: &self.request,
            stored: &self.request.stored,
            facts: &self.facts,
            facts_final: self.is_final,
            settings: &release.settings,
        };
        if self.limits == release.policy.limits {
            return release.policy.decide(&input);
        }
        let component = std::fs::read(release.folder.join(chartgate_runtime::release::COMPONENT_FILE)).unwrap();
        let policy = chartgate_runtime::admission::admit(super::releases::runtime(), &component, self.limits).unwrap();
        policy.decide(&input)
    }
}

fn fhir(input: &Value) -> FhirRequest {
    let compartment = &input["compartment"];
    FhirRequest {
        // Neither of these two reaches the policy.
        method: Method::Get,
        by_form: false,
        interaction: interaction(&text(&input["interaction"])),
        resource_type: text(&input["resource_type"]),
        id: optional(&input["id"]),
        version: optional(&input["version"]),
        operation: optional(&input["operation"]),
        compartment: (!compartment.is_null()).then(|| (text(&compartment["resource_type"]), text(&compartment["id"]))),
        parameters: list(&input["parameters"])
            .iter()
            .map(|pair| Parameter { name: text(&pair[0]), value: text(&pair[1]) })
            .collect(),
        conditional: input["conditional"].as_bool().unwrap(),
        resolved: input["resolved"].as_bool().unwrap(),
        revalidates: false,
        reads_stored: input["reads_stored"].as_bool().unwrap(),
        prefer_return: preference(&text(&input["prefer_return"])),
        body: optional_raw(&input["body"]),
    }
}

fn subject(subject: &Value) -> Subject {
    Subject {
        kind: SubjectKind::from_code(&text(&subject["kind"])).unwrap(),
        user: text(&subject["user"]),
        client: text(&subject["client"]),
        scope: text(&subject["scope"]),
        patient: optional(&subject["patient"]),
        encounter: optional(&subject["encounter"]),
        expires: None,
    }
}

fn interaction(code: &str) -> Interaction {
    use Interaction::{
        Batch, Capabilities, Create, Delete, HistoryInstance, HistorySystem, HistoryType, Operation, Patch, Read,
        SearchSystem, SearchType, Transaction, Update, Vread,
    };
    let all = [
        Read,
        Vread,
        HistoryInstance,
        HistoryType,
        HistorySystem,
        SearchType,
        SearchSystem,
        Create,
        Update,
        Patch,
        Delete,
        Operation,
        Batch,
        Transaction,
        Capabilities,
    ];
    all.into_iter().find(|interaction| interaction.code() == code).unwrap()
}

fn preference(code: &str) -> ReturnPreference {
    use ReturnPreference::{Minimal, OperationOutcome, Representation, Unspecified};
    let all = [Unspecified, Minimal, Representation, OperationOutcome];
    all.into_iter().find(|preference| preference.code() == code).unwrap()
}

fn list(value: &Value) -> &[Value] {
    value.as_array().unwrap()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text")).to_owned()
}

fn optional(value: &Value) -> Option<String> {
    (!value.is_null()).then(|| text(value))
}

fn raw(value: &Value) -> Vec<u8> {
    text(value).into_bytes()
}

fn optional_raw(value: &Value) -> Option<Vec<u8>> {
    optional(value).map(String::into_bytes)
}
