//! Patches: what a stored resource would be afterwards, so that the result is judged and not the wish.
//!
//! SECURITY: where a server could come to another result, there is none here. What has no result is denied.

mod fhirpath;
#[cfg(test)]
mod tests;

use chartgate_model::{FhirRequest, Interaction, Stored};
use serde_json::Value;

/// What comes of a patch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Patched {
    /// the resource as it would be; `None` where the patch cannot be applied to it, or not without doubt
    pub result: Option<Vec<u8>>,
    /// the patch asks about what is stored, whatever comes of it (RFC 6902, section 4.6)
    pub tests: bool,
}

/// Apply a patch, a JSON Patch (RFC 6902) where it is an array and a FHIRPath Patch (FHIR R4, FHIRPath Patch) where it is
/// a `Parameters` resource, to the resource that is stored.
pub fn apply(stored: &[u8], patch: &[u8]) -> Patched {
    let parsed = |bytes: &[u8]| serde_json::from_slice::<Value>(bytes).ok();
    let (Some(stored), Some(patch)) = (parsed(stored), parsed(patch)) else {
        return Patched { result: None, tests: true };
    };
    let tests = tests(&patch);
    let result = if patch.is_array() { by_json_patch(stored, patch) } else { fhirpath::apply(stored, &patch) };
    let result = result.and_then(|resource| serde_json::to_vec(&resource).ok());
    Patched { result, tests }
}

/// Put what comes of a patch in the place of the patch; while what is stored is not at hand, that is nothing. Requests that
/// are no patch stay as they are.
pub fn put_result(request: &mut FhirRequest, stored: &[Stored]) {
    if request.interaction != Interaction::Patch {
        return;
    }
    let patch = request.body.take().unwrap_or_default();
    let key = request.id.as_ref().map(|id| format!("{}/{id}", request.resource_type));
    let target = stored.iter().find(|stored| Some(&stored.key) == key.as_ref());
    if let Some(content) = target.and_then(|stored| stored.content.as_deref()) {
        let Patched { result, tests } = apply(content, &patch);
        request.reads_stored = tests;
        request.body = Some(result.unwrap_or_default());
    }
}

/// Whether a patch asks something of what is stored. Whatever stands there in place of the operations does.
fn tests(patch: &Value) -> bool {
    let Some(operations) = patch.as_array() else { return false };
    operations.iter().any(|operation| operation.get("op").and_then(Value::as_str).is_none_or(|op| op == "test"))
}

fn by_json_patch(mut resource: Value, patch: Value) -> Option<Value> {
    let patch: json_patch::Patch = serde_json::from_value(patch).ok()?;
    json_patch::patch(&mut resource, &patch).ok()?;
    Some(resource)
}
