//! What the fuzz targets share: requests to the policy, and mutations of JSON.

pub mod access;
pub mod mutate;
