//! Which release decides: the active one, swapped atomically while requests run, and the exceptions
//! an administrator made.

use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use chartgate_model::{DecisionRequest, Millis, ReleasePin};
use chartgate_runtime::release::{LookupError, Registry, RegistryError, Release};

use crate::causes::chain;
use crate::store::{RolloutError, RolloutState, Store, StoreError};

/// A release may not decide this.
#[derive(Debug, thiserror::Error)]
pub enum SelectError {
    /// no such release, or it was refused when it was loaded
    #[error("no release `{0}`")]
    Unknown(String),
    /// it exists, but neither the rollout nor a pin lets this caller use it
    #[error("release `{0}` is not active, and no pin lets this caller use it")]
    NotAllowed(String),
}

/// The rollout cannot be set so.
#[derive(Debug, thiserror::Error)]
pub enum ChangeError {
    /// the release named by a member is not here or was refused
    #[error("{member}: {source}")]
    Release {
        /// `active`, `pins[0].release`
        member: String,
        /// why
        #[source]
        source: LookupError,
    },
    /// the policies folder cannot be read
    #[error(transparent)]
    Folder(#[from] RegistryError),
    /// somebody else was faster, or the database failed
    #[error(transparent)]
    Save(#[from] RolloutError),
}

/// The rollout cannot be taken up at start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// nothing to decide with
    #[error("there is no usable policy release{0}")]
    NoRelease(String),
    /// the release that was active is gone or was refused
    #[error("the active release `{digest}`: {source}")]
    Active {
        /// its digest
        digest: String,
        /// why
        #[source]
        source: LookupError,
    },
    /// the state cannot be read
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A change of the rollout, by release names.
#[derive(Debug, Clone)]
pub struct Change {
    /// the release to make active
    pub active: ReleasePin,
    /// caller, tenant, release, until
    pub pins: Vec<(String, String, ReleasePin, Millis)>,
}

/// What is live at one moment. A request takes one of these and finishes with it.
pub struct Live {
    /// counts the changes
    pub revision: u64,
    /// the release that decides unless a pin says otherwise
    pub active: Arc<Release>,
    /// as it is kept
    pub state: RolloutState,
    pins: Vec<(String, String, Arc<Release>, Millis)>,
}

/// The rollout of this host.
pub struct Rollout {
    live: ArcSwap<Live>,
    store: Arc<Store>,
    registry: Arc<Registry>,
    changing: Mutex<()>,
}

impl Rollout {
    /// Take up the rollout where it was left; at the very first start the release with the highest
    /// sequence number becomes active.
    pub fn start(store: Arc<Store>, registry: Arc<Registry>, initial: Option<&ReleasePin>) -> Result<Self, StartError> {
        let kept = store.load_rollout()?;
        let live = match &kept.state.active {
            Some(digest) => {
                let find = |digest: &str| registry.get(&ReleasePin::Digest(digest.to_owned()));
                let active = find(digest).map_err(|source| StartError::Active { digest: digest.clone(), source })?;
                // A pin whose release is gone must not move its caller to another one silently.
                let pins = kept.state.pins.iter().map(|pin| {
                    let release = find(&pin.release)
                        .map_err(|source| StartError::Active { digest: pin.release.clone(), source })?;
                    Ok((pin.caller.clone(), pin.tenant.clone(), release, Millis(pin.until_ms)))
                });
                Live {
                    revision: kept.revision,
                    active,
                    pins: pins.collect::<Result<_, StartError>>()?,
                    state: kept.state,
                }
            }
            None => {
                let active = first(&registry, initial)?;
                let state = RolloutState { active: Some(active.digest.clone()), ..RolloutState::default() };
                Live { revision: kept.revision, active, pins: Vec::new(), state }
            }
        };
        Ok(Self { live: ArcSwap::from_pointee(live), store, registry, changing: Mutex::new(()) })
    }

    /// What is live now.
    pub fn live(&self) -> Arc<Live> {
        self.live.load_full()
    }

    /// Every release this host knows.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// The release that decides a request.
    pub fn select(&self, caller: &str, request: &DecisionRequest) -> Result<Arc<Release>, SelectError> {
        let live = self.live.load();
        let pinned = live
            .pins
            .iter()
            .filter(|(name, tenant, _, until)| name == caller && *tenant == request.tenant && request.now < *until);
        let mut pinned = pinned.map(|(_, _, release, _)| release).peekable();
        let Some(wanted) = &request.pin else { return Ok(Arc::clone(pinned.peek().copied().unwrap_or(&live.active))) };
        let found = self.registry.get(wanted).map_err(|_| SelectError::Unknown(wanted.to_string()))?;
        let allowed = request.simulate
            || found.digest == live.active.digest
            || pinned.any(|release| release.digest == found.digest);
        if allowed { Ok(found) } else { Err(SelectError::NotAllowed(wanted.to_string())) }
    }

    /// The release that permitted a request, for the second half of it: live or not, as long as it is kept and verified.
    pub fn bound(&self, digest: &str) -> Result<Arc<Release>, SelectError> {
        let found = self.registry.get(&ReleasePin::Digest(digest.to_owned()));
        found.map_err(|_| SelectError::Unknown(digest.to_owned()))
    }

    /// Set the rollout, if it is still at `expected_revision`. The answer is live when this returns;
    /// a refused change leaves everything as it was.
    pub fn change(&self, expected_revision: u64, change: &Change, now: Millis) -> Result<Arc<Live>, ChangeError> {
        let _one_at_a_time = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let registry = &self.registry;
        let pins = change.pins.iter().map(|(_, _, pin, _)| pin);
        if std::iter::once(&change.active).chain(pins).any(|pin| registry.get(pin).is_err()) {
            // It may have been put there since the last look.
            registry.reload()?;
        }
        let find = |member: String, pin: &ReleasePin| {
            registry.get(pin).map_err(|source| ChangeError::Release { member, source })
        };
        let active = find("active".into(), &change.active)?;
        let pins = change.pins.iter().enumerate().map(|(at, (caller, tenant, pin, until))| {
            Ok((caller.clone(), tenant.clone(), find(format!("pins[{at}].release"), pin)?, *until))
        });
        let pins = pins.collect::<Result<Vec<_>, ChangeError>>()?;
        let before = self.live.load();
        let previous = if before.active.digest == active.digest {
            before.state.previous.clone()
        } else {
            before.state.active.clone()
        };
        let kept_pins = pins.iter().map(|(caller, tenant, release, until)| crate::store::Pin {
            caller: caller.clone(),
            tenant: tenant.clone(),
            release: release.digest.clone(),
            until_ms: until.0,
        });
        let state = RolloutState {
            active: Some(active.digest.clone()),
            previous,
            pins: kept_pins.collect(),
            activated_at_ms: now.0,
        };
        let saved = self.store.save_rollout(expected_revision, &state)?;
        let live = Arc::new(Live { revision: saved.revision, active, state: saved.state, pins });
        self.live.store(Arc::clone(&live));
        Ok(live)
    }
}

fn first(registry: &Registry, initial: Option<&ReleasePin>) -> Result<Arc<Release>, StartError> {
    if let Some(pin) = initial {
        return registry.get(pin).map_err(|source| StartError::Active { digest: pin.to_string(), source });
    }
    registry.releases().into_iter().max_by_key(|release| release.manifest.sequence).ok_or_else(|| {
        let refused = registry
            .refused()
            .into_iter()
            .map(|refused| format!("; `{}` was refused: {}", refused.folder.display(), chain(&*refused.error)));
        StartError::NoRelease(refused.collect())
    })
}
