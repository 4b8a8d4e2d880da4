//! The engine: one wasmtime engine per lane, and the ticker behind the deadlines.
//!
//! A lane is what one worker thread uses. Threads of one engine would hand each other the same
//! memory slots, and the slots' cache lines with them; a lane each keeps them apart. A thread takes
//! the next lane at its first call and stays there.

use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use wasmtime::{
    Cache, CacheConfig, Config, Enabled, Engine, EngineWeak, InstanceAllocationStrategy, OptLevel,
    PoolingAllocationConfig,
};

/// Length of one epoch tick, the unit of deadlines.
pub const TICK_MS: u64 = 1;

/// Calls that can run at once in one lane; more are [`crate::CallError::Busy`].
pub const SLOTS_PER_LANE: u32 = 8;

/// Linear memory that is cleared by writing zeros instead of asking the kernel. At least the initial
/// memory of a policy (`policy/build` links 256 KiB), so that the usual call makes no system call.
const KEEP_RESIDENT_BYTES: usize = 256 << 10;

/// Stack of a policy call. Host frames come on top; tokio's workers have 2 MiB.
const WASM_STACK_BYTES: usize = 256 << 10;

/// Table elements of one policy: its indirect calls.
const TABLE_ELEMENTS: usize = 10_000;

/// The most memory a host may allow a policy.
pub const MEMORY_CEILING_BYTES: usize = 256 << 20;

const PAGE_BYTES: usize = 65_536;

/// What the host allows every policy. A release may ask for less, never for more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuntimeLimits {
    /// instructions of one call, in wasmtime's fuel units; deterministic
    pub fuel: u64,
    /// wall time of one call; a safety net and not deterministic
    pub deadline_ms: u64,
    /// linear memory of one call; whole pages of 64 KiB
    pub memory_bytes: usize,
    /// size of a component file
    pub component_bytes: usize,
    /// size of everything one call may answer
    pub result_bytes: usize,
    /// engines, one per worker thread that decides
    pub lanes: usize,
}

impl Default for RuntimeLimits {
    fn default() -> Self {
        Self {
            fuel: 50_000_000,
            deadline_ms: 50,
            memory_bytes: 8 << 20,
            component_bytes: 4 << 20,
            result_bytes: 256 << 10,
            lanes: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
        }
    }
}

/// The engine could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum RuntimeError {
    /// A limit is outside of what makes sense.
    #[error("limit `{limit}` is {found}, it must be {expected}")]
    Limit {
        /// member of [`RuntimeLimits`]
        limit: &'static str,
        /// its value
        found: u64,
        /// what would do
        expected: &'static str,
    },
    /// wasmtime refuses the configuration, or the machine cannot reserve the address space.
    #[error("cannot set up a WebAssembly engine")]
    Engine(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The folder of compiled releases cannot be used.
    #[error("cannot use the folder of compiled releases `{}`", path.display())]
    Cache {
        /// the folder
        path: PathBuf,
        /// why
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The ticker thread could not be started; without it there are no deadlines.
    #[error("cannot start the deadline ticker")]
    Ticker(#[source] std::io::Error),
}

/// The engines and their ticker. Loaded policies keep it alive.
#[derive(Debug)]
pub struct Runtime {
    limits: RuntimeLimits,
    engines: Vec<Engine>,
    // Dropping it wakes and ends the ticker. An `Option` so that `drop` can do so before it joins.
    stop: Option<Sender<()>>,
    ticker: Option<JoinHandle<()>>,
}

impl Runtime {
    /// Set up one engine per lane and the ticker.
    pub fn new(limits: RuntimeLimits) -> Result<Arc<Self>, RuntimeError> {
        Self::with_cache(limits, None)
    }

    /// The same, with a folder that keeps what was compiled for the next start.
    ///
    /// SECURITY: what lies there is machine code and is run as it is: nobody but the host may write to
    /// the folder. It is made for the host's user alone, and refused where others can write to it.
    pub fn with_cache(limits: RuntimeLimits, folder: Option<&Path>) -> Result<Arc<Self>, RuntimeError> {
        check(&limits)?;
        let cache = folder.map(compiled).transpose()?;
        let engine = || {
            let mut config = config(&limits);
            config.cache(cache.clone());
            Engine::new(&config).map_err(|error| RuntimeError::Engine(error.into()))
        };
        let engines: Vec<Engine> = std::iter::repeat_with(engine).take(limits.lanes).collect::<Result<_, _>>()?;
        let weak: Vec<EngineWeak> = engines.iter().map(Engine::weak).collect();
        let (stop, stopped) = channel();
        let ticker = std::thread::Builder::new()
            .name("policy-ticker".to_owned())
            .spawn(move || tick(&weak, &stopped))
            .map_err(RuntimeError::Ticker)?;
        Ok(Arc::new(Self { limits, engines, stop: Some(stop), ticker: Some(ticker) }))
    }

    /// What this host allows.
    pub fn limits(&self) -> &RuntimeLimits {
        &self.limits
    }

    /// The engines in the order of their lanes.
    pub(crate) fn engines(&self) -> &[Engine] {
        &self.engines
    }
}

impl Drop for Runtime {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(ticker) = self.ticker.take() {
            let _ = ticker.join();
        }
    }
}

/// The lane of this thread among so many: given out in turn, kept for the thread's life.
pub(crate) fn lane(lanes: usize) -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static MINE: Cell<Option<usize>> = const { Cell::new(None) };
    }
    let mine = MINE.get().unwrap_or_else(|| NEXT.fetch_add(1, Ordering::Relaxed));
    MINE.set(Some(mine));
    mine.checked_rem(lanes).unwrap_or(0)
}

