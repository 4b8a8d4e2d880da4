//! A policy that does what its settings say: `{"behave":"deny"}` and so on. It is the fixture of the
//! engine's tests, and with `deny` (or no word at all) the baseline of its benchmarks.
//!
//! - `deny`: deny `fixture-deny`, after touching nothing
//! - `permit`: permit `fixture-permit` without obligations
//! - `trap`, `loop`, `hog`: crash, never return, use up the memory
//! - `garbage`, `garbage-obligation`: a malformed reason, parameters that are not JSON
//! - `needs`, `needs-many`: ask again for ever, ask for 10,000 keys
//! - `huge`: answer with 1 MiB of text, which fits its memory and not the host's patience
//! - `permit-anybody`: as `permit`, even where no policy may; `permit-break-glass`: permit for break-glass;
//!   `trap-always`: crash even on the requests a release is tried with
//! - `peek`: look for bytes an earlier instance may have left, then fill all memory with such bytes;
//!   `peek-trap`: the same, and crash afterwards

// The policy's own, so that a benchmark against this baseline measures rules and not allocators.
#[path = "../../../policy/src/component/bump.rs"]
mod bump;

wit_bindgen::generate!({ world: "policy", path: "../../wit" });

use exports::chartgate::policy::access::{
    Decision, Denial, DenialBasis, FilterOutcome, Guest as Access, Item, Obligation, Outcome, Permit, Request,
};
use exports::chartgate::policy::describe::{Description, Guest as Describe};

#[global_allocator]
static ALLOCATOR: bump::Bump = bump::Bump::new();

struct Fixture;

impl Describe for Fixture {
    fn describe() -> Description {
        Description {
            name: "fixture".into(),
            version: "0.1.0".into(),
            fhir_versions: vec!["4.0.1".into()],
            settings_schema: br#"{"type":"object"}"#.to_vec(),
            fact_templates: Vec::new(),
        }
    }
}

impl Access for Fixture {
    fn decide(request: Request) -> Decision {
        match behaviour_in(&request) {
            b"permit-anybody" => answer(permit(Vec::new())),
            b"permit-break-glass" if request.facts.iter().any(|fact| speaks_of_break_glass(&fact.value)) => {
                answer(permit(Vec::new()))
            }
            b"permit" => answer(permit(Vec::new())),
            b"trap" | b"trap-always" => core::arch::wasm32::unreachable(),
            b"loop" => spin(),
            b"hog" => hog(),
            b"garbage" => deny("Not A\u{7}Reason"),
            b"garbage-obligation" => {
                answer(permit(vec![Obligation { id: "response-filter".into(), parameters: b"{not json".to_vec() }]))
            }
            b"needs" => answer(Outcome::Needs(vec!["relationships/Practitioner/17".into()])),
            b"needs-many" => answer(Outcome::Needs((0..10_000).map(|n| format!("resource/Patient/{n}")).collect())),
            b"huge" => Decision { text: "x".repeat(1 << 20), ..deny("fixture-deny") },
            b"peek" => peek(),
            b"peek-trap" => {
                peek();
                core::arch::wasm32::unreachable()
            }
            _ => deny("fixture-deny"),
        }
    }

    fn filter(request: Request, items: Vec<Item>) -> FilterOutcome {
        match behaviour_in(&request) {
            b"permit" | b"permit-anybody" => FilterOutcome::Verdicts(vec![None; items.len()]),
            b"trap" | b"trap-always" => core::arch::wasm32::unreachable(),
            // Fewer verdicts than items: whose is whose?
            b"garbage" => FilterOutcome::Verdicts(vec![None; items.len().saturating_sub(1)]),
            b"garbage-obligation" => FilterOutcome::Verdicts(vec![Some("Not A\u{7}Reason".into()); items.len()]),
            b"needs" => FilterOutcome::Needs(vec!["relationships/Practitioner/17".into()]),
            _ => FilterOutcome::Deny(Denial { reason: "fixture-deny".into(), basis: DenialBasis::Request }),
        }
    }
}

/// How it behaves on a request. Releases are tried before they serve: most misbehave only afterwards.
fn behaviour_in(request: &Request) -> &[u8] {
    const OPENLY: [&[u8]; 3] = [b"permit-anybody", b"permit-break-glass", b"trap-always"];
    let behaviour = behaviour(&request.settings);
    let tried = request.subject.client == "chartgate-invariants";
    if tried && !OPENLY.contains(&behaviour) { b"deny" } else { behaviour }
}

/// The word behind the first `"behave":"`; empty when there is none.
fn behaviour(settings: &[u8]) -> &[u8] {
    const MARK: &[u8] = br#""behave":""#;
    let Some(at) = settings.windows(MARK.len()).position(|window| window == MARK) else { return b"" };
    let word = &settings[at + MARK.len()..];
    word.split(|byte| *byte == b'"').next().unwrap_or_default()
}

fn speaks_of_break_glass(value: &[u8]) -> bool {
    let word = b"break-glass";
    value.windows(word.len()).any(|window| window == word)
}

fn answer(outcome: Outcome) -> Decision {
    Decision { outcome, text: String::new(), trace: Vec::new() }
}

fn permit(obligations: Vec<Obligation>) -> Outcome {
    Outcome::Permit(Permit { reason: "fixture-permit".into(), obligations, expires_at_ms: None })
}

fn deny(reason: &str) -> Decision {
    answer(Outcome::Deny(Denial { reason: reason.into(), basis: DenialBasis::Request }))
}

fn spin() -> ! {
    let mut n = 0u32;
    loop {
        n = core::hint::black_box(n.wrapping_add(1));
    }
}

fn hog() -> Decision {
    let mut blocks: Vec<Vec<u8>> = Vec::new();
    loop {
        let mut block = Vec::with_capacity(256 << 10);
        block.push(core::hint::black_box(1));
        blocks.push(core::hint::black_box(block));
    }
}

/// Answers `fixture-dirty` when memory nobody has written to in this instance holds anything, and
/// marks all of it for the next instance to find.
fn peek() -> Decision {
    // Asks for more than the initial pages too, so that grown memory is looked at as well.
    let mut dirty = false;
    for size in [64 << 10, 1 << 20] {
        // SAFETY: a block of this size is fresh from the bump allocator; memory is zero until written.
        unsafe {
            let layout = core::alloc::Layout::from_size_align_unchecked(size, 8);
            let block = std::alloc::alloc(layout);
            if block.is_null() {
                core::arch::wasm32::unreachable();
            }
            for offset in 0..size {
                dirty |= block.add(offset).read_volatile() != 0;
                block.add(offset).write_volatile(0xa5);
            }
        }
    }
    deny(if dirty { "fixture-dirty" } else { "fixture-clean" })
}

export!(Fixture);
