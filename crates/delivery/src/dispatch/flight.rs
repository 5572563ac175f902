//! Attempts in flight: which may start, and what their landing makes room for.

use super::claim::has_room;
use super::{Dispatcher, Standing, State};
use crate::rates::Turn;
use std::sync::Arc;
use std::time::Duration;
use stentor_domain::Timestamp;
use stentor_domain::attempt::Trigger;
use stentor_store::Waiting;
use stentor_store::hot::Claimed;

/// Tests in flight. They go past the overall limit, so that one can be sent while everything else hangs; each has a caller
/// who waits for it.
const TESTS_IN_FLIGHT_MAX: usize = 64;

/// A delivery's place among those in flight, given back when it is dropped.
struct Flight<'a> {
    dispatcher: &'a Dispatcher,
    endpoint: i64,
    shard: u16,
    test: bool,
    /// Where its endpoint is not known to answer, when it started.
    untrusted_since: Option<Duration>,
    /// The host that it is a probe of, if that could not be reached.
    probe: Option<Box<str>>,
    /// Was it given back, since its endpoint is not to be asked now?
    given_back: bool,
}

/// Its endpoint is not to be asked now, or not in this way, since the delivery came into memory.
struct NotNow;

/// A delivery whose attempt is to be made now.
pub(super) struct Started {
    claimed: Claimed,
    /// Where its endpoint is not known to answer, when it started.
    untrusted_since: Option<Duration>,
    /// How it counts against its endpoint's rate.
    turn: Option<Turn>,
}

/// The endpoint of a delivery that is about to wait in the store.
fn waiting(claimed: &Claimed) -> Waiting {
    Waiting {
        endpoint: claimed.endpoint,
        shard: claimed.shard,
        due_at: claimed.due_at,
    }
}

impl Drop for Flight<'_> {
    fn drop(&mut self) {
        self.dispatcher.land(self);
    }
}

impl Dispatcher {
    /// Starts every attempt that may start now, each in a task of its own that goes on with the next one.
    pub(super) fn start_all(self: &Arc<Self>) {
        while let Some(first) = self.start_next() {
            let this = Arc::clone(self);
            tokio::spawn(async move {
                let mut next = Some(first);
                while let Some(started) = next {
                    this.attempt(started).await;
                    next = this.start_next();
                }
            });
        }
    }

    pub(super) fn start_next(&self) -> Option<Started> {
        let mut state = self.state.lock();
        if state.stopping {
            return None;
        }
        let test = if state.tests_in_flight < TESTS_IN_FLIGHT_MAX {
            state.queue.next_express()
        } else {
            None
        };
        state.tests_in_flight += usize::from(test.is_some());
        let started = match test {
            Some(test) => Started {
                claimed: test,
                untrusted_since: None,
                turn: None,
            },
            None if state.in_flight - state.tests_in_flight < self.limits.in_flight_max => {
                self.next_in_turn(&mut state)?
            }
            None => return None,
        };
        state.in_flight += 1;
        if started.untrusted_since.is_some() {
            state.untrusted.take();
        }
        self.tell(&state);
        Some(started)
    }

    /// The next one by fairness, counted against its endpoint's rate.
    fn next_in_turn(&self, state: &mut State) -> Option<Started> {
        let now = self.clock.monotonic();
        state.wake(now);
        let places = state.untrusted.free();
        let (queue, rates) = (&mut state.queue, &mut state.rates);
        let mut turn = None;
        let (claimed, untrusted) = queue.next(places, |claimed| {
            let rests_until;
            (turn, rests_until) = self.count(rates, claimed, now);
            rests_until
        })?;
        self.store.backpressure().note_start(now);
        self.note_rests(state);
        Some(Started {
            claimed,
            untrusted_since: untrusted.then_some(now),
            turn,
        })
    }

    pub(super) async fn attempt(&self, started: Started) {
        let Started {
            claimed,
            untrusted_since,
            turn,
        } = started;
        let test = claimed.trigger == Trigger::Test;
        // Dropped when the attempt has ended, however it ended: a fault of ours in one must not cost a place for ever.
        let mut flight = Flight {
            dispatcher: self,
            endpoint: claimed.endpoint,
            shard: claimed.shard,
            test,
            untrusted_since,
            probe: None,
            given_back: false,
        };
        if !test {
            match self.probe(&claimed, turn) {
                Ok(host) => flight.probe = host,
                Err(NotNow) => {
                    flight.given_back = true;
                    return self.attempting.give_back(&self.store, &claimed).await;
                }
            }
        }
        self.attempting
            .attempt(&self.store, &self.permission, claimed)
            .await;
    }

    /// Looks once more whether an endpoint may be asked, in the moment in which it is; tells the host that asking it is a probe
    /// of.
    fn probe(&self, claimed: &Claimed, turn: Option<Turn>) -> Result<Option<Box<str>>, NotNow> {
        let mut state = self.state.lock();
        let standing = self.standing(&state, claimed.endpoint);
        // Who waits for the lease would be sent with those after it, however far apart their turns were.
        let late = turn.is_some() && !self.store.holds_lease();
        if standing.parked.is_some() || late || !standing.takes(claimed, turn) {
            if let Some(host) = &standing.host {
                state.probes.wait(host, waiting(claimed));
            }
            return Err(NotNow);
        }
        if let Some(turn) = turn {
            let now = self.clock.monotonic();
            state.rates.sent(claimed.endpoint, turn, now);
        }
        if let Some(host) = &standing.host {
            state.probes.start(host, claimed.endpoint);
        }
        Ok(standing.host)
    }

    fn land(&self, flight: &Flight<'_>) {
        let mut state = self.state.lock();
        if let Some(host) = &flight.probe {
            self.judge_probe(&mut state, host, flight.endpoint);
        }
        let Standing { share, parked, .. } = self.standing(&state, flight.endpoint);
        state.in_flight -= 1;
        state.tests_in_flight -= usize::from(flight.test);
        if let Some(started) = flight.untrusted_since {
            state.untrusted.give_back(started, self.clock.monotonic());
        }
        let waiting = if flight.test {
            usize::MAX
        } else {
            state.queue.landed(flight.endpoint, share)
        };
        self.note_rests(&mut state);
        // Claimed again when half of what one claim takes is left, so that the endpoint never waits for the store; if it is
        // parked, when its time comes. What was given back waits for the next claim, even if that time has come meanwhile.
        let more = waiting <= share.at_once && state.more.remove(&flight.endpoint);
        if more || parked.is_some() || flight.given_back {
            state.agenda.note(Waiting {
                endpoint: flight.endpoint,
                shard: flight.shard,
                due_at: parked.unwrap_or(Timestamp::EPOCH),
            });
            self.woken.notify_one();
        }
        if flight.untrusted_since.is_some()
            && let Some(waiting) = state.back_seats.leave()
        {
            state.agenda.note(waiting);
            self.woken.notify_one();
        }
        if state.put_off && has_room(&state) {
            state.put_off = false;
            self.woken.notify_one();
        }
        self.tell(&state);
        drop(state);
        self.landed.notify_waiters();
    }

    /// What the probe of a host that could not be reached has shown.
    fn judge_probe(&self, state: &mut State, host: &str, endpoint: i64) {
        let health = self.store.known(endpoint).health;
        match health.next_probe_at().filter(|_| health.is_unreachable()) {
            Some(until) => state.probes.failed(host, endpoint, until),
            None => {
                let waited = state.probes.answered(host, endpoint, self.clock.now());
                waited.into_iter().for_each(|waiting| state.agenda.note(waiting));
                self.woken.notify_one();
            }
        }
    }
}
