//! The dispatcher: takes in what is handed over, claims what is due, and starts attempts in the order of fairness.
//!
//! A delivery in this node's memory is in one of these states, and the store knows it as owned in all of them:
//! 1. waiting in the [`FairQueue`]: the process dies - the next start recovers it;
//! 2. in flight: started, and counted against its endpoint's cap and the overall one; the process dies - it is sent again
//!    with the same id;
//! 3. being recorded: still counted, so that a store that stalls stops the sending; the process dies - as 2;
//! 4. gone from memory: recorded, given back, or ended.
//!
//! Whatever the store holds without an owner is known through the [`Agenda`], which is told after every commit, and looks
//! for itself now and then: a lost word costs time, never a delivery.
//!
//! An endpoint that does not answer must cost nobody else anything. One that was not asked yet, or whose last attempts had
//! no answer, is asked once at a time, and all of these together hold a quarter of the places in flight and a quarter of
//! the room for what is claimed; the latter at most half of that, so that one that was not asked yet does not wait for them.
//! Places that hung together are not taken again together.
//! One that is parked (see [`stentor_domain::health`]) is claimed for when its time comes, by one entry of the agenda, and
//! what is in memory by then is given back: a million deliveries to a dead endpoint are one timer.
//!
//! Of an ordered endpoint only the first in its order is ever in memory: it is claimed for when nothing of it is, and the next
//! one when that is recorded. What was in memory when the endpoint was made ordered is given back, but for what is in flight.
//!
//! An endpoint with a rate is claimed for shortly before its turn, and what is claimed rests in the queue until then.
//!
//! - `claim`: what is taken from the store, and when;
//! - `flight`: what starts, and what its landing makes room for;
//! - `untrusted`: the places of those that are not known to answer;
//! - `standing`: how an endpoint may be sent to;
//! - `pace`: endpoints with a rate, and the end of every rest.

mod claim;
mod flight;
mod pace;
mod standing;
mod untrusted;

use crate::agenda::Agenda;
use crate::attempt::Attempting;
use crate::heads::Heads;
use crate::probes::Probes;
use crate::queue::FairQueue;
use crate::rates::Rates;
use crate::transport::Permission;
use claim::{BackSeats, START};
use parking_lot::Mutex;
use standing::Standing;
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;
use stentor_domain::{Clock, Timestamp};
use stentor_store::hot::Claimed;
use stentor_store::{Fresh, Handover, Store, StoreError, Waiting};
use tokio::sync::{Notify, watch};
use untrusted::UntrustedPlaces;

/// How long the last attempts have to be recorded once they are broken off.
const LAST_RECORDS_MAX: Duration = Duration::from_secs(5);

/// How much may be in flight.
#[derive(Clone, Copy, Debug)]
pub struct DispatchLimits {
    /// Altogether.
    pub in_flight_max: usize,
    /// To one endpoint, unless it has a limit of its own.
    pub in_flight_per_endpoint_max: usize,
}

/// The dispatcher of a node.
pub struct Dispatcher {
    store: Store,
    clock: Arc<dyn Clock>,
    attempting: Attempting,
    limits: DispatchLimits,
    /// To send what this node owns, as long as its lease holds.
    permission: Permission,
    state: Mutex<State>,
    /// Something may be claimed that could not be before.
    woken: Notify,
    /// An attempt ended.
    landed: Notify,
    /// Something rests, and less long than all before it.
    rests: Notify,
}

#[derive(Default)]
struct State {
    queue: FairQueue,
    agenda: Agenda,
    /// Attempts in flight, tests among them.
    in_flight: usize,
    tests_in_flight: usize,
    /// The places of endpoints that are not known to answer.
    untrusted: UntrustedPlaces,
    /// Such endpoints with something due, for whose deliveries there is no room at the moment.
    back_seats: BackSeats,
    /// Endpoints with more in the store than was claimed: claimed again when their queues run low.
    more: HashSet<i64>,
    heads: Heads,
    rates: Rates,
    /// When what rests is woken next.
    wake_at: Option<Duration>,
    /// Where the next look into the store begins.
    look_after: Option<(u16, i64)>,
    looked_at: Option<Timestamp>,
    probes: Probes,
    /// A claim was put off because memory is full; whoever makes room wakes it.
    put_off: bool,
    stopping: bool,
}

