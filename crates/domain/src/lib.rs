//! Placeholder.

pub mod address;
pub mod endpoint_url;
