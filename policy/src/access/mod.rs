//! The patient-access rules, one file each.

pub(crate) mod actor;
pub(crate) mod age;
pub(crate) mod chart;
pub(crate) mod history;
pub(crate) mod instance;
mod known;
pub(crate) mod people;
pub(crate) mod provenance;
pub(crate) mod reach;
pub(crate) mod record;
pub(crate) mod relationship;
mod standing;
pub(crate) mod subject;
pub(crate) mod write;
