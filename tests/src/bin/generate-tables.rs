//! Writes `policy/src/tables/r4.rs` from `policy/definitions/r4/`.
//!
//! Run by hand after a change of the definitions: `cargo run -p chartgate-tests --bin generate-tables`.
//! A test compares its output with the committed file.

use anyhow::Context as _;

fn main() -> anyhow::Result<()> {
    let policy = chartgate_tests::workspace_root().join("policy");
    let text = chartgate_tests::tables::generate(&policy.join("definitions/r4"))?;
    let target = policy.join("src/tables/r4.rs");
    std::fs::write(&target, text).with_context(|| format!("writing `{}`", target.display()))
}
