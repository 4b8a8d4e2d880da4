//! The `chartgate` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    eprintln!("chartgate: no verb is available in this build");
    ExitCode::from(2)
}