/// What a dispatcher's memory holds: deliveries and places in flight. All of it is given back sooner or later.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct InMemory {
    /// Deliveries that wait for their turn.
    pub waiting: usize,
    /// Of these, those that were claimed and not handed over.
    pub claimed: usize,
    /// The bytes of their payloads.
    pub claimed_bytes: usize,
    /// Of these, those whose endpoints are not known to answer.
    pub claimed_untrusted: usize,
    /// Attempts in flight.
    pub in_flight: usize,
    /// Of these, tests.
    pub tests_in_flight: usize,
    /// Of these, to endpoints that are not known to answer.
    pub untrusted_in_flight: usize,
}

/// What a round did; tests step it until it did nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Round {
    /// Things handed over and taken in.
    pub taken_in: usize,
    /// Deliveries claimed, or ended since their payloads are gone.
    pub claimed: usize,
    /// Attempts made, or deliveries ended or given back without one.
    pub attempted: usize,
}

impl std::fmt::Debug for Dispatcher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Dispatcher")
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

impl Dispatcher {
    /// A dispatcher that sends through `attempting`.
    pub fn new(
        store: Store,
        clock: Arc<dyn Clock>,
        attempting: Attempting,
        limits: DispatchLimits,
    ) -> Arc<Self> {
        let state = Mutex::new(State {
            queue: FairQueue::new(Arc::clone(store.backpressure())),
            untrusted: UntrustedPlaces::new(limits.in_flight_max),
            look_after: Some(START),
            ..State::default()
        });
        let permission = Permission::new({
            let store = store.clone();
            move || store.holds_lease()
        });
        Arc::new(Self {
            permission,
            store,
            clock,
            attempting,
            limits,
            state,
            woken: Notify::new(),
            landed: Notify::new(),
            rests: Notify::new(),
        })
    }

    /// One bounded round: takes in what is there, claims what is due, makes the attempts that are ready, all at once, and
    /// waits for them. Tests step this; [`run`](Self::run) does the same without waiting.
    pub async fn tick(self: &Arc<Self>, fresh: &mut Fresh) -> Result<Round, StoreError> {
        let mut taken_in = 0;
        while let Some(handover) = fresh.try_next() {
            self.take_in(handover).await?;
            taken_in += 1;
        }
        Ok(Round {
            taken_in,
            ..self.tick_without_fresh().await?
        })
    }

    /// The same with nothing handed over: what waits is found in the store.
    pub async fn tick_without_fresh(self: &Arc<Self>) -> Result<Round, StoreError> {
        let claimed = self.claim_round().await?;
        let ready: Vec<_> = std::iter::from_fn(|| self.start_next()).collect();
        let attempted = ready.len();
        futures_util::future::join_all(ready.into_iter().map(|claimed| self.attempt(claimed))).await;
        Ok(Round {
            taken_in: 0,
            claimed,
            attempted,
        })
    }

    /// Works until `stop` turns true. Then nothing new is started, what is in flight has until [`finish`](Self::finish).
    pub async fn run(self: Arc<Self>, mut fresh: Fresh, mut stop: watch::Receiver<bool>) {
        let claiming = tokio::spawn(Arc::clone(&self).claim_on(stop.clone()));
        let waking = tokio::spawn(Arc::clone(&self).wake_on(stop.clone()));
        loop {
            let handover = tokio::select! {
                handover = fresh.next() => handover,
                _ = stop.wait_for(|stop| *stop) => None,
            };
            let Some(handover) = handover else { break };
            if let Err(error) = self.take_in(handover).await {
                tracing::error!(%error, "a delivery that was to be cancelled could not be; its attempt decides");
            }
            self.start_all();
        }
        self.state.lock().stopping = true;
        self.woken.notify_one();
        drop(claiming.await);
        drop(waking.await);
    }