/// Epoch ticks after which a call that began now is certainly older than the deadline. The first
/// tick may come at once, hence one more; a store that is given none would trap immediately.
pub(crate) fn deadline_ticks(deadline_ms: u64) -> u64 {
    (deadline_ms / TICK_MS).saturating_add(1).max(2)
}

fn tick(engines: &[EngineWeak], stopped: &Receiver<()>) {
    // `Timeout` is the tick; anything else means that the runtime is gone.
    while stopped.recv_timeout(Duration::from_millis(TICK_MS)) == Err(RecvTimeoutError::Timeout) {
        for engine in engines.iter().filter_map(EngineWeak::upgrade) {
            engine.increment_epoch();
        }
    }
}

/// The folder of compiled releases, for this user alone.
fn compiled(folder: &Path) -> Result<Cache, RuntimeError> {
    use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
    let unusable = |source| RuntimeError::Cache { path: folder.to_owned(), source };
    let io = |error: std::io::Error| unusable(error.into());
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(io)?;
    let folder = folder.canonicalize().map_err(io)?;
    if std::fs::metadata(&folder).map_err(io)?.mode() & 0o022 != 0 {
        return Err(unusable("others can write to it, and what lies there is run as machine code".into()));
    }
    let mut config = CacheConfig::new();
    config.with_directory(folder);
    Cache::new(config).map_err(|error| unusable(error.into()))
}

fn check(limits: &RuntimeLimits) -> Result<(), RuntimeError> {
    let whole_pages = limits.memory_bytes.is_multiple_of(PAGE_BYTES);
    let wide = |value: usize| u64::try_from(value).unwrap_or(u64::MAX);
    let rules = [
        ("fuel", limits.fuel, limits.fuel > 0, "more than 0"),
        ("deadline_ms", limits.deadline_ms, (1..=60_000).contains(&limits.deadline_ms), "1 to 60000"),
        (
            "memory_bytes",
            wide(limits.memory_bytes),
            whole_pages && (PAGE_BYTES..=MEMORY_CEILING_BYTES).contains(&limits.memory_bytes),
            "whole pages of 65536, up to 256 MiB",
        ),
        ("component_bytes", wide(limits.component_bytes), limits.component_bytes > 0, "more than 0"),
        ("result_bytes", wide(limits.result_bytes), limits.result_bytes > 0, "more than 0"),
        // Every slot reserves more than 4 GiB of address space.
        ("lanes", wide(limits.lanes), (1..=256).contains(&limits.lanes), "1 to 256"),
    ];
    match rules.into_iter().find(|(_, _, holds, _)| !holds) {
        None => Ok(()),
        Some((limit, found, _, expected)) => Err(RuntimeError::Limit { limit, found, expected }),
    }
}

