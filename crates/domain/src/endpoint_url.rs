//! Placeholder until the guard is merged.
use std::sync::Arc;
/// A URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointUrl(Arc<str>);
