//! A policy that was admitted, and one call of it.
//!
//! Every call has a store and an instance of its own, so nothing of one decision can reach the next.
//! It runs on the calling thread: handing it to another would cost more than the call.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use chartgate_model::{Decision, FilterOutcome, GrantDecision, GrantInput, Item, PolicyInput};
use wasmtime::component::InstancePre;
use wasmtime::{Engine, PoolConcurrencyLimitError, ResourceLimiter, Store, Trap};

use crate::bindings::exports::chartgate::policy::{access, describe, grant};
use crate::convert::grant::GrantArguments;
use crate::convert::{self, Arguments, OutputError};
use crate::describe::Description;
use crate::engine::{Runtime, RuntimeLimits, deadline_ticks, lane};

/// What one policy may use: the smaller of what its release asks for and what the host allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PolicyLimits {
    /// instructions of one call, in fuel units
    pub fuel: u64,
    /// linear memory of one call
    pub memory_bytes: usize,
}

impl PolicyLimits {
    /// What a release asks for, cut to what the host allows.
    #[must_use]
    pub fn within(self, host: &RuntimeLimits) -> Self {
        Self { fuel: self.fuel.min(host.fuel), memory_bytes: self.memory_bytes.min(host.memory_bytes) }
    }
}

/// The answer of a call that came to an end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Called {
    /// what the policy decided
    pub decision: Decision,
    /// fuel the call used; equal for equal inputs under one version of the engine
    pub fuel_used: u64,
}

/// The answer of a call about a grant that came to an end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CalledGrant {
    /// what the policy decided
    pub decision: GrantDecision,
    /// fuel the call used
    pub fuel_used: u64,
}

/// A call that did not come to a decision. Never a permit: the caller answers *indeterminate*.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// The policy crashed.
    #[error("the policy trapped")]
    Trap,
    /// The policy ran longer than its fuel; every replay does.
    #[error("the policy used up its fuel")]
    FuelExhausted,
    /// The policy ran into the wall-time limit; a replay may not.
    #[error("the policy ran past its deadline")]
    DeadlineExceeded,
    /// The policy asked for more memory than it may have, or was given more than fits.
    #[error("the policy wanted more memory than it may have")]
    MemoryExceeded,
    /// The policy answered something outside of the contract.
    #[error("the policy's answer is invalid")]
    Output(#[from] OutputError),
    /// The policy does not decide on grants.
    #[error("the policy does not decide on grants")]
    NoGrants,
    /// All instances of this lane are in use.
    #[error("too many policy calls at once")]
    Busy,
    /// The engine failed.
    #[error("the policy call failed")]
    Internal,
}

impl CallError {
    /// The stable reason code, for records and answers.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Trap => "policy-trapped",
            Self::FuelExhausted => "policy-fuel-exhausted",
            Self::DeadlineExceeded => "policy-deadline-exceeded",
            Self::MemoryExceeded => "policy-memory-exceeded",
            Self::Output(_) => "policy-output-invalid",
            Self::NoGrants => "policy-grants-nothing",
            Self::Busy => "policy-busy",
            Self::Internal => "policy-failed",
        }
    }

    /// Whether the same input gives the same failure again. A deadline, a full pool and a failing
    /// engine depend on the machine.
    pub fn is_replayable(&self) -> bool {
        match self {
            Self::Trap | Self::FuelExhausted | Self::MemoryExceeded | Self::Output(_) | Self::NoGrants => true,
            Self::DeadlineExceeded | Self::Busy | Self::Internal => false,
        }
    }
}

/// A component compiled for one lane. INVARIANT: nothing of one lane's engine meets another's.
pub(crate) struct Program {
    pub(crate) engine: Engine,
    pub(crate) pre: InstancePre<CallState>,
    pub(crate) access: access::GuestIndices,
    pub(crate) describe: describe::GuestIndices,
    pub(crate) grant: Option<grant::GuestIndices>,
}

