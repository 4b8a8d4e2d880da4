//! `chartgate serve`: the host.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context as _;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

use super::{Ended, demo, setup};
use crate::audit::{DecisionLog, Durability, LogOptions, Recorder};
use crate::causes::chain;
use crate::config::{Config, ConfigError, DurabilityConfig};
use crate::decide::Decider;
use crate::edge::Edge;
use crate::facts::{DEFAULT_OF_USER_LIMIT, Directory, Facts};
use crate::http::binding::Binder;
use crate::http::caller::People;
use crate::http::demo::Demo;
use crate::http::{Gate, Pages, State, bind, serve};
use crate::proxy::Proxied;
use crate::rollout::Rollout;
use crate::sandbox::Sandbox;
use crate::store::Store;
use crate::tokens::Issuers;

/// Upper bounds of the buckets of `chartgate_decision_seconds`.
const SECONDS: [f64; 11] = [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 1.0];

/// How often the authorization server is tidied up.
const MAINTENANCE: std::time::Duration = std::time::Duration::from_secs(600);

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Configuration file; `chartgate.toml` of this folder when there is one
    #[arg(long)]
    config: Option<PathBuf>,
    /// Sample people and relationships; callers of this machine may do everything
    #[arg(long)]
    demo: bool,
    /// Address for decisions
    #[arg(long)]
    public: Option<SocketAddr>,
    /// Address for health, metrics and administration
    #[arg(long)]
    operations: Option<SocketAddr>,
    /// Folder of the database and the decision log
    #[arg(long)]
    data: Option<PathBuf>,
    /// Folder of policy releases
    #[arg(long)]
    policies: Option<PathBuf>,
}

pub(super) fn run(arguments: Arguments) -> anyhow::Result<Ended> {
    let config = configuration(&arguments)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(host(&arguments, config))
}

/// The file, the environment, then flags.
fn configuration(arguments: &Arguments) -> anyhow::Result<Config> {
    let default = PathBuf::from("chartgate.toml");
    let file = arguments.config.clone().or_else(|| default.exists().then_some(default));
    let environment = std::env::vars().filter(|(name, _)| name != "CHARTGATE_LOG_FILTER");
    let mut config = Config::load(file.as_deref(), environment)?;
    config.listen.public = arguments.public.unwrap_or(config.listen.public);
    config.listen.operations = arguments.operations.unwrap_or(config.listen.operations);
    config.data.dir = arguments.data.clone().or(config.data.dir);
    if arguments.demo {
        demo::configure(&mut config);
    }
    config.check_again()?;
    Ok(config)
}

async fn host(arguments: &Arguments, config: Config) -> anyhow::Result<Ended> {
    // A demo keeps nothing unless it is told where.
    let scratch = (arguments.demo && config.data.dir.is_none()).then(tempfile::tempdir).transpose()?;
    let data = config.data.dir.clone().or_else(|| scratch.as_ref().map(|dir| dir.path().to_owned()));
    let data = data.unwrap_or_else(|| PathBuf::from("data"));
    let edge = Edge::system();
    let store = Arc::new(Store::open(&data)?);
    if arguments.demo {
        demo::fill(&store, &edge, &config)?;
    }
    let policies = setup::policies_dir(arguments.policies.as_ref(), &config);
    let compiled = config.policies.compiled_cache.then(|| data.join("compiled"));
    let registry = setup::registry(&config, &policies, arguments.demo, compiled.as_deref())?;
    let initial = config.policies.initial.as_deref().and_then(chartgate_model::ReleasePin::parse);
    let rollout = Arc::new(Rollout::start(Arc::clone(&store), registry, initial.as_ref())?);
    let state = Arc::new(state(arguments.demo, &config, &data, edge, store, rollout)?);
    let bound = bind(config.listen.public, config.listen.operations).await?;
    let (public, operations) = bound.addresses()?;
    // Only now: a start that fails says why in one line, and that line names what was refused.
    for refused in state.decider.rollout.registry().refused() {
        tracing::warn!(folder = %refused.folder.display(), error = %chain(&*refused.error), "release refused");
    }
    if (config.limits.caller_rate_per_s as usize) < config.limits.evaluations {
        tracing::warn!("limits.caller_rate_per_s is below limits.evaluations: no caller gets the largest batch whole");
    }
    let live = state.decider.rollout.live();
    let release = format!("{}@{}", live.active.name, live.active.version);
    tracing::info!(%public, %operations, %release, digest = %live.active.digest, "ready");
    if arguments.demo {
        demo::invite(public);
    }
    if let Some(server) = &state.smart {
        tokio::spawn(maintain(Arc::clone(server)));
    }
    serve(bound, state, stop_signal()?).await?;
    tracing::info!("drained");
    Ok(Ended::Done)
}

