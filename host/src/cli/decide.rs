//! `chartgate decide`: JSON lines in, JSON lines or words out, offline.

use std::fs::File;
use std::io::{BufRead, BufReader, Read as _, Write};
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context as _;
use chartgate_model::DecisionRequest;

use super::{Ended, explain, setup};
use crate::audit::Recorder;
use crate::config::Config;
use crate::decide::{Answer, Asked, Decider, Verdict};
use crate::edge::Edge;
use crate::facts::{DEFAULT_OF_USER_LIMIT, Directory, Facts};
use crate::http::caller::Caller;
use crate::http::filter::{FilterAnswer, FilterBody, Given, Judge, filtered, no_simulation, responses};
use crate::http::problem::Problem;
use crate::http::wire::{AnswerBody, Context, Decidable, error_line, token_denial};
use crate::http::{json, wire};
use crate::rollout::{Rollout, SelectError};
use crate::store::Store;
use crate::tokens::TokenError;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Release that decides: `name@version` or `sha256:…`
    #[arg(long)]
    policy: Option<String>,
    /// Folder of policy releases
    #[arg(long)]
    policies: Option<PathBuf>,
    /// Folder of the directory; without it only the facts in each line are known
    #[arg(long)]
    data: Option<PathBuf>,
    /// Configuration file, for FHIR bases, trusted keys and limits
    #[arg(long)]
    config: Option<PathBuf>,
    /// Explain each decision in words, rule by rule
    #[arg(long)]
    explain: bool,
    /// JSON lines with `--explain` too, the trace in each
    #[arg(long)]
    json: bool,
    /// File of JSON lines; standard input when absent
    file: Option<PathBuf>,
}

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<Ended> {
    let config = Config::load(arguments.config.as_deref(), std::iter::empty())?;
    // Without a directory, an empty one that is gone afterwards.
    let scratch = tempfile::tempdir()?;
    let data = match &arguments.data {
        Some(data) => {
            anyhow::ensure!(data.is_dir(), "there is no data folder `{}`", data.display());
            data.as_path()
        }
        None => scratch.path(),
    };
    let store = Arc::new(Store::open(data)?);
    // The rollout is this command's own: deciding offline must not depend on what is live, nor change it.
    let rollout_store = Arc::new(Store::open(scratch.path())?);
    let policies = setup::policies_dir(arguments.policies.as_ref(), &config);
    let registry = setup::registry(&config, &policies, true, None)?;
    let pin = arguments.policy.as_deref().map(|text| {
        chartgate_model::ReleasePin::parse(text)
            .with_context(|| format!("`{text}` is neither `name@version` nor `sha256:…`"))
    });
    let rollout = Arc::new(Rollout::start(rollout_store, registry, pin.transpose()?.as_ref())?);
    let facts = Facts::new(Arc::new(Directory::new(store, DEFAULT_OF_USER_LIMIT)))
        .with_live(setup::live_facts(&config, &Edge::system())?);
    let decider = Decider { rollout, facts, recorder: Recorder::Nowhere, engine_version: setup::ENGINE_VERSION };
    let local = Local {
        decider,
        caller: Caller::local(),
        bases: setup::bases(&config),
        config,
        edge: Edge::system(),
        explain: arguments.explain,
        words: arguments.explain && !arguments.json,
    };
    let input: Box<dyn BufRead> = match &arguments.file {
        Some(file) => {
            Box::new(BufReader::new(File::open(file).with_context(|| format!("cannot open `{}`", file.display()))?))
        }
        None => Box::new(BufReader::new(std::io::stdin())),
    };
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(local.lines(input))
}

struct Local {
    decider: Decider,
    caller: Caller,
    bases: Vec<chartgate_model::FhirBase>,
    config: Config,
    edge: Edge,
    /// wants the trace, whatever a line says
    explain: bool,
    /// answers in words, not JSON
    words: bool,
}

/// What came of one line that is a request.
enum Decided {
    Answered(Box<Answer>, Box<DecisionRequest>),
    Bundle(Box<AnswerBody>),
    Filtered(Box<FilterAnswer>),
    BadToken { id: String, simulate: bool, error: TokenError },
}

impl Local {
    /// One answer for each line, in order; a line that cannot be decided gets an error in its place.
    async fn lines(&self, mut input: Box<dyn BufRead>) -> anyhow::Result<Ended> {
        let mut out = std::io::BufWriter::new(std::io::stdout().lock());
        let mut ended = Ended::Done;
        // An answer of a FHIR server is the largest there is.
        let limit = self.config.limits.body_bytes.max(self.config.limits.filter_bytes);
        for number in 1.. {
            let mut line = Vec::new();
            // SECURITY: bounded, so that a line without an end is an error and not all of memory.
            let read = input.by_ref().take(limit as u64 + 2).read_until(b'\n', &mut line)?;
            if read == 0 {
                break;
            }
            let text = line.strip_suffix(b"\n").unwrap_or(&line);
            let length = text.strip_suffix(b"\r").unwrap_or(text).len();
            if length > limit && line.last() != Some(&b'\n') {
                input.skip_until(b'\n')?;
            }
            if line.trim_ascii().is_empty() {
                continue;
            }
            let answer = if length > limit { Err(too_long(limit)) } else { self.line(line.trim_ascii(), length).await };
            if answer.is_err() {
                ended = Ended::No;
            }
            self.write(&mut out, number, answer)?;
        }
        out.flush()?;
        Ok(ended)
    }

