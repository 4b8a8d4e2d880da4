//! `chartgate directory import`: what FHIR resources say about people, into the directory.

use std::io::IsTerminal as _;
use std::path::PathBuf;

use anyhow::Context as _;
use indicatif::{ProgressBar, ProgressStyle};
use jiff::tz::TimeZone;
use serde_json::json;

use super::Ended;
use super::directory::{Place, record};
use crate::derived::Reading;
use crate::edge::Edge;
use crate::import::{Import, Imported};
use crate::people;
use crate::store::Store;

#[derive(Debug, clap::Args)]
pub(super) struct Files {
    /// NDJSON, a resource or a bundle a line, or one JSON document each
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// Zone of the organization, `America/New_York`: of its patients, and of dates without a time; UTC for dates when
    /// absent
    #[arg(long)]
    zone: Option<String>,
    /// URL of the server the resources are from: references below it are local
    #[arg(long)]
    base: Option<String>,
    /// Folder for what is rejected, a file for each; `rejects` in the data folder when absent
    #[arg(long)]
    rejects: Option<PathBuf>,
    #[command(flatten)]
    place: Place,
}

pub(super) fn run(files: &Files) -> anyhow::Result<Ended> {
    let Files { zone, base, rejects, place, .. } = files;
    let named = zone.as_deref().map(|name| {
        people::zone(name).with_context(|| format!("--zone: `{name}` is not the IANA name of a time zone"))
    });
    let base = base.as_deref().map(|base| base.trim_end_matches('/').to_owned());
    let reading = Reading { base, zone: named.transpose()?.unwrap_or(TimeZone::UTC), zone_name: zone.clone() };
    let (store, edge) = (Store::open(&place.data)?, Edge::system());
    let rejects = rejects.clone().unwrap_or_else(|| place.data.join("rejects"));
    let import = Import { store: &store, tenant: &place.tenant, reading: &reading, rejects: &rejects, edge: &edge };
    let mut clean = true;
    for path in &files.files {
        let name = path.display().to_string();
        record(place, &edge, "import-begun", &name, (None, None), store.revision()?)?;
        let bar = bar();
        let imported = import.file(path, &mut |progress| {
            bar.set_length(progress.bytes);
            bar.set_position(progress.read);
            bar.set_message(format!("{} lines, {} rejected", progress.lines, progress.rejected));
        })?;
        bar.finish_and_clear();
        let told = json!({ "file": name, "digest": imported.digest, "came_to": imported.progress });
        record(place, &edge, "import-ended", &name, (None, Some(told)), imported.progress.revision)?;
        tell(&name, &imported, place.json);
        clean &= imported.progress.rejected == 0;
    }
    Ok(if clean { Ended::Done } else { Ended::No })
}

/// A bar on a terminal, nothing elsewhere.
fn bar() -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let template = "{bar:32} {bytes}/{total_bytes} {eta} left  {msg}";
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(0).with_style(style)
}

fn tell(name: &str, imported: &Imported, as_json: bool) {
    let Imported { digest, progress, rejects } = imported;
    let rejects = rejects.as_ref().map(|path| path.display().to_string());
    if as_json {
        println!("{}", json!({ "file": name, "digest": digest, "came_to": progress, "rejects": rejects }));
        return;
    }
    if progress.resumed_at > 0 {
        println!("{name}: resumed after line {}", progress.resumed_at);
    }
    println!(
        "{name}: {} lines; {} resources taken over, {} of other types, {} rejected; {} rows created, {} changed, {} as \
         they were (revision {})",
        progress.lines,
        progress.resources,
        progress.skipped,
        progress.rejected,
        progress.created,
        progress.updated,
        progress.unchanged,
        progress.revision
    );
    if let Some(rejects) = rejects {
        println!("{name}: what was rejected is in {rejects}");
    }
}
