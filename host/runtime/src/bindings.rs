//! The host's side of `wit/`, generated. Only `convert`, `admission` and `policy` look in here.

wasmtime::component::bindgen!({
    path: "../../wit",
    world: "granting-policy",
    ownership: Borrowing { duplicate_if_necessary: true },
});
