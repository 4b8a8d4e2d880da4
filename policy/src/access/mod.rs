//! The patient-access rules, one file each.

pub(crate) mod history;
pub(crate) mod instance;
pub(crate) mod reach;
pub(crate) mod relationship;
pub(crate) mod subject;
pub(crate) mod write;
