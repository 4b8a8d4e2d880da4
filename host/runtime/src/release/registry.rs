//! All releases of one policies folder, verified and ready to be called.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use chartgate_model::ReleasePin;

use super::KEYS_FOLDER;
use super::folder::{Contents, ReleaseError, VerifiedFolder, check_component};
use super::invariants;
use super::manifest::{Base, Manifest};
use super::signature::TrustedKeys;
use crate::admission::admit;
use crate::engine::Runtime;
use crate::policy::LoadedPolicy;

/// Releases of one folder; more is a mistake or an attack.
const MAX_RELEASES: usize = 1_000;

/// A verified, compiled release. It never changes.
#[derive(Debug)]
pub struct Release {
    /// `smart-access`
    pub name: String,
    /// `1.0.0`
    pub version: String,
    /// identity, `sha256:…` of the manifest's exact bytes
    pub digest: String,
    /// `sha256:…` of the component, of a base perhaps
    pub component_digest: String,
    /// the manifest
    pub manifest: Manifest,
    /// its exact bytes
    pub manifest_bytes: Vec<u8>,
    /// settings of every call, JSON bytes
    pub settings: Vec<u8>,
    /// name of the trusted key that signed it
    pub signed_by: String,
    /// where it was read from
    pub folder: PathBuf,
    /// the policy, within the release's limits
    pub policy: Arc<LoadedPolicy>,
}

/// A release that is not served.
#[derive(Debug, Clone)]
pub struct Refused {
    /// its folder
    pub folder: PathBuf,
    /// `name` and `version` of that folder, whatever is inside
    pub place: (String, String),
    /// why
    pub error: Arc<ReleaseError>,
}

/// What a [`Registry::reload`] found.
#[derive(Debug, Clone, Default)]
pub struct Reloaded {
    /// identities that are new, in the order of their folders
    pub added: Vec<String>,
    /// everything that is refused now
    pub refused: Vec<Refused>,
}

/// The folder of releases itself cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// It is not there, or not to be read.
    #[error("cannot read the policies folder `{}`", folder.display())]
    Io {
        /// the folder within
        folder: PathBuf,
        /// why
        #[source]
        source: std::io::Error,
    },
    /// More releases than are taken.
    #[error("`{}` holds more than {MAX_RELEASES} releases", folder.display())]
    TooMany {
        /// the folder
        folder: PathBuf,
    },
}

/// A pin that leads to no release.
#[derive(Debug, Clone, thiserror::Error)]
pub enum LookupError {
    /// There is no such release.
    #[error("there is no release `{pin}`")]
    Unknown {
        /// as asked
        pin: ReleasePin,
    },
    /// There is one, and it was refused.
    #[error("the release `{pin}` was refused")]
    Refused {
        /// as asked
        pin: ReleasePin,
        /// why
        #[source]
        error: Arc<ReleaseError>,
    },
}

#[derive(Debug, Clone, Default)]
struct State {
    by_digest: HashMap<String, Arc<Release>>,
    by_version: HashMap<(String, String), Arc<Release>>,
    refused: Vec<Refused>,
}

/// The releases of a folder. What was loaded once stays, whatever becomes of its folder: a record
/// that names it can be replayed, and a bad release never replaces a good one.
#[derive(Debug)]
pub struct Registry {
    runtime: Arc<Runtime>,
    folder: PathBuf,
    keys: TrustedKeys,
    state: RwLock<State>,
    // One reload at a time; compiling happens under this lock and never under the one above.
    reloading: Mutex<()>,
}

/// A folder that should hold a release, and the name and version it is to have.
type Found = (PathBuf, (String, String));

impl Registry {
    /// Read a policies folder. A bad release does not fail this: it is listed in [`Self::refused`].
    pub fn open(runtime: Arc<Runtime>, folder: &Path, keys: TrustedKeys) -> Result<Self, RegistryError> {
        let registry =
            Self { runtime, folder: folder.to_owned(), keys, state: RwLock::default(), reloading: Mutex::default() };
        registry.reload()?;
        Ok(registry)
    }

