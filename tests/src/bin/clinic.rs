//! Writes resources of a made-up clinic as NDJSON, to import by hand:
//! `cargo run -p chartgate-tests --bin clinic -- 1000000 > clinic.ndjson`.

use std::io::{BufWriter, Write as _};

use anyhow::Context as _;

fn main() -> anyhow::Result<()> {
    let count = std::env::args().nth(1).and_then(|count| count.parse().ok()).context("usage: clinic COUNT")?;
    let mut out = BufWriter::new(std::io::stdout().lock());
    chartgate_tests::clinic_files::write(&mut out, count);
    Ok(out.flush()?)
}
