//! What a transaction does outside the database once it is committed, and the one place that lets it out.

use crate::Config;
use crate::fresh::RoomTicket;
use crate::fresh::{FreshSender, Handover, Waiting};
use crate::hot::{Claimed, NewDelivery, NewEvent, Release};
use crate::waiters::Waiters;
use parking_lot::Mutex;
use std::collections::HashMap;
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
    /// Deliveries in a node's memory that are to end, and why.
    pub(crate) cancel_requested: Vec<(DeliveryId, Reason)>,
    /// Deliveries that ended, of those that somebody may wait for.
    pub(crate) ended: Vec<i64>,
    /// The configuration changed.
    pub(crate) configured: bool,
    /// Failures in a row, as the transaction leaves them.
    pub(crate) health: HashMap<i64, u32>,
}

/// What is outside: the dispatcher, those who wait, and what is remembered between transactions.
#[derive(Debug)]
pub(crate) struct Outside {
    pub(crate) fresh: FreshSender,
    pub(crate) config: Arc<Config>,
    pub(crate) waiters: Arc<Waiters>,
    /// Failures in a row of endpoints that have any: a success of any other endpoint writes nothing about its health.
    health: Mutex<HashMap<i64, u32>>,
}

impl Outside {
    pub(crate) fn new(
        fresh: FreshSender,
        config: Arc<Config>,
        waiters: Arc<Waiters>,
        health: HashMap<i64, u32>,
    ) -> Self {
        Self {
            fresh,
            config,
            waiters,
            health: Mutex::new(health),
        }
    }

    /// Failures in a row of an endpoint, as the last commit left them.
    pub(crate) fn failures(&self, endpoint: i64) -> u32 {
        self.health.lock().get(&endpoint).copied().unwrap_or(0)
    }

    /// Failures in a row as another node left them.
    pub(crate) fn set_health(&self, health: HashMap<i64, u32>) {
        *self.health.lock() = health;
    }

    /// Room in memory, where the delivery can be sent at once: what is held waits in the store.
    pub(crate) fn room_for(&self, event: &NewEvent, delivery: &NewDelivery) -> Option<RoomTicket> {
        if event.trigger == Trigger::Test {
            return self.fresh.reserve_express(event.payload.len());
        }
        let configured = self.config.endpoint(delivery.endpoint)?;
        let sends = configured.endpoint.status.sends();
        sends.then(|| self.fresh.reserve(event.payload.len())).flatten()
    }

    /// Lets out what a commit brought, the configuration excepted, which the caller has brought up to date. Gives back
    /// what was to be handed over while nobody listens: it is committed as this node's.
    #[must_use]
    pub(crate) fn let_out(&self, effects: Effects) -> Vec<Release> {
        if !effects.health.is_empty() {
            let mut health = self.health.lock();
            for (endpoint, failures) in effects.health {
                match failures {
                    0 => health.remove(&endpoint),
                    failures => health.insert(endpoint, failures),
                };
            }
        }
        let mut unsent = Vec::new();
        if !effects.claimed.is_empty()
            && let Err(Handover::Claimed(claimed)) = self.fresh.send(Handover::Claimed(effects.claimed))
        {
            unsent.extend(claimed.iter().map(Claimed::release));
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
