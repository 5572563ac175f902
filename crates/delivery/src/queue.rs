//! What waits in memory to be sent, and whose turn it is: round robin over tenants, then over the tenant's endpoints, then
//! oldest first. A pure structure: it neither sends nor waits.
//!
//! Only what can be sent now stands in a ring: an endpoint that has something waiting and is below what it may have in
//! flight, and a tenant that has such an endpoint. Taking the next one is a step, however much waits. There are three rings,
//! by what endpoints may be [trusted](Trust) with: those that answer never stand behind those that may not. One that rests
//! for its rate stands in none until it is woken.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;
use stentor_domain::attempt::Trigger;
use stentor_store::Backpressure;
use stentor_store::health::Trust;
use stentor_store::hot::Claimed;

/// Deliveries in memory, in the order of fairness.
#[derive(Debug, Default)]
pub(crate) struct FairQueue {
    endpoints: HashMap<i64, Lane>,
    answering: Ring,
    unknown: Ring,
    suspects: Ring,
    /// Those that would stand in a ring but for their rest, by its end.
    resting: BTreeSet<(Duration, i64)>,
    /// Was the last of the untrusted a suspect? They take turns with the unknown.
    suspect_was_last: bool,
    /// Tests, past every queue: somebody waits for each of them.
    express: VecDeque<Claimed>,
    /// Those that wait, but for tests.
    waiting: usize,
    /// Those that wait without room of their own, and the bytes of their payloads.
    roomless: usize,
    roomless_bytes: usize,
    /// Those of them whose endpoints do not answer, as far as is known.
    roomless_untrusted: usize,
    /// Told of what was handed over and stands in the ring of those that answer.
    backpressure: Arc<Backpressure>,
}

/// How an endpoint may be sent to from now on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Share {
    /// Requests at once; at least one.
    pub(crate) at_once: usize,
    /// In which ring it stands.
    pub(crate) trust: Trust,
    /// Until when it rests.
    pub(crate) rests_until: Option<Duration>,
}

/// To which of those that are not known to answer there is a place in flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Places {
    /// That were not asked yet.
    pub(crate) unknown: bool,
    /// Whose last attempts had no answer.
    pub(crate) suspects: bool,
}

/// One endpoint's queue.
#[derive(Debug)]
struct Lane {
    tenant: i64,
    waiting: VecDeque<Claimed>,
    /// Those of them that were handed over, with room of their own.
    handed_over: usize,
    in_flight: usize,
    share: Share,
    /// The ring that it stands in.
    ring: Option<Trust>,
    /// Deliveries that backpressure was told of.
    ready: usize,
    /// The end of the rest that it stands in a ring after.
    rests: Option<Duration>,
}

/// Endpoints with something to send, by tenants.
#[derive(Debug, Default)]
struct Ring {
    /// For each tenant, its endpoints that have, the next one in front.
    tenants: HashMap<i64, VecDeque<i64>>,
    /// The tenants, the next one in front.
    order: VecDeque<i64>,
}

impl Ring {
    /// Takes the endpoint whose turn it is out of the ring; its tenant goes to the end.
    fn next(&mut self) -> Option<i64> {
        let tenant = self.order.pop_front()?;
        let ready = self.tenants.get_mut(&tenant)?;
        let endpoint = ready.pop_front();
        if ready.is_empty() {
            self.tenants.remove(&tenant);
        } else {
            self.order.push_back(tenant);
        }
        endpoint
    }

    fn enter(&mut self, tenant: i64, endpoint: i64) {
        let ready = self.tenants.entry(tenant).or_default();
        if ready.is_empty() {
            self.order.push_back(tenant);
        }
        ready.push_back(endpoint);
    }

    /// Rare: somebody cancelled the last one that waited, or the endpoint's share changed.
    fn leave(&mut self, tenant: i64, endpoint: i64) {
        let Some(ready) = self.tenants.get_mut(&tenant) else {
            return;
        };
        ready.retain(|one| *one != endpoint);
        if ready.is_empty() {
            self.tenants.remove(&tenant);
            self.order.retain(|one| *one != tenant);
        }
    }
}

impl Lane {
    fn is_untrusted(&self) -> bool {
        self.share.trust != Trust::Answers
    }

    /// Those that wait without room of their own.
    fn roomless(&self) -> usize {
        self.waiting.len() - self.handed_over
    }