    async fn line(&self, line: &[u8], length: usize) -> Result<Decided, Problem> {
        let context = Context {
            caller: &self.caller,
            bases: &self.bases,
            tokens: None,
            smart: None,
            system: self.config.system.enabled,
            limits: &self.config.limits,
            now: (self.edge.now)(),
            policy_header: None,
        };
        let id = (self.edge.new_id)();
        if is_answer(line) {
            return self.answer(&context, id, line).await;
        }
        let decidable = context.read(line).await?;
        if let Some(bundle) = decidable.bundle() {
            return self.bundle(id, bundle).await;
        }
        let limit = self.config.limits.body_bytes;
        if length > limit {
            return Err(too_long(limit));
        }
        let mut request = match decidable {
            Decidable::Request(request) => request,
            Decidable::BadToken { simulate, error, .. } => return Ok(Decided::BadToken { id, simulate, error }),
        };
        request.explain |= self.explain;
        let asked = Asked { id, caller: &self.caller.name, face: "offline", request: &request };
        let answer = self.decider.decide(asked).await.map_err(|error| Problem::member("policy", error.to_string()))?;
        Ok(Decided::Answered(Box::new(answer), request))
    }

    async fn bundle(&self, id: String, request: &DecisionRequest) -> Result<Decided, Problem> {
        let request = DecisionRequest { explain: request.explain || self.explain, ..request.clone() };
        let asked = Asked { id, caller: &self.caller.name, face: "offline", request: &request };
        let limits = self.config.limits.bundle();
        let answer = self.decider.decide_bundle(&asked, &limits, &*self.edge.new_id).await;
        let answer = answer.map_err(|error| Problem::member("policy", error.to_string()))?;
        Ok(Decided::Bundle(Box::new(AnswerBody::of_bundle(answer, &request))))
    }

    /// What of an answer may leave: a body of `/v1/filter`.
    async fn answer(&self, context: &Context<'_>, id: String, line: &[u8]) -> Result<Decided, Problem> {
        let json::Object(FilterBody { binding, decide, bundle, resource }) = json::read(line, wire::DEPTH_MAX)?;
        if binding.is_some() {
            return Err(Problem::member("binding", "only the host that made it can read it"));
        }
        let given = Given::of(bundle, resource)?;
        let decide = decide.ok_or_else(|| Problem::member("decide", "is missing"))?;
        let by =
            Judge { decider: &self.decider, new_id: &*self.edge.new_id, caller: &self.caller.name, face: "offline" };
        let request = match context.decidable(decide).await? {
            Decidable::Request(request) => request,
            Decidable::BadToken { simulate, error, .. } => return Ok(Decided::BadToken { id, simulate, error }),
        };
        no_simulation(&request)?;
        let select = |error: SelectError| Problem::member("policy", error.to_string());
        let asked = Asked { id, caller: &self.caller.name, face: "offline", request: &request };
        let answered = if request.request.interaction.is_bundle() {
            let limits = self.config.limits.bundle();
            let decided = self.decider.decide_bundle(&asked, &limits, by.new_id).await.map_err(select)?;
            if !decided.whole.is_permit() {
                return Ok(Decided::Bundle(Box::new(AnswerBody::of_bundle(decided, &request))));
            }
            responses(&by, &request, decided, &given).await?
        } else {
            let answer = self.decider.decide(asked).await.map_err(select)?;
            if !matches!(answer.verdict, Verdict::Permit(_)) {
                return Ok(Decided::Answered(Box::new(answer), request));
            }
            filtered(&by, &request, &answer, &given).await?
        };
        Ok(Decided::Filtered(Box::new(answered)))
    }

    /// In words a page for each line, with a blank line behind it; in JSON one line for each.
    fn write(&self, out: &mut impl Write, number: usize, decided: Result<Decided, Problem>) -> anyhow::Result<()> {
        if self.words {
            let page = match decided {
                Ok(Decided::Answered(answer, request)) => explain::decision(&request, &answer),
                // Each entry would be a page of its own.
                Ok(Decided::Bundle(answer)) => serde_json::to_string_pretty(&answer)?,
                Ok(Decided::Filtered(answer)) => serde_json::to_string_pretty(&answer)?,
                Ok(Decided::BadToken { error, .. }) => explain::bad_token(&error),
                Err(problem) => explain::problem(number, &problem),
            };
            return Ok(writeln!(out, "{page}")?);
        }
        let line = match decided {
            Ok(Decided::Answered(answer, request)) => serde_json::json!(AnswerBody::of(*answer, &request)),
            Ok(Decided::Bundle(answer)) => serde_json::json!(answer),
            // As text, so that what leaves leaves as it came.
            Ok(Decided::Filtered(answer)) => return Ok(writeln!(out, "{}", serde_json::to_string(&answer)?)?),
            Ok(Decided::BadToken { id, simulate, error }) => serde_json::json!(token_denial(id, simulate, &error)),
            Err(problem) => error_line(&problem),
        };
        Ok(writeln!(out, "{line}")?)
    }
}

fn too_long(limit: usize) -> Problem {
    Problem::member("body", format!("is larger than {limit} bytes"))
}

/// Whether a line asks what of an answer may leave: it holds one.
fn is_answer(line: &[u8]) -> bool {
    #[derive(serde::Deserialize)]
    struct Answered {
        decide: Option<serde::de::IgnoredAny>,
        bundle: Option<serde::de::IgnoredAny>,
        binding: Option<serde::de::IgnoredAny>,
        request: Option<serde::de::IgnoredAny>,
    }
    let read: Result<Answered, _> = serde_json::from_slice(line);
    read.is_ok_and(|it| it.request.is_none() && (it.decide.is_some() || it.bundle.is_some() || it.binding.is_some()))
}
