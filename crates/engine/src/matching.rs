//! Which endpoints an event goes to. There is one rule, [`check`]: publishing asks it, the fan-out that goes on after a
//! publish, and the dry run.

use std::sync::Arc;
use stentor_domain::channels::Channels;
use stentor_domain::endpoint::{Endpoint, Status};
use stentor_domain::name::EventTypeName;
use stentor_store::config::{EndpointConfig, TenantConfig};

/// What matching looks at of an event.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Candidate<'a> {
    pub(crate) event_type: &'a EventTypeName,
    pub(crate) channels: &'a Channels,
}

/// Why an event does not go to an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unwanted {
    /// The endpoint is disabled.
    Disabled,
    /// It does not want the type.
    Type,
    /// It wants channels of which the event has none.
    Channels,
}

/// Does the event go to the endpoint? (Where the endpoint is paused, it goes there and is held.)
pub(crate) fn check(endpoint: &Endpoint, event: Candidate<'_>) -> Result<(), Unwanted> {
    let wanted = &endpoint.settings.subscription;
    if matches!(endpoint.status, Status::Disabled(_)) {
        return Err(Unwanted::Disabled);
    }
    if !wanted.types.matches(event.event_type) {
        return Err(Unwanted::Type);
    }
    if !wanted.channels.is_empty() && wanted.channels.first_among(event.channels).is_none() {
        return Err(Unwanted::Channels);
    }
    Ok(())
}

/// The tenant's endpoints that the event goes to, oldest first.
pub(crate) fn matching<'a>(
    tenant: &'a TenantConfig,
    event: Candidate<'a>,
) -> impl Iterator<Item = &'a Arc<EndpointConfig>> {
    let endpoints = tenant.endpoints().iter();
    endpoints.filter(move |configured| check(&configured.endpoint, event).is_ok())
}
