//! Every reason there is, in one list: its stable code, its sentence, and what a denial turns on.

/// On what a denial turns, and so what the client may be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Basis {
    /// only on the request and the token's scopes: answered 403
    Request,
    /// on content or people: answered as if the resource did not exist
    Content,
}

macro_rules! reasons {
    ($( $(#[$doc:meta])* $name:ident $code:literal $effect:tt $text:literal; )*) => {
        /// Why a decision came out as it did.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Reason { $( #[doc = $text] $name, )* }

        impl Reason {
            /// Every reason.
            pub const ALL: &'static [Self] = &[ $( Self::$name, )* ];

            /// The stable code, the same in WIT, JSON, log and documentation.
            pub fn code(self) -> &'static str {
                match self { $( Self::$name => $code, )* }
            }

            /// The reason as one sentence, for logs and never for the app.
            pub fn text(self) -> &'static str {
                match self { $( Self::$name => $text, )* }
            }

            /// What a denial turns on; a permit has none.
            pub fn basis(self) -> Option<Basis> {
                match self { $( Self::$name => reasons!(@ $effect), )* }
            }
        }
    };
    (@ permit) => { None };
    (@ request) => { Some(Basis::Request) };
    (@ content) => { Some(Basis::Content) };
}

// INVARIANT: denials are ordered from shallow to deep. When several scope clauses fail, the deepest
// failure is the one reported, so the order is part of what a decision says.
reasons! {
    Public "public" permit "the capability statement is public";
    SelfAccess "self" permit "the chart is the user's own";
    Parent "relationship-parent" permit "the user holds a live relationship of a parent to a minor";
    Caregiver "relationship-caregiver" permit "the user holds a live caregiver relationship";
    Guardian "relationship-guardian" permit "the user holds a live guardian relationship";
    Agency "relationship-agency" permit "the user acts for a live agency relationship";
    HealthCareAgent "relationship-health-care-agent" permit "the user is the patient's health-care agent";
    Executor "relationship-executor" permit "the user is the executor of a patient who died";
    Treatment "relationship-treatment" permit "the user holds a live treatment relationship";
    Encounter "relationship-encounter" permit "the user takes part in an encounter of the patient in its window";
    CareTeam "relationship-care-team" permit "the user is on a live care team of the patient";
    PrimaryCare "relationship-primary-care" permit "the user is the patient's primary care provider";
    Appointment "relationship-appointment" permit "the user has an appointment with the patient in its window";
    Department "relationship-department" permit "the user's department has the patient in its care";
    Coverage "relationship-coverage" permit "the user covers for somebody who treats the patient";
    Delegation "relationship-delegation" permit "the user works for somebody who treats the patient";
    PermittedPatients "permitted-patients" permit "the search reaches only patients the user may reach";
    SharedDirectory "shared-directory" permit "the type is shared directory data";
    Definitional "definitional" permit "the type is conformance or terminology data";
    SystemClient "system-client" permit "the client's own scopes reach it, without a user";
    Granted "granted" permit "the scopes can be granted";
    PatientNotChosen "patient-not-chosen" permit "a patient has to be chosen first";
    OwnUserRecord "own-user-record" permit "the resource is the one that stands for the user";

    RequestMalformed "request-malformed" request "the request lacks a member its interaction needs";
    SettingsInvalid "settings-invalid" request "the settings of the release cannot be read";
    FhirVersionUnsupported "fhir-version-unsupported" request "there are no tables for this FHIR version";
    ResourceTypeUnknown "resource-type-unknown" request "this FHIR version has no such resource type";
    SubjectInvalid "subject-invalid" request "the user's resource type does not fit the role";
    SystemNotEnabled "system-not-enabled" request "clients without a user are not enabled";
    InteractionUnsupported "interaction-unsupported" request "this interaction is not decided by this policy";
    OperationUnsupported "operation-unsupported" request "this operation is not decided by this policy";
    WritesDisabled "writes-disabled" request "the settings of the release allow no writes";
    ScopeInsufficient "scope-insufficient" request "no granted scope covers this type and interaction";
    NothingGranted "nothing-granted" request "none of the scopes asked for can be granted";
    ContextMismatch "context-mismatch" request "the scope's context does not fit who asks";
    TypeNotRuled "type-not-ruled" request "no rule says whose data this type is";
    TypeNotWritable "type-not-writable" request "apps may not write this type";
    SearchParameterRefused "search-parameter-refused" request "a search parameter could reach beyond the type or is not known";
    CriteriaMissing "criteria-missing" request "a provider's search of patients has to say whom it looks for";
    ConditionalUnsupported "conditional-unsupported" request "the target of a conditional write is not known";
    CompartmentUnsupported "compartment-unsupported" request "only the patient compartment can be searched";
    ReferenceUnresolved "reference-unresolved" request "a reference by criteria is not judged: it tells who exists";
    LaunchPatientMissing "launch-patient-missing" request "a patient scope needs a launch patient";
    LaunchPatientInvalid "launch-patient-invalid" request "the launch patient is not a bare id";
    ObligationNotSupported "obligation-not-supported" request "the permit needs an obligation the caller did not declare";
    SearchNotNarrowable "search-not-narrowable" request "the search cannot be narrowed in one request and counts would leak";

    ClientUnknown "client-unknown" content "nothing is known of the client";
    ClientNotActive "client-not-active" content "the client is suspended or revoked";
    ClientNotLicensed "client-not-licensed" content "the client's licence has not started or has ended";
    ClientKindMismatch "client-kind-mismatch" content "the client does not serve users in this role";
    UserUnknown "user-unknown" content "nothing is known of the user";
    UserNotActive "user-not-active" content "the user's account or employment is not active";
    UserRoleMismatch "user-role-mismatch" content "the user does not hold the role of the request";
    FactsInvalid "facts-invalid" content "the facts about people cannot be read";
    FactMissing "fact-missing" content "a fact the rules need was not supplied";
    FactStale "fact-stale" content "a fact the rules need is too old";
    ContentMissing "content-missing" content "the stored resource was not supplied";
    ContentAbsent "content-absent" content "there is no such resource";
    ContentMalformed "content-malformed" content "the resource cannot be read without doubt";
    BodyMismatch "body-mismatch" content "the resource sent is not the one the request names";
    PatchInapplicable "patch-inapplicable" content "the patch cannot be applied to what is stored";
    NotInCompartment "not-in-compartment" content "the resource names no patient that confers access";
    PatientUnknown "patient-unknown" content "nothing is known of the patient";
    MergeUnresolved "merge-unresolved" content "it cannot be told which chart the patient's was merged into";
    ChartMerged "chart-merged" content "the user's chart was merged into one they are not linked to";
    NoRelationship "no-relationship" content "the user holds no relationship to the patient";
    NoPatientInReach "no-patient-in-reach" content "the user reaches no patient now";
    RelationshipKindMismatch "relationship-kind-mismatch" content "the relationship's kind does not fit the user's role";
    RelationshipLevelUnsupported "relationship-level-unsupported" content "the relationship's level is not decided by this policy";
    RelationshipNotStarted "relationship-not-started" content "the relationship has not started";
    RelationshipEnded "relationship-ended" content "the relationship has ended";
    RelationshipRevoked "relationship-revoked" content "the relationship was revoked";
    RelationshipSuspended "relationship-suspended" content "a relationship to the patient is suspended";
    RelationshipReadOnly "relationship-read-only" content "the relationship allows no writes";
    ConditionNotMet "condition-not-met" content "what the relationship rests on is not documented";
    DelegatorWithoutAccess "delegator-without-access" content "the user the delegation is from has no access";
    BirthDateUnknown "birth-date-unknown" content "the relationship turns on an age that is not known";
    PatientOfAge "patient-of-age" content "the patient is of age, which ends a parent's access";
    PatientEmancipated "patient-emancipated" content "the patient is emancipated, which ends a parent's access";
    OwnChart "own-chart" content "a provider's own chart is not opened in that role";
    TestMismatch "test-mismatch" content "test data and real users do not meet";
    PatientInactive "patient-inactive" content "the chart is not in use";
    AppAccessBlocked "app-access-blocked" content "apps of patients are blocked for this chart";
    PatientDeceased "patient-deceased" content "the patient has died";
    PatientTooYoung "patient-too-young" content "the patient is too young for access of their own";
    ChartRestricted "chart-restricted" content "the chart is restricted to others";
    TypeNotInLevel "type-not-in-level" content "limited access does not reach this type";
    TypeExcluded "type-excluded" content "the relationship excludes this type";
    NotLaunchPatient "not-launch-patient" content "a patient scope reaches the launch patient only";
    OtherPatient "other-patient" content "the resource names a patient out of reach";
    GranularMismatch "granular-mismatch" content "the resource does not match the granular scope";
    LabelHidden "label-hidden" content "a security label hides the resource";
    FactsProtected "facts-protected" content "apps may not change what says who may see a record";
    TooManyPatients "too-many-patients" content "the search would have to name too many patients";
}

#[cfg(test)]
mod tests {
    use super::Reason;

    #[test]
    fn codes_are_kebab_case_and_unique() {
        let mut codes: alloc::vec::Vec<&str> = Reason::ALL.iter().map(|reason| reason.code()).collect();
        for code in &codes {
            assert!(code.bytes().all(|b| b.is_ascii_lowercase() || b == b'-'), "{code}");
        }
        let all = codes.len();
        codes.sort_unstable();
        codes.dedup();
        assert_eq!(codes.len(), all);
    }
}
