//! What waits in memory to be sent, and whose turn it is: round robin over tenants, then over the tenant's endpoints, then
//! oldest first. A pure structure: it neither sends nor waits.
//!
//! Only what can be sent now stands in a ring: an endpoint that has something waiting and is below its cap in flight, and a
//! tenant that has such an endpoint. Taking the next one is a step, however much waits.

use std::collections::{HashMap, VecDeque};
use stentor_domain::attempt::Trigger;
use stentor_store::hot::Claimed;

/// Deliveries in memory, in the order of fairness.
#[derive(Debug, Default)]
pub(crate) struct FairQueue {
    endpoints: HashMap<i64, Lane>,
    /// For each tenant with something to send, its endpoints that have, the next one in front.
    tenants: HashMap<i64, VecDeque<i64>>,
    /// Tenants with something to send, the next one in front.
    ring: VecDeque<i64>,
    /// Tests, past every queue: somebody waits for each of them.
    express: VecDeque<Claimed>,
    /// Those that wait without room of their own, and the bytes of their payloads.
    roomless: usize,
    roomless_bytes: usize,
}

/// One endpoint's queue.
#[derive(Debug)]
struct Lane {
    tenant: i64,
    waiting: VecDeque<Claimed>,
    in_flight: usize,
    cap: usize,
    in_ring: bool,
}

impl FairQueue {
    /// Puts a delivery last in its endpoint's queue. `cap` is how many may be in flight to that endpoint from now on.
    pub(crate) fn push(&mut self, claimed: Claimed, cap: usize) {
        if claimed.trigger == Trigger::Test {
            self.express.push_back(claimed);
            return;
        }
        let (count, bytes) = roomless(&claimed);
        self.roomless += count;
        self.roomless_bytes += bytes;
        let endpoint = claimed.endpoint;
        let lane = self.endpoints.entry(endpoint).or_insert_with(|| Lane {
            tenant: claimed.event.tenant,
            waiting: VecDeque::new(),
            in_flight: 0,
            cap,
            in_ring: false,
        });
        lane.cap = cap.max(1);
        lane.waiting.push_back(claimed);
        self.settle(endpoint);
    }

    /// The next test to send.
    pub(crate) fn next_express(&mut self) -> Option<Claimed> {
        self.express.pop_front()
    }

    /// Takes the delivery whose turn it is, and counts it as in flight.
    pub(crate) fn next(&mut self) -> Option<Claimed> {
        let tenant = self.ring.pop_front()?;
        let ready = self.tenants.get_mut(&tenant)?;
        let endpoint = ready.pop_front();
        if ready.is_empty() {
            self.tenants.remove(&tenant);
        } else {
            self.ring.push_back(tenant);
        }
        let endpoint = endpoint?;
        let lane = self.endpoints.get_mut(&endpoint)?;
        lane.in_ring = false;
        let claimed = lane.waiting.pop_front()?;
        lane.in_flight += 1;
        self.forget(&claimed);
        self.settle(endpoint);
        Some(claimed)
    }

    /// A delivery to `endpoint` that [`next`](Self::next) gave is not in flight any more. Tells how many still wait for it.
    pub(crate) fn landed(&mut self, endpoint: i64) -> usize {
        let Some(lane) = self.endpoints.get_mut(&endpoint) else {
            return 0;
        };
        lane.in_flight = lane.in_flight.saturating_sub(1);
        let waiting = lane.waiting.len();
        self.settle(endpoint);
        waiting
    }

    /// How many wait for `endpoint`.
    pub(crate) fn waiting_for(&self, endpoint: i64) -> usize {
        self.endpoints.get(&endpoint).map_or(0, |lane| lane.waiting.len())
    }

    /// How many wait that were claimed, and the bytes of their payloads (shared ones counted again). What was handed over
    /// has room of its own: a burst of it to a slow receiver must not keep anything else from being claimed.
    pub(crate) fn claimed(&self) -> (usize, usize) {
        (self.roomless, self.roomless_bytes)
    }

    /// Takes out a delivery that waits; `None` where it does not.
    pub(crate) fn remove(&mut self, delivery: i64) -> Option<Claimed> {
        let (endpoint, at) = self.endpoints.iter().find_map(|(endpoint, lane)| {
            let at = lane
                .waiting
                .iter()
                .position(|claimed| claimed.delivery.n() == delivery)?;
            Some((*endpoint, at))
        })?;
        let claimed = self.endpoints.get_mut(&endpoint)?.waiting.remove(at)?;
        self.forget(&claimed);
        self.settle(endpoint);
        Some(claimed)
    }

    /// Takes out everything that waits, tests included.
    pub(crate) fn drain(&mut self) -> Vec<Claimed> {
        self.ring.clear();
        self.tenants.clear();
        (self.roomless, self.roomless_bytes) = (0, 0);
        let mut all: Vec<Claimed> = self.express.drain(..).collect();
        self.endpoints.retain(|_, lane| {
            lane.in_ring = false;
            all.extend(lane.waiting.drain(..));
            lane.in_flight > 0
        });
        all
    }

    fn forget(&mut self, claimed: &Claimed) {
        let (count, bytes) = roomless(claimed);
        self.roomless -= count;
        self.roomless_bytes -= bytes;
    }

    /// Brings an endpoint's place in its tenant's ring in line with whether it has something to send and may send it; one
    /// with nothing waiting and nothing in flight is forgotten.
    fn settle(&mut self, endpoint: i64) {
        let Some(lane) = self.endpoints.get_mut(&endpoint) else {
            return;
        };
        let tenant = lane.tenant;
        let ready = !lane.waiting.is_empty() && lane.in_flight < lane.cap;
        let idle = lane.waiting.is_empty() && lane.in_flight == 0;
        let was_in_ring = std::mem::replace(&mut lane.in_ring, ready);
        if idle {
            self.endpoints.remove(&endpoint);
        }
        match (was_in_ring, ready) {
            (false, true) => self.enter(tenant, endpoint),
            (true, false) => self.leave(tenant, endpoint),
            _ => {}
        }
    }

    fn enter(&mut self, tenant: i64, endpoint: i64) {
        let ready = self.tenants.entry(tenant).or_default();
        if ready.is_empty() {
            self.ring.push_back(tenant);
        }
        ready.push_back(endpoint);
    }

    /// Rare: somebody cancelled the last one that waited, or lowered the cap.
    fn leave(&mut self, tenant: i64, endpoint: i64) {
        let Some(ready) = self.tenants.get_mut(&tenant) else {
            return;
        };
        ready.retain(|one| *one != endpoint);
        if ready.is_empty() {
            self.tenants.remove(&tenant);
            self.ring.retain(|one| *one != tenant);
        }
    }
}

/// What a delivery adds to those that wait without room of their own: a count and bytes.
fn roomless(claimed: &Claimed) -> (usize, usize) {
    match claimed.room {
        None => (1, claimed.event.payload.len()),
        Some(_) => (0, 0),
    }
}

#[cfg(test)]
mod tests;
