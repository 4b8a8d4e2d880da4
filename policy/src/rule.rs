//! The rules by name: for the trace, and for the test that every one of them is needed.

use alloc::string::String;
use alloc::vec::Vec;

use crate::reason::Reason;
use crate::types::{TraceOutcome, TraceStep};

macro_rules! rules {
    ($( $name:ident $code:literal; )*) => {
        /// A rule of the walk.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[allow(missing_docs, reason = "each is documented in the file named after it, see the crate's map")]
        pub enum Rule { $( $name, )* }

        impl Rule {
            /// Every rule.
            pub const ALL: &'static [Self] = &[ $( Self::$name, )* ];

            /// The name in traces and vectors.
            pub fn name(self) -> &'static str {
                match self { $( Self::$name => $code, )* }
            }
        }
    };
}

rules! {
    Settings "settings";
    FhirVersion "fhir-version";
    Subject "subject";
    ResourceType "resource-type";
    Interaction "interaction";
    OwnUserRecord "own-user-record";
    Scope "scope";
    Context "context";
    Writes "writes";
    Class "class";
    Client "client";
    User "user";
    LaunchPatient "launch-patient";
    FactAge "fact-age";
    Merge "merge";
    OwnChart "own-chart";
    Relationship "relationship";
    Condition "condition";
    Delegation "delegation";
    Age "age";
    TestData "test-data";
    Chart "chart";
    Restriction "restriction";
    Level "level";
    Labels "labels";
    Content "content";
    Compartment "compartment";
    Exclusive "exclusive";
    Granular "granular";
    Body "body";
    SearchParameters "search-parameters";
    Includes "includes";
    Join "join";
    Criteria "criteria";
    Narrowing "narrowing";
    Reference "reference";
    Protected "protected";
    IfMatch "if-match";
    ReturnMinimal "return-minimal";
}

impl Rule {
    /// Always true in a release.
    #[cfg(not(feature = "rule-switches"))]
    pub(crate) fn enforced(self) -> bool {
        true
    }

    /// True unless a test has switched this rule off.
    #[cfg(feature = "rule-switches")]
    pub(crate) fn enforced(self) -> bool {
        SWITCHED_OFF.get() != Some(self)
    }

    /// Refuse for a reason, unless a test has switched the rule off.
    pub(crate) fn refuse(self, reason: Reason) -> Result<(), Reason> {
        if self.enforced() { Err(reason) } else { Ok(()) }
    }
}

#[cfg(feature = "rule-switches")]
std::thread_local! {
    static SWITCHED_OFF: core::cell::Cell<Option<Rule>> = const { core::cell::Cell::new(None) };
}

/// Run with one rule switched off, on this thread.
#[cfg(feature = "rule-switches")]
pub fn without<T>(rule: Rule, run: impl FnOnce() -> T) -> T {
    SWITCHED_OFF.set(Some(rule));
    let result = run();
    SWITCHED_OFF.set(None);
    result
}

/// The explanation of one decision; nothing is kept unless it was asked for.
pub(crate) struct Trace {
    wanted: bool,
    steps: Vec<TraceStep>,
}

impl Trace {
    /// Steps kept at the most: a decision over many clauses must stay bounded.
    const STEPS_MAX: usize = 200;
    /// Bytes of a detail that are kept: what is longer is not read to its end by anybody.
    const DETAIL_MAX: usize = 900;

    pub(crate) fn new(wanted: bool) -> Self {
        Self { wanted, steps: Vec::new() }
    }

    pub(crate) fn into_steps(self) -> Vec<TraceStep> {
        self.steps
    }

    pub(crate) fn pass(&mut self, rule: Rule, detail: impl FnOnce() -> String) {
        self.step(rule, TraceOutcome::Pass, detail);
    }

    pub(crate) fn fail(&mut self, rule: Rule, detail: impl FnOnce() -> String) {
        self.step(rule, TraceOutcome::Fail, detail);
    }

    pub(crate) fn need(&mut self, rule: Rule, detail: impl FnOnce() -> String) {
        self.step(rule, TraceOutcome::Need, detail);
    }

    fn step(&mut self, rule: Rule, outcome: TraceOutcome, detail: impl FnOnce() -> String) {
        if self.wanted && self.steps.len() < Self::STEPS_MAX {
            let detail = clipped(detail());
            self.steps.push(TraceStep { rule: rule.name(), outcome, detail });
        }
    }
}
/// As much of a detail as is kept.
fn clipped(mut detail: String) -> String {
    if detail.len() > Trace::DETAIL_MAX {
        let end = (0..=Trace::DETAIL_MAX).rev().find(|end| detail.is_char_boundary(*end)).unwrap_or(0);
        detail.truncate(end);
        detail.push_str("...");
    }
    detail
}