    /// Those that wait for their turn in the process and for nothing else.
    fn ready(&self) -> usize {
        if self.ring == Some(Trust::Answers) {
            self.handed_over
        } else {
            0
        }
    }

    /// How many were ready when this was asked last, and how many are.
    fn take_ready(&mut self) -> (usize, usize) {
        let are = self.ready();
        (std::mem::replace(&mut self.ready, are), are)
    }
}

impl FairQueue {
    /// A queue that tells `backpressure` what is ready.
    pub(crate) fn new(backpressure: Arc<Backpressure>) -> Self {
        Self {
            backpressure,
            ..Self::default()
        }
    }

    /// Puts a delivery last in its endpoint's queue. `share` is how the endpoint may be sent to from now on.
    pub(crate) fn push(&mut self, claimed: Claimed, share: Share) {
        if claimed.trigger == Trigger::Test {
            self.express.push_back(claimed);
            return;
        }
        let endpoint = claimed.endpoint;
        self.endpoints.entry(endpoint).or_insert_with(|| Lane {
            tenant: claimed.event.tenant,
            waiting: VecDeque::new(),
            handed_over: 0,
            in_flight: 0,
            share,
            ring: None,
            ready: 0,
            rests: None,
        });
        self.set_share(endpoint, share);
        self.count(&claimed);
        if let Some(lane) = self.endpoints.get_mut(&endpoint) {
            lane.waiting.push_back(claimed);
        }
        self.settle(endpoint);
    }

    /// How many wait, but for tests.
    pub(crate) fn len(&self) -> usize {
        self.waiting
    }

    /// The next test to send.
    pub(crate) fn next_express(&mut self) -> Option<Claimed> {
        self.express.pop_front()
    }

    /// Takes the delivery whose turn it is, and counts it as in flight: of those that are not known to answer first, where
    /// there are `places` for them, since few of them are in flight at any time; then of those that answer. Tells whether it is
    /// one of the former. `count` counts it against its endpoint's rate, and says until when that rests.
    pub(crate) fn next(
        &mut self,
        places: Places,
        count: impl FnOnce(&Claimed) -> Option<Duration>,
    ) -> Option<(Claimed, bool)> {
        let endpoint = self.next_untrusted(places);
        let is_untrusted = endpoint.is_some();
        let endpoint = endpoint.or_else(|| self.answering.next())?;
        let lane = self.endpoints.get_mut(&endpoint)?;
        lane.ring = None;
        let claimed = lane.waiting.pop_front()?;
        lane.in_flight += 1;
        lane.share.rests_until = count(&claimed);
        self.forget(&claimed);
        self.settle(endpoint);
        Some((claimed, is_untrusted))
    }

    fn next_untrusted(&mut self, places: Places) -> Option<i64> {
        let mut turns = [
            (Trust::Suspect, places.suspects),
            (Trust::Unknown, places.unknown),
        ];
        if self.suspect_was_last {
            turns.reverse();
        }
        let with_place = turns.into_iter().filter(|(_, place)| *place);
        let (endpoint, trust) = with_place
            .map(|(trust, _)| trust)
            .find_map(|trust| Some((self.ring(trust).next()?, trust)))?;
        self.suspect_was_last = trust == Trust::Suspect;
        Some(endpoint)
    }

    /// A delivery to `endpoint` that [`next`](Self::next) gave is not in flight any more; `share` is how it may be sent to
    /// from now on. Tells how many still wait for it.
    pub(crate) fn landed(&mut self, endpoint: i64, share: Share) -> usize {
        self.set_share(endpoint, share);
        let Some(lane) = self.endpoints.get_mut(&endpoint) else {
            return 0;
        };
        lane.in_flight = lane.in_flight.saturating_sub(1);
        let waiting = lane.waiting.len();
        self.settle(endpoint);
        waiting
    }

    /// Ends the rests that have lasted until `now`.
    pub(crate) fn wake(&mut self, now: Duration) {
        while let Some((until, endpoint)) = self.resting.first().copied().filter(|(until, _)| *until <= now) {
            self.resting.remove(&(until, endpoint));
            if let Some(lane) = self.endpoints.get_mut(&endpoint) {
                (lane.rests, lane.share.rests_until) = (None, None);
            }
            self.settle(endpoint);
        }
    }

    /// When the first rest ends.
    pub(crate) fn next_wake(&self) -> Option<Duration> {
        self.resting.first().map(|(until, _)| *until)
    }