/// What a store knows of its call.
pub(crate) struct CallState {
    memory_bytes: usize,
    memory_refused: bool,
}

impl ResourceLimiter for CallState {
    fn memory_growing(&mut self, _now: usize, wanted: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        let allowed = wanted <= maximum.unwrap_or(usize::MAX).min(self.memory_bytes);
        self.memory_refused |= !allowed;
        Ok(allowed)
    }

    fn memory_grow_failed(&mut self, _error: wasmtime::Error) -> wasmtime::Result<()> {
        self.memory_refused = true;
        Ok(())
    }

    fn table_growing(&mut self, _now: usize, wanted: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        Ok(wanted <= maximum.unwrap_or(usize::MAX))
    }
}

/// A policy ready to be called, from any thread.
pub struct LoadedPolicy {
    /// what it says of itself
    pub description: Description,
    /// digest of the component file, `sha256:…`
    pub component_digest: String,
    /// the contract's interfaces it exports and this host serves, in order
    pub interfaces: Vec<String>,
    /// what a call may use
    pub limits: PolicyLimits,
    /// its code works with floating-point numbers; still deterministic, NaNs are made canonical
    pub uses_floats: bool,
    pub(crate) programs: Vec<Program>,
    pub(crate) runtime: Arc<Runtime>,
}

impl LoadedPolicy {
    /// Judge one interaction: a fresh instance, within the limits, on this thread.
    pub fn decide(&self, input: &PolicyInput<'_>) -> Result<Called, CallError> {
        let arguments = Arguments::new(input);
        let (answer, fuel_used) = self.access(|policy, store| policy.call_decide(store, arguments.request()))?;
        let decision = convert::decision(answer, input.facts_final, input.decision.explain)?;
        Ok(Called { decision, fuel_used })
    }

    /// Judge resources of an answer to a request: a fresh instance, within the limits, on this thread. Answers the
    /// fuel used beside what came of it.
    pub fn filter(&self, input: &PolicyInput<'_>, items: &[Item<'_>]) -> Result<(FilterOutcome, u64), CallError> {
        let (arguments, crossing) = (Arguments::new(input), convert::items(items));
        let (outcome, fuel_used) =
            self.access(|policy, store| policy.call_filter(store, arguments.request(), &crossing))?;
        Ok((convert::filter_outcome(outcome, items.len(), input.facts_final)?, fuel_used))
    }

    /// One call of the interface `access`.
    fn access<T>(
        &self,
        run: impl FnOnce(&access::Guest, &mut Store<CallState>) -> wasmtime::Result<T>,
    ) -> Result<(T, u64), CallError> {
        let program = self.programs.get(lane(self.programs.len())).ok_or(CallError::Internal)?;
        call(program, self.limits, self.runtime.limits(), |store| {
            let instance = program.pre.instantiate(&mut *store).map_err(Failure::Setup)?;
            let policy = program.access.load(&mut *store, &instance).map_err(Failure::Setup)?;
            run(&policy, store).map_err(Failure::Call)
        })
    }

    /// Whether it decides on grants.
    pub fn grants(&self) -> bool {
        self.programs.iter().all(|program| program.grant.is_some())
    }

    /// Judge one grant: a fresh instance, within the limits, on this thread.
    pub fn grant(&self, input: &GrantInput<'_>) -> Result<CalledGrant, CallError> {
        let arguments = GrantArguments::new(input);
        let program = self.programs.get(lane(self.programs.len())).ok_or(CallError::Internal)?;
        let indices = program.grant.as_ref().ok_or(CallError::NoGrants)?;
        let (answer, fuel_used) = call(program, self.limits, self.runtime.limits(), |store| {
            let instance = program.pre.instantiate(&mut *store).map_err(Failure::Setup)?;
            let policy = indices.load(&mut *store, &instance).map_err(Failure::Setup)?;
            policy.call_decide(store, arguments.request()).map_err(Failure::Call)
        })?;
        Ok(CalledGrant { decision: convert::grant::decision(answer, input)?, fuel_used })
    }
}

