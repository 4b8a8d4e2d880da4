//! Who is one human: a practitioner and the roles they play, by all sources together. What one source knows of them
//! leads to what another has to be asked.

use std::collections::{BTreeMap, BTreeSet};

use chartgate_model::{Record, RecordClass, Relationship};

use super::key::{FactKey, concerns};
use super::live::{IDS_MAX, Question};
use super::roles::{self, ROLES_MAX, Share, Tenure};
use super::{Asked, FactError, Facts, RecordsAnswer, SourceAnswer, push_once};

/// Relationships that count for a user, each with how long the role lasts it is held by.
#[derive(Default)]
pub(super) struct Held {
    pub(super) relationships: Vec<(Relationship, Tenure)>,
    pub(super) is_truncated: bool,
    /// the last patient of the shortest list that was cut off, nothing where it lists nobody
    last: Option<Option<String>>,
    pub(super) stamps: Vec<String>,
}

impl Held {
    fn lists_end_at(&mut self, patient: Option<String>) {
        self.last = Some(match self.last.take() {
            None => patient,
            Some(known) => known.min(patient),
        });
    }

    /// SECURITY: a patient is listed with all relationships or not at all: what one list does not show any more may be
    /// a revocation.
    fn cut(&mut self) {
        if let Some(last) = &self.last {
            self.relationships.retain(|(entry, _)| last.as_ref().is_some_and(|last| entry.patient <= *last));
        }
    }
}

impl Facts {
    /// The relationships of a user, and those that count for them because a role is theirs.
    pub(super) fn held(&self, asked: &Asked<'_>, user: &str, patient: Option<&str>) -> Result<Held, FactError> {
        let shares = self.shares(asked, user)?;
        let mut held = Held::default();
        for (whose, share) in [(user.to_owned(), Share::During(Tenure::default()))].into_iter().chain(shares) {
            let SourceAnswer { relationships, truncated, stamp } = self.relationships(asked, &whose, patient)?;
            push_once(&mut held.stamps, stamp);
            if truncated {
                held.is_truncated = true;
                held.lists_end_at(relationships.iter().map(|entry| entry.patient.clone()).max());
            }
            held.relationships.extend(relationships.into_iter().filter_map(|entry| match share {
                // SECURITY: an end is no end where the role is played again, but what was taken away stays away.
                _ if entry.status != "active" => Some((entry, Tenure::default())),
                Share::During(tenure) if tenure.holds(asked.request.now) => Some((entry, tenure)),
                Share::During(_) | Share::Against => None,
            }));
        }
        held.cut();
        Ok(held)
    }

    /// The other records of the human that a user is, and what counts of their relationships.
    fn shares(&self, asked: &Asked<'_>, user: &str) -> Result<BTreeMap<String, Share>, FactError> {
        if roles::is_role(user) {
            let mut shares = BTreeMap::new();
            for practitioner in self.practitioners(asked, user)? {
                let others = self.roles(asked, &practitioner)?.into_iter().filter(|role| role != user);
                shares.extend(others.map(|role| (role, Share::Against)));
                shares.insert(practitioner, Share::Against);
            }
            return Ok(shares);
        }
        let ids = self.roles(asked, user)?;
        match ids.is_empty() {
            true => Ok(BTreeMap::new()),
            false => Ok(roles::shares(user, &self.records(asked, RecordClass::User, &ids)?.records)),
        }
    }

    /// What is known of whoever plays a role, and which charts are theirs by other roles.
    ///
    /// SECURITY: whoever plays a role plays it as themselves: their account may have ended, and their own chart is theirs.
    pub(super) fn of_same_human(
        &self,
        asked: &Asked<'_>,
        user: &str,
        own: &[Record],
    ) -> Result<Vec<RecordsAnswer>, FactError> {
        let mut humans = roles::practitioners(own);
        let mut same = Vec::new();
        if !humans.is_empty() {
            same.push(self.records(asked, RecordClass::User, &humans)?);
        }
        if roles::is_practitioner(user) {
            humans.insert(user.to_owned());
        }
        let mut ids = BTreeSet::new();
        for practitioner in &humans {
            ids.extend(self.roles(asked, practitioner)?);
        }
        ids.remove(user);
        if !ids.is_empty() {
            let of_roles = self.records(asked, RecordClass::User, &ids)?;
            same.push(RecordsAnswer { records: roles::charts_of(of_roles.records).collect(), ..of_roles });
        }
        Ok(same)
    }

