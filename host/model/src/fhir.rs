//! One FHIR interaction in normal form.

/// A configured FHIR base: what `request.url` is relative to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FhirBase {
    /// the name callers use, `default`
    pub name: String,
    /// absolute URL without a trailing slash
    pub url: String,
    /// FHIR version, `4.0.1`
    pub version: String,
}

/// An HTTP method a FHIR server acts on (FHIR R4, RESTful API, section 3.1.0).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// read and search
    Get,
    /// as GET, without the body of the answer
    Head,
    /// create, search by form, operations, bundles
    Post,
    /// update
    Put,
    /// patch
    Patch,
    /// delete
    Delete,
}

impl Method {
    /// The method as it stands on the request line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Head => "HEAD",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Patch => "PATCH",
            Self::Delete => "DELETE",
        }
    }
}

/// The FHIR interaction, by the codes of the `type-restful-interaction` and
/// `system-restful-interaction` value sets, plus `operation`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interaction {
    /// `GET [type]/[id]`
    Read,
    /// `GET [type]/[id]/_history/[version]`
    Vread,
    /// `GET [type]/[id]/_history`
    HistoryInstance,
    /// `GET [type]/_history`
    HistoryType,
    /// `GET _history`
    HistorySystem,
    /// search of one type, in whichever spelling
    SearchType,
    /// search over types
    SearchSystem,
    /// `POST [type]`
    Create,
    /// `PUT [type]/[id]` or `PUT [type]?…`
    Update,
    /// `PATCH`
    Patch,
    /// `DELETE`
    Delete,
    /// `$name`
    Operation,
    /// `POST [base]`, batch bundle
    Batch,
    /// `POST [base]`, transaction bundle
    Transaction,
    /// `GET metadata`
    Capabilities,
}

impl Interaction {
    /// A batch or a transaction, whose entries are requests of their own.
    pub fn is_bundle(self) -> bool {
        matches!(self, Self::Batch | Self::Transaction)
    }

    /// Every interaction.
    pub const ALL: [Self; 15] = [
        Self::Read,
        Self::Vread,
        Self::HistoryInstance,
        Self::HistoryType,
        Self::HistorySystem,
        Self::SearchType,
        Self::SearchSystem,
        Self::Create,
        Self::Update,
        Self::Patch,
        Self::Delete,
        Self::Operation,
        Self::Batch,
        Self::Transaction,
        Self::Capabilities,
    ];

    /// The interaction named by a code.
    pub fn from_code(code: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|interaction| interaction.code() == code)
    }

    /// The stable code, as in WIT, logs and fact templates.
    pub fn code(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Vread => "vread",
            Self::HistoryInstance => "history-instance",
            Self::HistoryType => "history-type",
            Self::HistorySystem => "history-system",
            Self::SearchType => "search-type",
            Self::SearchSystem => "search-system",
            Self::Create => "create",
            Self::Update => "update",
            Self::Patch => "patch",
            Self::Delete => "delete",
            Self::Operation => "operation",
            Self::Batch => "batch",
            Self::Transaction => "transaction",
            Self::Capabilities => "capabilities",
        }
    }
}

/// What `Prefer: return=` asks for (RFC 7240; FHIR R4, RESTful API, section 3.1.0.1.12).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ReturnPreference {
    /// the header is absent or says nothing about `return`
    #[default]
    Unspecified,
    /// `return=minimal`
    Minimal,
    /// `return=representation`
    Representation,
    /// `return=OperationOutcome`
    OperationOutcome,
}

impl ReturnPreference {
    /// The stable code, as in WIT and the decision record.
    pub fn code(self) -> &'static str {
        match self {
            Self::Unspecified => "unspecified",
            Self::Minimal => "minimal",
            Self::Representation => "representation",
            Self::OperationOutcome => "operation-outcome",
        }
    }
}

/// One search parameter or criterion.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parameter {
    /// name with its modifier
    pub name: String,
    /// value, percent-decoded once, search escapes untouched
    pub value: String,
}

/// A FHIR request in the one form the rest of the host knows. Only [`crate::parse`] makes one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FhirRequest {
    /// the method the FHIR server will act on
    pub method: Method,
    /// what is asked
    pub interaction: Interaction,
    /// resource type; empty at system level
    pub resource_type: String,
    /// logical id
    pub id: Option<String>,
    /// version id of a `vread`
    pub version: Option<String>,
    /// operation name without `$`
    pub operation: Option<String>,
    /// type and id in front of a compartment search
    pub compartment: Option<(String, String)>,
    /// query, form body and criteria: in order, repeats kept
    pub parameters: Vec<Parameter>,
    /// the target is found by criteria
    pub conditional: bool,
    /// it is known what the criteria find: `id`, or nothing
    pub resolved: bool,
    /// a read that wants no content where it has not changed: `If-None-Match`, `If-Modified-Since`
    pub revalidates: bool,
    /// what is sent asks about what is stored: a patch that tests
    pub reads_stored: bool,
    /// the `Prefer: return=` of a write
    pub prefer_return: ReturnPreference,
    /// resource sent, as the bytes received; of a patch, once it was applied, what comes of it: empty where nothing does
    pub body: Option<Vec<u8>>,
    /// the parameters came (also) as a form body: `POST …/_search`
    pub by_form: bool,
}

impl FhirRequest {
    /// An interaction with a type (empty at system level) or one resource of it, and nothing more: by `GET`,
    /// without parameters, body or preference.
    pub fn new(interaction: Interaction, resource_type: &str, id: Option<&str>) -> Self {
        Self {
            method: Method::Get,
            interaction,
            resource_type: resource_type.to_owned(),
            id: id.map(str::to_owned),
            version: None,
            operation: None,
            compartment: None,
            parameters: Vec::new(),
            conditional: false,
            resolved: false,
            revalidates: false,
            reads_stored: false,
            prefer_return: ReturnPreference::Unspecified,
            body: None,
            by_form: false,
        }
    }
}
