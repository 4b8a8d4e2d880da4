//! The authorization server, from outside.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a failure here is a failed test")]
#![allow(clippy::indexing_slicing, reason = "a missing member is a failed test")]

mod attacks;
mod crash;
mod discovery;
mod flows;
mod jwt;
mod limits;
mod pages;
mod together;
mod tokens;

use std::sync::OnceLock;

use chartgate_tests::smart::Clinic;

/// One clinic for all tests that change nothing others see.
fn clinic() -> &'static Clinic {
    static CLINIC: OnceLock<Clinic> = OnceLock::new();
    CLINIC.get_or_init(|| Clinic::start(""))
}
