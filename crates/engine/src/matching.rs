//! Which endpoints an event goes to. There is one rule, [`check`]: publishing asks it, the fan-out that goes on after a
//! publish, and the dry run.

use crate::filter::payload::Lazy;
use crate::filter::{Failed, Filter};
use stentor_domain::channels::Channels;
use stentor_domain::endpoint::{Endpoint, Status};
use stentor_domain::name::EventTypeName;
use stentor_store::config::EndpointConfig;

/// What matching looks at of an event.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Candidate<'a> {
    pub(crate) event_type: &'a EventTypeName,
    pub(crate) channels: &'a Channels,
    /// Opened by the first filter that asks, for all of them; where none does, it costs nothing.
    pub(crate) payload: &'a Lazy<'a>,
}

/// Why an event does not go to an endpoint.
#[derive(Debug)]
pub(crate) enum Unwanted<'e> {
    /// The endpoint is disabled.
    Disabled,
    /// It does not want the type.
    Type,
    /// It wants channels of which the event has none.
    Channels,
    /// Its filter does not hold.
    Filter(Failed<'e>),
    /// Its filter cannot be read: another version of Stentor has stored it.
    Unreadable,
}

/// Does the event go to the endpoint? (Where the endpoint is paused, it goes there and is held.) What is cheap is asked
/// first.
pub(crate) fn check<'e>(configured: &'e EndpointConfig, event: Candidate<'_>) -> Result<(), Unwanted<'e>> {
    let endpoint = &configured.endpoint;
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
    let Some(text) = &endpoint.settings.filter else {
        return Ok(());
    };
    let compiled = configured.made.get_or_make(|| compile(endpoint, text));
    let filter = compiled.and_then(Option::as_ref).ok_or(Unwanted::Unreadable)?;
    filter.check(event.payload).map_err(Unwanted::Filter)
}

/// The filter of one version of an endpoint. One that cannot be read lets nothing through: what it keeps back is not for its
/// receiver, as far as anybody knows.
fn compile(endpoint: &Endpoint, text: &str) -> Option<Filter> {
    Filter::parse(text)
        .inspect_err(|fault| {
            let rule = &fault.rule;
            tracing::error!(endpoint = %endpoint.id, rule, "an endpoint's filter cannot be read; it gets no events until it is set again");
        })
        .ok()
}