    /// Whose role it is, by any source.
    fn practitioners(&self, asked: &Asked<'_>, role: &str) -> Result<BTreeSet<String>, FactError> {
        let own = self.records(asked, RecordClass::User, &BTreeSet::from([role.to_owned()]))?.records;
        Ok(roles::practitioners(&own))
    }

    /// The roles of a practitioner, by any source; of anybody else none.
    fn roles(&self, asked: &Asked<'_>, user: &str) -> Result<BTreeSet<String>, FactError> {
        if !roles::is_practitioner(user) {
            return Ok(BTreeSet::new());
        }
        let known = self.source.roles(&asked.request.tenant, user)?.records;
        let names = |record: &&Record| record.members.get("practitioner").is_some_and(|named| named == user);
        let others = asked.live.records.iter().chain(&asked.request.records).filter(names).cloned();
        let ids: BTreeSet<String> = known.into_iter().chain(others).map(|record| record.id).collect();
        if ids.len() > ROLES_MAX { Err(FactError::Roles { max: ROLES_MAX }) } else { Ok(ids) }
    }

    /// What a server has to be asked besides, by what is known already.
    pub(super) fn further(
        &self,
        asked: &Asked<'_>,
        keys: &[String],
        put: &BTreeSet<Question>,
    ) -> Result<BTreeSet<Question>, FactError> {
        let mut all = BTreeSet::new();
        let mut charts = BTreeSet::new();
        for key in keys {
            match FactKey::parse(key) {
                Some(FactKey::Between { user, .. }) => self.further_of_user(asked, user, &mut all)?,
                Some(FactKey::Of { class: RecordClass::User, id }) => self.further_of_user(asked, id, &mut all)?,
                Some(FactKey::Of { class: RecordClass::Patient, id }) => {
                    charts.insert(id.to_owned());
                }
                Some(FactKey::OfUser { user } | FactKey::PatientsOf { user }) => {
                    self.further_of_user(asked, user, &mut all)?;
                    charts.extend(self.listed(asked, user, &mut all)?);
                }
                Some(FactKey::Of { class: RecordClass::Client, .. }) | None => {}
            }
        }
        let charts = self.followed(asked, charts)?.ids.into_iter();
        let charts: Vec<String> = charts.filter(|id| !is_told(asked, put, id)).collect();
        all.extend(charts.chunks(IDS_MAX).map(|ids| Question::Charts(ids.to_vec())));
        Ok(all)
    }

    /// Whoever a user is besides.
    fn further_of_user(&self, asked: &Asked<'_>, user: &str, all: &mut BTreeSet<Question>) -> Result<(), FactError> {
        let mut humans = BTreeSet::from([user.to_owned()]);
        if roles::is_role(user) {
            all.insert(Question::User(user.to_owned()));
            humans.extend(self.practitioners(asked, user)?);
        }
        // What the server has of those whom others name; of whom it told already it is not asked again.
        let others = |id: &String| id != user && asked.live.records.iter().all(|record| record.id != *id);
        for human in humans {
            let roles = self.roles(asked, &human)?;
            all.extend(roles::is_practitioner(&human).then(|| Question::Roles(human.clone())));
            all.extend(roles.into_iter().chain([human]).filter(others).map(Question::User));
        }
        Ok(())
    }

    /// Everybody on a user's list and on those of their roles, which are asked for too.
    fn listed(
        &self,
        asked: &Asked<'_>,
        user: &str,
        all: &mut BTreeSet<Question>,
    ) -> Result<BTreeSet<String>, FactError> {
        let mut patients = BTreeSet::new();
        for user in self.roles(asked, user)?.into_iter().chain([user.to_owned()]) {
            let listed = self.source.of_user(&asked.request.tenant, &user)?.relationships;
            let others = asked.live.relationships.iter().chain(&asked.request.relationships);
            let others = others.filter(|entry| concerns(entry, &user, None)).cloned();
            patients.extend(listed.into_iter().chain(others).map(|entry| entry.patient));
            all.insert(Question::List(user));
        }
        Ok(patients)
    }
}

/// Whether a server has told of a chart, or was asked and knows of none.
fn is_told(asked: &Asked<'_>, put: &BTreeSet<Question>, id: &String) -> bool {
    let told = |record: &Record| record.class == RecordClass::Patient && record.id == *id;
    let was_asked = |question: &Question| matches!(question, Question::Charts(ids) if ids.contains(id));
    asked.live.records.iter().any(told) || put.iter().any(was_asked)
}
