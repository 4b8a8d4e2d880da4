//! The `chartgate` binary: see [`chartgate::cli`].

use std::process::ExitCode;

fn main() -> ExitCode {
    chartgate::cli::run()
}