    /// Look at the folder again: new releases are verified, compiled and added.
    pub fn reload(&self) -> Result<Reloaded, RegistryError> {
        let _one = self.reloading.lock().unwrap_or_else(PoisonError::into_inner);
        let mut state = self.snapshot();
        state.refused.clear();
        let mut added = Vec::new();
        let mut waiting = Vec::new();
        for (folder, place) in self.folders()? {
            match VerifiedFolder::read(&folder, &self.keys, self.runtime.limits().component_bytes) {
                // Releases on a base come after all others, so that their base is there.
                Ok(verified) if verified.contents.manifest.base.is_some() => waiting.push((place, verified)),
                Ok(verified) => self.take(&mut state, &mut added, place, verified),
                Err(error) => state.refused.push(Refused { folder, place, error: Arc::new(error) }),
            }
        }
        for (place, verified) in waiting {
            self.take(&mut state, &mut added, place, verified);
        }
        let refused = state.refused.clone();
        *self.state.write().unwrap_or_else(PoisonError::into_inner) = state;
        Ok(Reloaded { added, refused })
    }

    /// The release of a pin.
    pub fn get(&self, pin: &ReleasePin) -> Result<Arc<Release>, LookupError> {
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        let (found, refused) = match pin {
            ReleasePin::Digest(digest) => (state.by_digest.get(digest), None),
            ReleasePin::Version { name, version } => {
                let place = (name.clone(), version.clone());
                let refused = state.refused.iter().find(|refused| refused.place == place);
                (state.by_version.get(&place), refused)
            }
        };
        match (found, refused) {
            (Some(release), _) => Ok(Arc::clone(release)),
            (None, Some(refused)) => Err(LookupError::Refused { pin: pin.clone(), error: Arc::clone(&refused.error) }),
            (None, None) => Err(LookupError::Unknown { pin: pin.clone() }),
        }
    }

    /// All releases, by name and then version (SemVer precedence).
    pub fn releases(&self) -> Vec<Arc<Release>> {
        let mut releases: Vec<_> = self.snapshot().by_digest.into_values().collect();
        let version = |release: &Release| semver::Version::parse(&release.version).ok();
        releases.sort_by(|a, b| a.name.cmp(&b.name).then_with(|| version(a).cmp(&version(b))));
        releases
    }

    /// What the last look at the folder refused.
    pub fn refused(&self) -> Vec<Refused> {
        self.snapshot().refused
    }

    /// The folder this registry reads.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    fn snapshot(&self) -> State {
        self.state.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn take(&self, state: &mut State, added: &mut Vec<String>, place: (String, String), verified: VerifiedFolder) {
        if state.by_digest.contains_key(&verified.contents.digest) {
            return;
        }
        let folder = verified.contents.path.clone();
        match self.load(state, &place, verified) {
            Ok(release) => {
                added.push(release.digest.clone());
                state.by_digest.insert(release.digest.clone(), Arc::clone(&release));
                state.by_version.insert(place, release);
            }
            Err(error) => state.refused.push(Refused { folder, place, error: Arc::new(error) }),
        }
    }

    fn load(
        &self,
        state: &State,
        place: &(String, String),
        verified: VerifiedFolder,
    ) -> Result<Arc<Release>, ReleaseError> {
        let VerifiedFolder { contents, signed_by } = verified;
        if let Some(known) = state.by_version.get(place) {
            return Err(ReleaseError::Changed {
                release: format!("{}@{}", place.0, place.1),
                known: known.digest.clone(),
                found: contents.digest,
            });
        }
        let policy = self.policy(state, &contents)?;
        promised("interfaces", &contents.manifest.interfaces, &policy.interfaces)?;
        promised("fhir_versions", &contents.manifest.fhir_versions, &policy.description.fhir_versions)?;
        // With the settings of this release: they may open what another release of the component keeps shut.
        invariants::check(&policy, contents.manifest.settings_bytes()).map_err(ReleaseError::Invariant)?;
        let Contents { path, manifest, manifest_bytes, digest, .. } = contents;
        Ok(Arc::new(Release {
            name: manifest.name.clone(),
            version: manifest.version.clone(),
            digest,
            component_digest: policy.component_digest.clone(),
            settings: manifest.settings_bytes().to_vec(),
            manifest,
            manifest_bytes,
            signed_by,
            folder: path,
            policy,
        }))
    }

