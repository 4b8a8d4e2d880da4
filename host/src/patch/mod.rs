//! Patches: what a stored resource would be afterwards, so that the result is judged and not the wish.
//!
//! SECURITY: where a server could come to another result, there is none here. What has no result is denied.

mod fhirpath;
#[cfg(test)]
mod tests;

use chartgate_model::{FhirRequest, Interaction, Stored};
use json_patch::PatchOperation;
use serde_json::Value;

/// Operations one patch may have.
const OPERATIONS_MAX: usize = 1_000;
/// Bytes of a resource and all that is done to it.
const BYTES_MAX: usize = 4 << 20;
/// Nesting of what comes of a patch.
const DEPTH_MAX: usize = 64;

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
    let bytes = stored.len();
    let (Some(stored), Some(patch)) = (parsed(stored), parsed(patch)) else {
        return Patched { result: None, tests: true };
    };
    let tests = tests(&patch);
    let result = if patch.is_array() { by_json_patch(stored, bytes, patch) } else { fhirpath::apply(stored, &patch) };
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

/// `bytes`: of the resource.
fn by_json_patch(mut resource: Value, bytes: usize, patch: Value) -> Option<Value> {
    let json_patch::Patch(operations) = serde_json::from_value(patch).ok()?;
    if operations.len() > OPERATIONS_MAX {
        return None;
    }
    let mut room = BYTES_MAX.checked_sub(bytes)?;
    for operation in &operations {
        room = room.checked_sub(growth(operation, &resource)?)?;
        json_patch::patch(&mut resource, std::slice::from_ref(operation)).ok()?;
    }
    Some(resource)
}

/// Bytes that an operation may add.
///
/// SECURITY: a resource that is copied into itself doubles. A few such operations would fill any memory, or nest deeper
/// than any stack holds.
fn growth(operation: &PatchOperation, resource: &Value) -> Option<usize> {
    let (value, path) = match operation {
        PatchOperation::Add(add) => (&add.value, &add.path),
        PatchOperation::Replace(replace) => (&replace.value, &replace.path),
        PatchOperation::Copy(copy) => (resource.pointer(copy.from.as_str())?, &copy.path),
        PatchOperation::Move(moved) => (resource.pointer(moved.from.as_str())?, &moved.path),
        PatchOperation::Remove(_) | PatchOperation::Test(_) => return Some(0),
    };
    weight(value, DEPTH_MAX.checked_sub(path.count())?)
}

/// Bytes of a value, more or less; `None` where it is deeper than `depth`.
fn weight(value: &Value, depth: usize) -> Option<usize> {
    let below = || depth.checked_sub(1);
    match value {
        Value::Array(items) => items.iter().try_fold(2, |sum, item| Some(sum + 1 + weight(item, below()?)?)),
        Value::Object(members) => {
            members.iter().try_fold(2, |sum, (name, member)| Some(sum + name.len() + 4 + weight(member, below()?)?))
        }
        Value::String(text) => Some(text.len() + 2),
        Value::Number(_) | Value::Bool(_) | Value::Null => Some(8),
    }
}
