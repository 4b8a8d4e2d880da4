//! Writes `policy/src/tables/{r4,r4b,r5}.rs` from `policy/definitions/`.
//!
//! Run by hand after a change of the definitions: `cargo run -p chartgate-tests --bin generate-tables`.
//! A test compares its output with the committed files.

use anyhow::Context as _;

fn main() -> anyhow::Result<()> {
    let policy = chartgate_tests::workspace_root().join("policy");
    for (file, text) in chartgate_tests::tables::generate(&policy.join("definitions"))? {
        let target = policy.join("src/tables").join(file);
        std::fs::write(&target, text).with_context(|| format!("writing `{}`", target.display()))?;
    }
    Ok(())
}