    /// The compiled policy of a folder; shared with releases of the same component and limits.
    fn policy(&self, state: &State, contents: &Contents) -> Result<Arc<LoadedPolicy>, ReleaseError> {
        let asked = contents.manifest.policy_limits();
        let limits = asked.within(self.runtime.limits());
        let digest = format!("sha256:{}", contents.manifest.component.sha256);
        let from_base;
        let component = match (&contents.component, &contents.manifest.base) {
            (Some(component), _) => component,
            (None, Some(base)) => {
                from_base = self.base_component(state, base, &contents.manifest)?;
                &from_base
            }
            (None, None) => return Err(ReleaseError::BaseUnknown { base: digest }),
        };
        let same = |release: &&Arc<Release>| release.component_digest == digest && release.policy.limits == limits;
        if let Some(known) = state.by_digest.values().find(same) {
            return Ok(Arc::clone(&known.policy));
        }
        admit(&self.runtime, component, asked).map(Arc::new).map_err(ReleaseError::Admission)
    }

    /// The component file of a base, read again and held against this release's own manifest.
    fn base_component(&self, state: &State, base: &Base, manifest: &Manifest) -> Result<Vec<u8>, ReleaseError> {
        let shown = || format!("{}@{} {}", base.name, base.version, base.digest);
        let known = state.by_digest.get(&base.digest).ok_or_else(|| ReleaseError::BaseUnknown { base: shown() })?;
        if known.name != base.name || known.version != base.version {
            return Err(ReleaseError::Base { base: shown(), found: "another release than the digest's" });
        }
        if known.manifest.base.is_some() {
            return Err(ReleaseError::Base { base: shown(), found: "based on a release itself" });
        }
        let path = known.folder.join(super::COMPONENT_FILE);
        let component = super::tree::read_file(&path, self.runtime.limits().component_bytes)
            .map_err(|source| ReleaseError::File { path, source })?;
        check_component(&component, manifest)?;
        Ok(component)
    }

    /// Every `<name>/<version>` below the folder, sorted. Files, names with a leading dot and the
    /// folder of keys are not looked at.
    fn folders(&self) -> Result<Vec<Found>, RegistryError> {
        let mut found = Vec::new();
        for (path, name) in entries(&self.folder)? {
            if name == KEYS_FOLDER || !(path.is_dir() || path.is_symlink()) {
                continue;
            }
            // A link instead of a policy's folder is listed as it is, and refused on reading.
            if path.is_symlink() {
                found.push((path, (name, String::new())));
                continue;
            }
            let versions = entries(&path)?.into_iter().filter(|(path, _)| path.is_dir() || path.is_symlink());
            found.extend(versions.map(|(path, version)| (path, (name.clone(), version))));
        }
        if found.len() > MAX_RELEASES {
            return Err(RegistryError::TooMany { folder: self.folder.clone() });
        }
        Ok(found)
    }
}

fn entries(folder: &Path) -> Result<Vec<(PathBuf, String)>, RegistryError> {
    let failed = |source| RegistryError::Io { folder: folder.to_owned(), source };
    let mut entries = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if !name.starts_with('.') {
            entries.push((entry.path(), name));
        }
    }
    entries.sort();
    Ok(entries)
}

fn promised(member: &'static str, signed: &[String], found: &[String]) -> Result<(), ReleaseError> {
    let sorted = |list: &[String]| {
        let mut list = list.to_vec();
        list.sort();
        list
    };
    let (signed, found) = (sorted(signed), sorted(found));
    if signed == found { Ok(()) } else { Err(ReleaseError::Description { member, signed, found }) }
}
