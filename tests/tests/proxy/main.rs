//! FHIR servers of others behind the proxy: what comes back is what may be seen, whatever is asked and whoever asks.
//!
//! What may be seen the second opinion says, resource by resource; what there is the server says, asked directly.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a failure here is a failed test")]
#![allow(clippy::indexing_slicing, reason = "a missing member is a failed test")]

mod bases;
mod faults;
mod front;
mod inferno;
mod searches;
mod writes;
