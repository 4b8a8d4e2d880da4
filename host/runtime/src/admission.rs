//! Whether a component may run as a policy at all.
//!
//! The cheap and the telling checks come first: size, validity, imports, interfaces, memory; only
//! then is it compiled, for every lane, off the request path, and asked to describe itself in each.

use std::sync::Arc;

use wasmparser::component_types::{ComponentAnyTypeId, ComponentEntityType};
use wasmparser::{Parser, Payload, Validator, WasmFeatures};
use wasmtime::Engine;
use wasmtime::component::{Component, Linker};

use crate::bindings::exports::chartgate::policy::{access, describe, grant};
use crate::describe::{Description, DescriptionError};
use crate::digest::sha256;
use crate::engine::Runtime;
use crate::policy::{CallError, Failure, LoadedPolicy, PolicyLimits, Program, call};

/// Interfaces every policy exports, in the versions this host serves.
pub const INTERFACES: [&str; 2] = ["chartgate:policy/access@0.1.0", "chartgate:policy/describe@0.1.0"];

/// An interface a policy may lack: then nothing can be granted by it.
pub const GRANT_INTERFACE: &str = "chartgate:policy/grant@0.1.0";

const PAGE_BYTES: u64 = 65_536;

/// What a policy's code may be made of. No SIMD, threads, garbage collection, exceptions, 64-bit or
/// several memories, tail calls: none is needed, and each is more engine to trust.
const FEATURES: WasmFeatures = WasmFeatures::MUTABLE_GLOBAL
    .union(WasmFeatures::SATURATING_FLOAT_TO_INT)
    .union(WasmFeatures::SIGN_EXTENSION)
    .union(WasmFeatures::REFERENCE_TYPES)
    .union(WasmFeatures::MULTI_VALUE)
    .union(WasmFeatures::BULK_MEMORY)
    .union(WasmFeatures::EXTENDED_CONST)
    .union(WasmFeatures::COMPONENT_MODEL);

