//! How an endpoint may be sent to at a moment: what its owner set, what is known of its health, and of its host.

use super::{Dispatcher, State};
use crate::queue::Share;
use crate::rates::Turn;
use stentor_domain::Timestamp;
use stentor_domain::health::Allowance;
use stentor_store::health::Trust;
use stentor_store::hot::Claimed;

/// How an endpoint may be sent to at a moment.
pub(super) struct Standing {
    pub(super) share: Share,
    /// Until when it may not.
    pub(super) parked: Option<Timestamp>,
    /// Its host, if it was parked since that could not be reached.
    pub(super) host: Option<Box<str>>,
    /// Is it sent to in order?
    pub(super) in_order: bool,
    /// The most requests that may start in any second.
    pub(super) rate: Option<u16>,
}

impl Standing {
    /// May this delivery be sent as it came into memory, its `turn` counted? Its endpoint may have been made ordered since, or
    /// got a rate.
    pub(super) fn takes(&self, claimed: &Claimed, turn: Option<Turn>) -> bool {
        (!self.in_order || claimed.in_order) && (self.rate.is_none() || turn.is_some())
    }
}

impl Dispatcher {
    /// How an endpoint may be sent to now.
    pub(super) fn standing(&self, state: &State, endpoint: i64) -> Standing {
        let config = self.store.config().endpoint(endpoint);
        let settings = config.as_ref().map(|configured| &configured.endpoint.settings);
        let in_order = settings.is_some_and(|settings| settings.ordered);
        let own = settings.and_then(|settings| settings.max_in_flight);
        let cap = match own {
            _ if in_order => 1,
            Some(own) => usize::from(own),
            None => self.limits.in_flight_per_endpoint_max,
        };
        let known = self.store.known(endpoint);
        let now = self.clock.now();
        let host = config
            .as_ref()
            .filter(|_| known.health.is_unreachable())
            .map(|configured| Box::from(configured.endpoint.settings.url.authority()));
        let allowance = match &host {
            Some(host) => state.probes.allowance(host, endpoint, known.health, now),
            None => known.health.allowance(now),
        };
        let rate = settings.and_then(|settings| settings.rate_limit);
        let rests_until = rate.and_then(|_| state.rates.rests_until(endpoint, self.clock.monotonic()));
        let trust = known.trust();
        let trusted = if trust == Trust::Answers { cap } else { 1 };
        let (at_once, parked) = match allowance {
            Allowance::Full => (trusted, None),
            Allowance::AtMost(few) => (trusted.min(usize::try_from(few).unwrap_or(usize::MAX)), None),
            // What is in memory is given back, as fast as that goes.
            Allowance::NotBefore(until) => (cap, Some(until)),
        };
        Standing {
            share: Share {
                at_once,
                trust,
                rests_until,
            },
            parked,
            host,
            in_order,
            rate,
        }
    }
}
