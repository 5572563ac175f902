//! What a transaction does outside the database once it is committed, and the one place that lets it out.

use crate::Config;
use crate::fresh::{FreshSender, Handover, Waiting};
use crate::health::{Healths, Left};
use crate::hot::{Claimed, NewDelivery, NewEvent, Release};
use crate::metrics::Metrics;
use crate::room::RoomTicket;
use crate::tally::Tally;
use crate::waiters::Waiters;
use std::sync::Arc;
use stentor_domain::attempt::Trigger;
use stentor_domain::delivery::Reason;
use stentor_domain::id::DeliveryId;

/// What a group, or a change, does outside the database.
#[derive(Debug, Default)]
pub(crate) struct Effects {
    /// To be handed over.
    pub(crate) claimed: Vec<Claimed>,
    /// To be told to the dispatcher.
    pub(crate) waiting: Vec<Waiting>,
    /// Ordered endpoints with a delivery that somebody steered by hand.
    pub(crate) reordered: Vec<i64>,
    /// Deliveries in a node's memory that are to end, and why.
    pub(crate) cancel_requested: Vec<(DeliveryId, Reason)>,
    /// Deliveries that ended, of those that somebody may wait for.
    pub(crate) ended: Vec<i64>,
    /// What changes of the counts. On SQLite it is written with the transaction; on PostgreSQL statements write theirs.
    pub(crate) tally: Tally,
    /// The configuration changed.
    pub(crate) configured: bool,
    /// What is known of endpoints' health, as the transaction leaves it.
    pub(crate) left: Left,
    /// Endpoints that their owners changed so that what they were says nothing any more.
    pub(crate) forgiven: Vec<i64>,
}

/// Where a delivery that is being accepted waits.
#[derive(Default)]
pub(crate) struct Seat {
    /// Room in memory, where it can be sent at once.
    pub(crate) room: Option<RoomTicket>,
    /// Does it get a place in its endpoint's order?
    pub(crate) ordered: bool,
}

/// What is outside: the dispatcher, those who wait, and what is remembered between transactions.
#[derive(Debug)]
pub(crate) struct Outside {
    pub(crate) fresh: FreshSender,
    pub(crate) config: Arc<Config>,
    pub(crate) waiters: Arc<Waiters>,
    pub(crate) healths: Arc<Healths>,
    pub(crate) metrics: Arc<Metrics>,
}

impl Outside {
    pub(crate) fn new(
        fresh: FreshSender,
        config: Arc<Config>,
        waiters: Arc<Waiters>,
        healths: Arc<Healths>,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self {
            fresh,
            config,
            waiters,
            healths,
            metrics,
        }
    }

    /// Where a delivery that is being accepted waits: what is held, or has to wait for its turn, waits in the store.
    pub(crate) fn seat_for(&self, event: &NewEvent, delivery: &NewDelivery) -> Seat {
        let bytes = event.payload.len();
        if event.trigger == Trigger::Test {
            return Seat {
                room: self.fresh.reserve_express(delivery.endpoint, bytes),
                ordered: false,
            };
        }
        let Some(configured) = self.config.endpoint(delivery.endpoint) else {
            return Seat::default();
        };
        let endpoint = &configured.endpoint;
        let at_once = endpoint.status.sends() && endpoint.settings.takes_at_once();
        let trust = at_once.then(|| self.healths.takes_at_once(delivery.endpoint));
        Seat {
            room: trust
                .flatten()
                .and_then(|trust| self.fresh.reserve(delivery.endpoint, bytes, trust)),
            ordered: endpoint.settings.ordered,
        }
    }

    /// Lets out what a commit brought, the configuration excepted, which the caller has brought up to date. Gives back
    /// what was to be handed over while nobody listens: it is committed as this node's.
    #[must_use]
    pub(crate) fn let_out(&self, effects: Effects) -> Vec<Release> {
        self.healths.keep(effects.left);
        effects
            .forgiven
            .into_iter()
            .for_each(|endpoint| self.healths.forget(endpoint));
        let mut unsent = Vec::new();
        if !effects.claimed.is_empty()
            && let Err(Handover::Claimed(claimed)) = self.fresh.send(Handover::Claimed(effects.claimed))
        {
            unsent.extend(claimed.iter().map(Claimed::release));
        }
        for endpoint in effects.reordered {
            drop(self.fresh.send(Handover::Reordered(endpoint)));
        }
        if !effects.waiting.is_empty() {
            // Where nobody listens, the dispatcher's own rounds find them.
            drop(self.fresh.send(Handover::Waiting(effects.waiting)));
        }
        for (delivery, reason) in effects.cancel_requested {
            drop(self.fresh.send(Handover::CancelRequested(delivery, reason)));
        }
        self.waiters.wake(&effects.ended);
        unsent
    }
}
