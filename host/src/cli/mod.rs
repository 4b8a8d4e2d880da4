//! The command line, one file per verb.
//!
//! Exit code 0: done. 1: the answer is no. 2: usage or configuration.

mod client;
mod decide;
mod demo;
mod directory;
mod explain;
mod import;
mod policy;
mod records;
mod serve;
mod setup;
mod user;

use std::io::IsTerminal as _;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Authorization decisions for FHIR servers.
#[derive(Debug, Parser)]
#[command(name = "chartgate", version, about)]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Run the host.
    Serve(serve::Arguments),
    /// Decide JSON lines offline, one `/v1/decide` body a line.
    Decide(decide::Arguments),
    /// The life of a policy release.
    #[command(subcommand)]
    Policy(policy::Verb),
    /// Relationships between users and patients.
    #[command(subcommand)]
    Directory(directory::Verb),
    /// Apps of the authorization server.
    #[command(subcommand)]
    Client(client::Verb),
    /// Local accounts of the authorization server.
    #[command(subcommand)]
    User(user::Verb),
}

/// How a verb ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ended {
    /// done
    Done,
    /// the answer is no
    No,
}

/// Run the command line of this process.
pub fn run() -> ExitCode {
    let verb = Arguments::parse().verb;
    tracing_subscriber::fmt()
        .with_env_filter(
            tracing_subscriber::EnvFilter::try_from_env("CHARTGATE_LOG_FILTER").unwrap_or_else(|_| "info".into()),
        )
        // Colours are for people: a log file gets plain text.
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr)
        .init();
    let ended = match verb {
        Verb::Serve(arguments) => serve::run(arguments),
        Verb::Decide(arguments) => decide::run(&arguments),
        Verb::Policy(verb) => policy::run(verb),
        Verb::Directory(verb) => directory::run(verb),
        Verb::Client(verb) => client::run(verb),
        Verb::User(verb) => user::run(verb),
    };
    match ended {
        Ok(Ended::Done) => ExitCode::SUCCESS,
        Ok(Ended::No) => ExitCode::from(1),
        Err(error) => {
            // One line: causes included, where the error does not name them itself.
            eprintln!("chartgate: {}", crate::causes::chain(error.as_ref()));
            ExitCode::from(2)
        }
    }
}