/// Why a component is refused.
#[derive(Debug, thiserror::Error)]
pub enum AdmissionError {
    /// More bytes than the host takes.
    #[error("the component has {found} bytes, at most {limit} are taken")]
    TooLarge {
        /// its size
        found: usize,
        /// [`crate::RuntimeLimits::component_bytes`]
        limit: usize,
    },
    /// A core module, WebAssembly text, or something else altogether.
    #[error("it is {found}, not a WebAssembly component")]
    NotAComponent {
        /// what it looks like
        found: &'static str,
    },
    /// Malformed, or made of features that policies may not use.
    #[error("it is not valid under the features a policy may use")]
    Invalid(#[source] wasmparser::Error),
    /// It wants something of the host.
    #[error("it imports {}, a policy may import nothing", quoted(.0))]
    Imports(
        /// `instance#item`, or the bare name of an import outside of an instance
        Vec<String>,
    ),
    /// Built for another version of the contract.
    #[error("unknown interface version `{found}`, this host serves {served}")]
    InterfaceVersion {
        /// as exported
        found: String,
        /// the version, `0.1.0`
        served: &'static str,
    },
    /// An interface is not there in any version.
    #[error("it does not export `{missing}`; it exports {}", quoted(found))]
    InterfaceMissing {
        /// what it has to export
        missing: &'static str,
        /// what it does export
        found: Vec<String>,
    },
    /// Its memory could grow without end.
    #[error("its memory declares no maximum")]
    MemoryUnbounded,
    /// Its memory could grow past the limit.
    #[error("its memory may grow to {declared} bytes, at most {limit} are allowed")]
    MemoryTooLarge {
        /// the declared maximum
        declared: u64,
        /// the smaller of the host's and the release's limit
        limit: u64,
    },
    /// The compiler or the instance pool refuses it.
    #[error("it cannot be compiled")]
    Compile(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// An interface has the right name and the wrong functions or types, or it cannot be instantiated.
    #[error("it does not fit the interfaces it exports")]
    Mismatch(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// `describe` failed.
    #[error("it cannot describe itself")]
    Describe(#[source] CallError),
    /// `describe` answered something malformed.
    #[error("its description is malformed")]
    Description(#[from] DescriptionError),
    /// Two calls of `describe` differ.
    #[error("it describes itself differently from call to call")]
    DescriptionUnstable,
    /// The engine failed.
    #[error("the engine failed on it")]
    Internal,
}

fn quoted(names: &[String]) -> String {
    if names.is_empty() {
        return "nothing".to_owned();
    }
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

/// Check, compile and try a component. `asked` are the limits of its release; the host's bound them.
pub fn admit(runtime: &Arc<Runtime>, component: &[u8], asked: PolicyLimits) -> Result<LoadedPolicy, AdmissionError> {
    let limits = asked.within(runtime.limits());
    let limit = runtime.limits().component_bytes;
    if component.len() > limit {
        return Err(AdmissionError::TooLarge { found: component.len(), limit });
    }
    let uses_floats = inspect(component, limits.memory_bytes)?;
    let programs = compile(runtime, component)?;
    let description = describe_all(runtime, &programs, limits)?;
    Ok(LoadedPolicy {
        description,
        component_digest: sha256(component),
        interfaces: interfaces(&programs),
        limits,
        uses_floats,
        programs,
        runtime: Arc::clone(runtime),
    })
}

/// What it exports of what this host serves, in order.
fn interfaces(programs: &[Program]) -> Vec<String> {
    let grants = programs.iter().all(|program| program.grant.is_some());
    let optional = grants.then_some(GRANT_INTERFACE);
    INTERFACES.into_iter().chain(optional).map(str::to_owned).collect()
}

/// Everything that can be told without compiling; answers whether floating-point code is in it.
fn inspect(component: &[u8], memory_bytes: usize) -> Result<bool, AdmissionError> {
    if !Parser::is_component(component) {
        let found = if Parser::is_core_wasm(component) { "a core module" } else { "something else" };
        return Err(AdmissionError::NotAComponent { found });
    }
    let plain = Validator::new_with_features(FEATURES).validate_all(component);
    let uses_floats = plain.is_err();
    let types = match plain {
        Ok(types) => types,
        Err(_) => Validator::new_with_features(FEATURES.union(WasmFeatures::FLOATS))
            .validate_all(component)
            .map_err(AdmissionError::Invalid)?,
    };
    let surface = Surface::read(component).map_err(AdmissionError::Invalid)?;
    refuse_imports(&surface, &types)?;
    require_interfaces(&surface.exports)?;
    surface.memories.iter().try_for_each(|maximum| bounded(*maximum, memory_bytes))?;
    Ok(uses_floats)
}

/// Names at the component's own boundary, and the maximum pages of every memory within.
#[derive(Default)]
struct Surface {
    imports: Vec<String>,
    exports: Vec<String>,
    memories: Vec<Option<u64>>,
}

impl Surface {
    fn read(component: &[u8]) -> Result<Self, wasmparser::Error> {
        let mut surface = Self::default();
        // Depth 1 is the component itself; modules and components inside it lie deeper.
        let mut depth = 0u32;
        for payload in Parser::new(0).parse_all(component) {
            match payload? {
                Payload::Version { .. } => depth = depth.saturating_add(1),
                Payload::End(_) => depth = depth.saturating_sub(1),
                Payload::ComponentImportSection(section) if depth == 1 => {
                    for import in section {
                        surface.imports.push(import?.name.name.to_owned());
                    }
                }
                Payload::ComponentExportSection(section) if depth == 1 => {
                    for export in section {
                        surface.exports.push(export?.name.name.to_owned());
                    }
                }
                Payload::MemorySection(section) => {
                    for memory in section {
                        surface.memories.push(memory?.maximum);
                    }
                }
                _ => {}
            }
        }
        Ok(surface)
    }
}

/// SECURITY: a policy with a host function could look at a clock or leak what it judges. An instance
/// of nothing but types is what `use` leaves behind; it gives a policy nothing.
fn refuse_imports(surface: &Surface, types: &wasmparser::types::Types) -> Result<(), AdmissionError> {
    let mut refused = Vec::new();
    for name in &surface.imports {
        match types.component_item_for_import(name).map(|item| &item.ty) {
            Some(ComponentEntityType::Instance(instance)) => {
                let items = types.as_ref().get(*instance).into_iter().flat_map(|instance| &instance.exports);
                refused.extend(
                    items.filter(|(_, item)| !is_plain_type(&item.ty)).map(|(item, _)| format!("{name}#{item}")),
                );
            }
            Some(entity) if is_plain_type(entity) => {}
            _ => refused.push(name.clone()),
        }
    }
    if refused.is_empty() { Ok(()) } else { Err(AdmissionError::Imports(refused)) }
}

fn is_plain_type(entity: &ComponentEntityType) -> bool {
    matches!(entity, ComponentEntityType::Type { created, .. } if !matches!(created, ComponentAnyTypeId::Resource(_)))
}

fn require_interfaces(exports: &[String]) -> Result<(), AdmissionError> {
    for served in INTERFACES {
        if exports.iter().any(|export| export == served) {
            continue;
        }
        // wasmtime would match versions by compatibility; a policy runs against what it was built for.
        let (interface, version) = served.split_once('@').unwrap_or((served, ""));
        let other = |export: &&String| export.split_once('@').map_or(export.as_str(), |(name, _)| name) == interface;
        return Err(match exports.iter().find(other) {
            Some(found) => AdmissionError::InterfaceVersion { found: found.clone(), served: version },
            None => AdmissionError::InterfaceMissing { missing: served, found: exports.to_vec() },
        });
    }
    Ok(())
}

fn bounded(maximum_pages: Option<u64>, memory_bytes: usize) -> Result<(), AdmissionError> {
    let declared = maximum_pages.ok_or(AdmissionError::MemoryUnbounded)?.saturating_mul(PAGE_BYTES);
    let limit = u64::try_from(memory_bytes).unwrap_or(u64::MAX);
    if declared > limit { Err(AdmissionError::MemoryTooLarge { declared, limit }) } else { Ok(()) }
}

/// One program per lane, the lanes side by side. Loading one lane's code into the others would need
/// `unsafe`, and trust in machine code; compiling again costs some tens of milliseconds.
fn compile(runtime: &Runtime, component: &[u8]) -> Result<Vec<Program>, AdmissionError> {
    std::thread::scope(|scope| {
        let lanes: Vec<_> =
            runtime.engines().iter().map(|engine| scope.spawn(move || program(engine, component))).collect();
        lanes.into_iter().map(|lane| lane.join().unwrap_or(Err(AdmissionError::Internal))).collect()
    })
}

fn program(engine: &Engine, component: &[u8]) -> Result<Program, AdmissionError> {
    let compiled = Component::from_binary(engine, component).map_err(|error| AdmissionError::Compile(error.into()))?;
    let misfit = |error: wasmtime::Error| AdmissionError::Mismatch(error.into());
    // The linker is empty: whatever an import gate might overlook cannot be satisfied here.
    let pre = Linker::new(engine).instantiate_pre(&compiled).map_err(misfit)?;
    let access = access::GuestIndices::new(&pre).map_err(misfit)?;
    let describe = describe::GuestIndices::new(&pre).map_err(misfit)?;
    // Named exactly, as the others: wasmtime would take a compatible version for it.
    let has_grant = compiled.get_export_index(None, GRANT_INTERFACE).is_some();
    let grant = has_grant.then(|| grant::GuestIndices::new(&pre)).transpose().map_err(misfit)?;
    Ok(Program { engine: engine.clone(), pre, access, describe, grant })
}

/// Ask every lane's program; this is also what proves that all types fit.
fn describe_all(runtime: &Runtime, programs: &[Program], limits: PolicyLimits) -> Result<Description, AdmissionError> {
    let mut known: Option<Description> = None;
    for program in programs {
        typed(program, runtime, limits)?;
        let (found, _) = call(program, limits, runtime.limits(), |store| {
            let instance = program.pre.instantiate(&mut *store).map_err(Failure::Setup)?;
            let policy = program.describe.load(&mut *store, &instance).map_err(Failure::Setup)?;
            policy.call_describe(store).map_err(Failure::Call)
        })
        .map_err(AdmissionError::Describe)?;
        let found = Description::from_wit(found)?;
        if known.as_ref().is_some_and(|known| *known != found) {
            return Err(AdmissionError::DescriptionUnstable);
        }
        known = Some(found);
    }
    known.ok_or(AdmissionError::Internal)
}

/// Instantiate with every exported function's type checked: preparing an instance does not.
fn typed(program: &Program, runtime: &Runtime, limits: PolicyLimits) -> Result<(), AdmissionError> {
    let mut misfit = None;
    let checked = call(program, limits, runtime.limits(), |store| {
        let mut load = || {
            let instance = program.pre.instantiate(&mut *store)?;
            program.access.load(&mut *store, &instance)?;
            program.describe.load(&mut *store, &instance)?;
            program.grant.as_ref().map(|grant| grant.load(&mut *store, &instance)).transpose()
        };
        if let Err(error) = load() {
            misfit = Some(error);
        }
        Ok(())
    });
    match misfit {
        Some(error) => Err(AdmissionError::Mismatch(error.into())),
        None => checked.map(|_| ()).map_err(AdmissionError::Describe),
    }
}
