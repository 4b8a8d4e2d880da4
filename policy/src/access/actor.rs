//! Who asks, beyond the token: the user's account and the app's licence.

use alloc::borrow::Cow;
use alloc::vec::Vec;

use crate::access::record::{Readings, flag, instant, records, required, texts};
use crate::json::{Json, Malformed, Value};
use crate::reason::Reason;
use crate::types::SubjectKind;

/// What one source knows of a user or a client.
#[derive(Debug, Clone)]
struct Record<'a> {
    /// it says which charts are theirs, and nothing of whether they are there
    is_aside: bool,
    active: bool,
    start_ms: Option<u64>,
    end_ms: Option<u64>,
    test: bool,
    as_of_ms: Option<u64>,
    /// roles of a user, or the one kind of a client; absent where it is not said
    roles: Option<Vec<Cow<'a, str>>>,
    /// patient ids of a user; absent where it is not said
    charts: Option<Vec<Cow<'a, str>>>,
}

/// What is known of a user or a client, by all sources.
#[derive(Debug, Clone)]
pub(crate) struct Actor<'a> {
    records: Vec<Record<'a>>,
}

/// Why an actor of a sort is refused.
pub(crate) struct Refusals {
    pub(crate) not_active: Reason,
    pub(crate) out_of_period: Reason,
    pub(crate) wrong_role: Reason,
}

/// Those of a user: an account that has ended is one that is not active.
pub(crate) const USER: Refusals = Refusals {
    not_active: Reason::UserNotActive,
    out_of_period: Reason::UserNotActive,
    wrong_role: Reason::UserRoleMismatch,
};
/// Those of a client: its period is that of its licence.
pub(crate) const CLIENT: Refusals = Refusals {
    not_active: Reason::ClientNotActive,
    out_of_period: Reason::ClientNotLicensed,
    wrong_role: Reason::ClientKindMismatch,
};

impl<'a> Actor<'a> {
    /// Nobody knows of them.
    pub(crate) const UNKNOWN: Self = Self { records: Vec::new() };

    /// Read a fact about a user or a client.
    pub(crate) fn parse(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let json = Json::parse(bytes)?;
        let records = records(json.root())?.map(record).collect::<Result<_, _>>()?;
        Ok(Self { records })
    }

    pub(crate) fn is_unknown(&self) -> bool {
        self.records.iter().all(|record| record.is_aside)
    }

    pub(crate) fn read(&self) -> Readings {
        self.records.iter().filter_map(|record| record.as_of_ms).collect()
    }

    /// Whether they may act in a role now by every record, and until when.
    pub(crate) fn acts(&self, role: &str, now_ms: u64, refusals: &Refusals) -> Result<Option<u64>, Reason> {
        for record in self.records.iter().filter(|record| !record.is_aside) {
            if !record.active {
                return Err(refusals.not_active);
            }
            let started = record.start_ms.is_none_or(|start| start <= now_ms);
            if !started || record.end_ms.is_some_and(|end| end <= now_ms) {
                return Err(refusals.out_of_period);
            }
            if record.roles.as_ref().is_some_and(|roles| roles.iter().all(|known| known != role)) {
                return Err(refusals.wrong_role);
            }
        }
        Ok(self.records.iter().filter_map(|record| record.end_ms).min())
    }

    /// Whether they are made up for tests; `None` where nothing is known.
    pub(crate) fn is_test(&self) -> Option<bool> {
        (!self.is_unknown()).then(|| self.records.iter().any(|record| record.test))
    }

    /// Whether any record says that this patient is the user.
    pub(crate) fn may_be(&self, patient: &str) -> bool {
        self.records.iter().any(|record| record.is(patient))
    }

    /// Whether every record that speaks of charts says so, and there is one.
    pub(crate) fn is_surely(&self, patient: &str) -> bool {
        let mut speak = self.records.iter().filter(|record| record.charts.is_some()).peekable();
        speak.peek().is_some() && speak.all(|record| record.is(patient))
    }

    /// Patients that are the user, by any record.
    pub(crate) fn charts(&self) -> impl Iterator<Item = &str> {
        self.records.iter().flat_map(|record| record.charts.iter().flatten()).map(|id| &**id)
    }
}

impl Record<'_> {
    fn is(&self, patient: &str) -> bool {
        self.charts.iter().flatten().any(|known| known == patient)
    }
}

fn record<'a>(value: Value<'_, 'a>) -> Result<Record<'a>, Malformed> {
    let (active, is_aside) = match &*required(value, "status")? {
        "active" => (true, false),
        "suspended" | "inactive" | "revoked" => (false, false),
        "unknown" => (false, true),
        _ => return Err(Malformed),
    };
    let kind = value.get_string("kind")?.map(|kind| Vec::from([kind]));
    Ok(Record {
        is_aside,
        active,
        start_ms: instant(value, "start_ms")?,
        end_ms: instant(value, "end_ms")?,
        test: flag(value, "test")?.unwrap_or(false),
        as_of_ms: instant(value, "as_of_ms")?,
        roles: texts(value, "roles")?.or(kind),
        charts: texts(value, "charts")?,
    })
}

/// The kind of app that serves a role: those of patients serve their proxies too.
pub(crate) fn kind_of_client(kind: SubjectKind) -> &'static str {
    match kind {
        SubjectKind::Patient | SubjectKind::Proxy => "patient",
        SubjectKind::Provider => "provider",
        SubjectKind::System => "system",
    }
}