    /// Takes out what waits in memory.
    fn drain(&self) -> Vec<Claimed> {
        let mut state = self.state.lock();
        let waiting = state.queue.drain();
        self.tell(&state);
        waiting
    }

    /// Tells the operator's metrics how much there is.
    fn tell(&self, state: &State) {
        let metrics = self.store.metrics();
        metrics.in_flight.set(state.in_flight);
        metrics.in_memory.set(state.queue.len());
    }

    /// After [`run`](Self::run): waits for what is in flight until `grace` completes, then breaks it off; gives back what
    /// still waits. Returns when everything is recorded, or when the store takes no records: the next start repeats what is
    /// missing.
    pub async fn finish(&self, grace: impl Future<Output = ()>) {
        let waiting = self.drain();
        let releases: Vec<_> = waiting.iter().map(Claimed::release).collect();
        if let Err(error) = self.store.release(releases).await {
            tracing::warn!(%error, "waiting deliveries could not be given back; the next start recovers them");
        }
        tokio::select! {
            () = self.idle() => return,
            () = grace => {}
        }
        self.attempting.break_off();
        tokio::select! {
            () = self.idle() => {}
            () = self.wait(LAST_RECORDS_MAX) => {
                tracing::warn!("attempts could not be recorded before the end; the next start repeats them");
            }
        }
    }

    /// What this process's memory holds.
    pub fn in_memory(&self) -> InMemory {
        let state = self.state.lock();
        let (claimed, claimed_bytes) = state.queue.claimed();
        InMemory {
            waiting: state.queue.waiting(),
            claimed,
            claimed_bytes,
            claimed_untrusted: state.queue.claimed_untrusted(),
            in_flight: state.in_flight,
            tests_in_flight: state.tests_in_flight,
            untrusted_in_flight: state.untrusted.in_flight(),
        }
    }

    async fn idle(&self) {
        loop {
            let landed = self.landed.notified();
            if self.state.lock().in_flight == 0 {
                return;
            }
            landed.await;
        }
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "the loop's own wait, between two rounds; tests step the rounds"
    )]
    async fn wait(&self, wait: Duration) {
        tokio::time::sleep(wait).await;
    }

    async fn take_in(&self, handover: Handover) -> Result<(), StoreError> {
        match handover {
            Handover::Claimed(claimed) => claimed.into_iter().for_each(|claimed| self.enqueue(claimed)),
            Handover::Waiting(waiting) => {
                let mut state = self.state.lock();
                waiting.into_iter().for_each(|waiting| state.agenda.note(waiting));
                drop(state);
                self.woken.notify_one();
            }
            Handover::Reordered(endpoint) => self.state.lock().heads.forget(endpoint),
            Handover::CancelRequested(delivery, reason) => {
                // What is in flight is left alone: its record decides.
                let removed = self.state.lock().queue.remove(delivery.n());
                if let Some(claimed) = removed {
                    let cancel = claimed.cancel(reason);
                    if let Err(error) = self.store.cancel_claimed(cancel).await {
                        // Nobody else knows of it: forgotten here, it would wait for the next start.
                        self.enqueue(claimed);
                        return Err(error);
                    }
                    self.claim_more(claimed.endpoint, claimed.shard);
                }
            }
        }
        Ok(())
    }

    /// Claims for an endpoint again, if that was put off until what is in memory is gone.
    fn claim_more(&self, endpoint: i64, shard: u16) {
        let mut state = self.state.lock();
        if state.more.remove(&endpoint) {
            state.agenda.note(Waiting {
                endpoint,
                shard,
                due_at: Timestamp::EPOCH,
            });
            self.woken.notify_one();
        }
    }

    fn enqueue(&self, claimed: Claimed) {
        let mut state = self.state.lock();
        let standing = self.standing(&state, claimed.endpoint);
        state.queue.push(claimed, standing.share);
        self.tell(&state);
        self.note_rests(&mut state);
    }
}
