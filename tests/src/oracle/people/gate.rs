//! Whether the client and the user may act at all.

use chartgate_model::{Millis, Record, RecordClass, SubjectKind};
use serde_json::Value;

use super::records::instant;
use super::{People, earlier, strings};

impl People<'_> {
    /// `None` where client or user may not act; else when the first of them may no longer.
    pub fn gate(&self) -> Option<Option<Millis>> {
        let client = self.client()?;
        if self.subject.kind == SubjectKind::System {
            return Some(client);
        }
        let required = match self.subject.kind {
            SubjectKind::Provider => self.on("require_provider_records", true),
            _ => self.on("require_portal_user_records", false),
        };
        let user = self.acting(&self.subject.user, self.subject.kind.code())?;
        let known = !self.of(RecordClass::User, &self.subject.user).is_empty();
        (known || !required).then_some(earlier(client, user))
    }

    fn client(&self) -> Option<Option<Millis>> {
        let records = self.of(RecordClass::Client, &self.subject.client);
        if records.is_empty() && self.on("require_client_records", false) {
            return None;
        }
        let serves = |record: &&Record| match record.members.get("kind").and_then(Value::as_str) {
            None => true,
            Some("patient") => matches!(self.subject.kind, SubjectKind::Patient | SubjectKind::Proxy),
            Some(kind) => kind == self.subject.kind.code(),
        };
        if records.iter().all(serves) { self.all_active(&records) } else { None }
    }

    /// Whether every record of a user says they may act in a role now; with the first end.
    pub(super) fn acting(&self, user: &str, role: &str) -> Option<Option<Millis>> {
        let records = self.of(RecordClass::User, user);
        let plays = |record: &&Record| {
            !record.members.contains_key("roles") || strings(record, "roles").iter().any(|one| one == role)
        };
        if records.iter().all(plays) { self.all_active(&records) } else { None }
    }

    fn all_active(&self, records: &[&Record]) -> Option<Option<Millis>> {
        let mut first = None;
        for record in records {
            let (start, end) = (instant(record, "start"), instant(record, "end"));
            let is_now = start.is_none_or(|start| start <= self.now) && end.is_none_or(|end| self.now < end);
            if self.is_stale(record) || !is_now || record.members["status"] != "active" {
                return None;
            }
            first = earlier(first, end);
        }
        Some(first)
    }
}