    /// Does anything wait for `endpoint`, or is in flight to it?
    pub(crate) fn is_busy(&self, endpoint: i64) -> bool {
        self.endpoints.contains_key(&endpoint)
    }

    /// How many wait, tests included.
    pub(crate) fn waiting(&self) -> usize {
        let lanes = self.endpoints.values().map(|lane| lane.waiting.len());
        lanes.sum::<usize>() + self.express.len()
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

    /// How many of these wait for endpoints that are not known to answer.
    pub(crate) fn claimed_untrusted(&self) -> usize {
        self.roomless_untrusted
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
        for trust in [Trust::Answers, Trust::Unknown, Trust::Suspect] {
            *self.ring(trust) = Ring::default();
        }
        self.resting.clear();
        (self.roomless, self.roomless_bytes, self.roomless_untrusted) = (0, 0, 0);
        self.waiting = 0;
        let mut all: Vec<Claimed> = self.express.drain(..).collect();
        self.endpoints.retain(|_, lane| {
            (lane.ring, lane.rests, lane.handed_over) = (None, None, 0);
            let (were, are) = lane.take_ready();
            self.backpressure.note_ready(lane.tenant, were, are);
            all.extend(lane.waiting.drain(..));
            lane.in_flight > 0
        });
        all
    }

    fn count(&mut self, claimed: &Claimed) {
        let (count, bytes) = roomless(claimed);
        self.waiting += 1;
        self.roomless += count;
        self.roomless_bytes += bytes;
        if let Some(lane) = self.endpoints.get_mut(&claimed.endpoint) {
            lane.handed_over += 1 - count;
            if lane.is_untrusted() {
                self.roomless_untrusted += count;
            }
        }
    }

    fn forget(&mut self, claimed: &Claimed) {
        let (count, bytes) = roomless(claimed);
        self.waiting -= 1;
        self.roomless -= count;
        self.roomless_bytes -= bytes;
        if let Some(lane) = self.endpoints.get_mut(&claimed.endpoint) {
            lane.handed_over -= 1 - count;
            if lane.is_untrusted() {
                self.roomless_untrusted -= count;
            }
        }
    }

    /// Sets how an endpoint may be sent to; what waits for it is counted where it belongs now.
    fn set_share(&mut self, endpoint: i64, share: Share) {
        let Some(lane) = self.endpoints.get_mut(&endpoint) else {
            return;
        };
        let before = std::mem::replace(&mut lane.share, share);
        match (before.trust == Trust::Answers, share.trust == Trust::Answers) {
            (true, false) => self.roomless_untrusted += lane.roomless(),
            (false, true) => self.roomless_untrusted -= lane.roomless(),
            _ => {}
        }
    }

    /// Brings an endpoint's place in the rings in line with whether it has something to send and may send it; one with
    /// nothing waiting and nothing in flight is forgotten.
    fn settle(&mut self, endpoint: i64) {
        let Some(lane) = self.endpoints.get_mut(&endpoint) else {
            return;
        };
        let (tenant, trust) = (lane.tenant, lane.share.trust);
        let ready = !lane.waiting.is_empty() && lane.in_flight < lane.share.at_once.max(1);
        let idle = lane.waiting.is_empty() && lane.in_flight == 0;
        let rests = lane.share.rests_until.filter(|_| ready);
        let ring = (ready && rests.is_none()).then_some(trust);
        let rested = std::mem::replace(&mut lane.rests, rests);
        let before = std::mem::replace(&mut lane.ring, ring);
        let (were, are) = lane.take_ready();
        self.backpressure.note_ready(tenant, were, are);
        if idle {
            self.endpoints.remove(&endpoint);
        }
        if rested != rests {
            rested.map(|until| self.resting.remove(&(until, endpoint)));
            rests.map(|until| self.resting.insert((until, endpoint)));
        }
        if before == ring {
            return;
        }
        if let Some(before) = before {
            self.ring(before).leave(tenant, endpoint);
        }
        if let Some(ring) = ring {
            self.ring(ring).enter(tenant, endpoint);
        }
    }

    fn ring(&mut self, trust: Trust) -> &mut Ring {
        match trust {
            Trust::Answers => &mut self.answering,
            Trust::Unknown => &mut self.unknown,
            Trust::Suspect => &mut self.suspects,
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