fn config(limits: &RuntimeLimits) -> Config {
    let mut config = Config::new();
    config
        .allocation_strategy(InstanceAllocationStrategy::Pooling(pool(limits)))
        .cranelift_opt_level(OptLevel::Speed)
        // INVARIANT: fuel decides and is the same everywhere; the epoch only bounds wall time.
        .consume_fuel(true)
        .epoch_interruption(true)
        .cranelift_nan_canonicalization(true)
        .wasm_simd(false)
        .wasm_relaxed_simd(false)
        .wasm_memory64(false)
        .wasm_multi_memory(false)
        .wasm_tail_call(false)
        .max_wasm_stack(WASM_STACK_BYTES)
        .memory_init_cow(true)
        .generate_address_map(false)
        // A trap's frames would name functions of the policy and nothing a caller may learn.
        .wasm_backtrace_max_frames(None);
    config
}

fn pool(limits: &RuntimeLimits) -> PoolingAllocationConfig {
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(SLOTS_PER_LANE)
        .total_core_instances(SLOTS_PER_LANE)
        .total_memories(SLOTS_PER_LANE)
        .total_tables(SLOTS_PER_LANE)
        .max_core_instances_per_component(1)
        .max_memories_per_component(1)
        .max_tables_per_component(1)
        .max_memory_size(limits.memory_bytes)
        .table_elements(TABLE_ELEMENTS)
        .max_component_instance_size(256 << 10)
        .max_core_instance_size(256 << 10)
        .max_unused_warm_slots(SLOTS_PER_LANE)
        .linear_memory_keep_resident(KEEP_RESIDENT_BYTES)
        .table_keep_resident(TABLE_ELEMENTS * size_of::<usize>())
        // SECURITY: a swapped-out page would escape the scan and show the next call what the last
        // one wrote.
        .pagemap_scan(Enabled::No)
        .decommit_batch_size(1);
    pool
}

#[cfg(test)]
mod tests {
    use super::{MEMORY_CEILING_BYTES, Runtime, RuntimeError, RuntimeLimits, deadline_ticks, lane};

    fn refused(limits: RuntimeLimits) -> Option<&'static str> {
        match Runtime::new(limits) {
            Ok(_) => None,
            Err(RuntimeError::Limit { limit, .. }) => Some(limit),
            Err(other) => panic!("{other}"),
        }
    }

    #[test]
    fn a_limit_outside_its_range_is_refused_by_name() {
        let good = || RuntimeLimits { lanes: 1, ..RuntimeLimits::default() };
        assert_eq!(refused(good()), None);
        assert_eq!(refused(RuntimeLimits { fuel: 0, ..good() }), Some("fuel"));
        assert_eq!(refused(RuntimeLimits { deadline_ms: 0, ..good() }), Some("deadline_ms"));
        assert_eq!(refused(RuntimeLimits { deadline_ms: 60_000, ..good() }), None);
        assert_eq!(refused(RuntimeLimits { deadline_ms: 60_001, ..good() }), Some("deadline_ms"));
        assert_eq!(refused(RuntimeLimits { memory_bytes: 65_536, ..good() }), None);
        assert_eq!(refused(RuntimeLimits { memory_bytes: 65_535, ..good() }), Some("memory_bytes"));
        assert_eq!(refused(RuntimeLimits { memory_bytes: MEMORY_CEILING_BYTES, ..good() }), None);
        let over = MEMORY_CEILING_BYTES + 65_536;
        assert_eq!(refused(RuntimeLimits { memory_bytes: over, ..good() }), Some("memory_bytes"));
        assert_eq!(refused(RuntimeLimits { component_bytes: 0, ..good() }), Some("component_bytes"));
        assert_eq!(refused(RuntimeLimits { result_bytes: 0, ..good() }), Some("result_bytes"));
        assert_eq!(refused(RuntimeLimits { lanes: 0, ..good() }), Some("lanes"));
        assert_eq!(refused(RuntimeLimits { lanes: 257, ..good() }), Some("lanes"));
    }

    #[test]
    fn a_thread_keeps_its_lane() {
        let first = lane(1_000_000);
        assert_eq!(lane(1_000_000), first);
        let other = std::thread::spawn(|| lane(1_000_000)).join().unwrap();
        assert_ne!(other, first);
    }

    #[test]
    fn a_lane_is_always_one_there_is() {
        assert!((1..9).all(|lanes| lane(lanes) < lanes));
    }

    #[test]
    fn a_deadline_never_comes_early_and_never_at_once() {
        assert_eq!(deadline_ticks(0), 2);
        assert_eq!(deadline_ticks(1), 2);
        assert_eq!(deadline_ticks(50), 51);
        assert_eq!(deadline_ticks(u64::MAX), u64::MAX);
    }
}