impl std::fmt::Debug for LoadedPolicy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LoadedPolicy")
            .field("name", &self.description.name)
            .field("version", &self.description.version)
            .field("component_digest", &self.component_digest)
            .finish_non_exhaustive()
    }
}

/// Where a call failed: before the policy's own function ran, or in it.
pub(crate) enum Failure {
    Setup(wasmtime::Error),
    Call(wasmtime::Error),
}

/// One limited run in a store of its own; answers the fuel used beside the result.
pub(crate) fn call<T>(
    program: &Program,
    limits: PolicyLimits,
    host: &RuntimeLimits,
    run: impl FnOnce(&mut Store<CallState>) -> Result<T, Failure>,
) -> Result<(T, u64), CallError> {
    let limited = || -> Result<(T, u64), CallError> {
        let state = CallState { memory_bytes: limits.memory_bytes, memory_refused: false };
        let mut store = Store::new(&program.engine, state);
        store.limiter(|state| state);
        // INVARIANT: a call that ends with the extra unit gone has used more than its fuel. The engine
        // looks only now and then, so a call may overdraw after the last look and still come to its end.
        let fuel = limits.fuel.saturating_add(1);
        store.set_fuel(fuel).map_err(|_| CallError::Internal)?;
        store.set_epoch_deadline(deadline_ticks(host.deadline_ms));
        // What the policy may hand back; the default would be 128 MiB.
        store.set_hostcall_fuel(host.result_bytes);
        let outcome = run(&mut store);
        let refused = store.data().memory_refused;
        let value = outcome.map_err(|failure| classify(&failure, refused))?;
        // A policy that was refused memory and went on may have judged on half of its input.
        if refused {
            return Err(CallError::MemoryExceeded);
        }
        match store.get_fuel().map_err(|_| CallError::Internal)? {
            0 => Err(CallError::FuelExhausted),
            left => Ok((value, fuel.saturating_sub(left))),
        }
    };
    // SECURITY: a panic of the engine must not take the worker along, nor pass for an answer. The
    // store dies with the unwinding, so nothing half-done is seen again.
    catch_unwind(AssertUnwindSafe(limited)).unwrap_or(Err(CallError::Internal))
}

fn classify(failure: &Failure, memory_refused: bool) -> CallError {
    let (Failure::Setup(error) | Failure::Call(error)) = failure;
    match error.downcast_ref::<Trap>() {
        Some(Trap::Interrupt) => CallError::DeadlineExceeded,
        Some(Trap::OutOfFuel) => CallError::FuelExhausted,
        Some(_) if memory_refused => CallError::MemoryExceeded,
        Some(_) => CallError::Trap,
        None if error.is::<PoolConcurrencyLimitError>() => CallError::Busy,
        // Past the traps only reading the answer can fail: bad UTF-8, an unknown case, too much.
        None => match failure {
            Failure::Setup(_) => CallError::Internal,
            Failure::Call(_) => CallError::Output(OutputError::Unreadable),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::{CallError, PolicyLimits};
    use crate::engine::RuntimeLimits;

    #[test]
    fn a_release_gets_the_smaller_of_what_it_asks_and_what_the_host_allows() {
        let host = RuntimeLimits { fuel: 100, memory_bytes: 65_536, ..RuntimeLimits::default() };
        let asked = |fuel, memory_bytes| PolicyLimits { fuel, memory_bytes }.within(&host);
        assert_eq!(asked(99, 1), PolicyLimits { fuel: 99, memory_bytes: 1 });
        assert_eq!(asked(101, 65_537), PolicyLimits { fuel: 100, memory_bytes: 65_536 });
    }

    #[test]
    fn only_failures_of_the_policy_itself_are_replayable() {
        assert!(CallError::FuelExhausted.is_replayable());
        assert!(!CallError::DeadlineExceeded.is_replayable());
        assert!(!CallError::Busy.is_replayable());
    }
}