fn state(
    demo: bool,
    config: &Config,
    data: &std::path::Path,
    edge: Edge,
    store: Arc<Store>,
    rollout: Arc<Rollout>,
) -> anyhow::Result<State> {
    let durability = match config.log.durability {
        DurabilityConfig::Fsync => Durability::Fsync,
        DurabilityConfig::Buffered => Durability::Buffered,
    };
    let log =
        |stem: String| DecisionLog::open(&data.join("log"), LogOptions { durability, ..LogOptions::default() }, &stem);
    let stem = (edge.new_id)();
    let decider = Arc::new(Decider {
        rollout,
        facts: Facts::new(Arc::new(Directory::new(Arc::clone(&store), DEFAULT_OF_USER_LIMIT)))
            .with_live(setup::live_facts(config, &edge)?),
        recorder: Recorder::Log(log(format!("{stem}-decisions"))?),
        engine_version: setup::ENGINE_VERSION,
    });
    let handle = measures()?;
    let bases = setup::bases(config);
    let mut proxies = setup::proxies(config, &bases)?;
    if let Some(base) = bases.iter().find(|base| demo && base.name == "default")
        && proxies.iter().all(|proxied| proxied.base != base.name)
    {
        proxies.push(Proxied::sandbox(base, Sandbox::new(&base.url)?));
    }
    Ok(State {
        proxies: proxies.into_iter().map(Arc::new).collect(),
        pages: Pages::default(),
        demo: demo.then(Demo::default),
        smart: setup::smart(config, &edge, &store, &decider)?.map(Arc::new),
        decider,
        people: People::new(config, demo),
        bases,
        tokens: Issuers::open(config).map_err(ConfigError::Problems)?,
        system: config.system.enabled,
        store,
        changes: log(format!("{stem}-changes"))?,
        limits: config.limits.clone(),
        gate: Gate::new(&config.limits),
        proxy_gate: Gate::new(&config.limits),
        metrics: Some(handle),
        binder: Binder::new(&edge),
        edge,
    })
}

/// Prometheus histograms: rounds are whole numbers up to three, and a decision takes microseconds.
fn measures() -> anyhow::Result<PrometheusHandle> {
    let named = |name: &str| Matcher::Full(name.to_owned());
    PrometheusBuilder::new()
        .set_buckets_for_metric(named("chartgate_policy_rounds"), &[0.0, 1.0, 2.0, 3.0, 4.0])?
        .set_buckets_for_metric(named("chartgate_decision_seconds"), &SECONDS)?
        .install_recorder()
        .context("metrics do not start")
}

/// Forget what has ended, now and then, and renew the signing key when it is old.
async fn maintain(server: Arc<crate::smart::Server>) {
    let mut ticks = tokio::time::interval(MAINTENANCE);
    loop {
        ticks.tick().await;
        let server = Arc::clone(&server);
        match tokio::task::spawn_blocking(move || server.maintain()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::error!(error = %chain(&error), "the authorization server was not maintained"),
            Err(error) => tracing::error!(%error, "the authorization server was not maintained"),
        }
    }
}

/// Completes at SIGTERM or SIGINT.
fn stop_signal() -> anyhow::Result<impl Future<Output = ()> + Send + 'static> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}
