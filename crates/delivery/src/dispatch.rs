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

use crate::agenda::Agenda;
use crate::attempt::Attempting;
use crate::queue::FairQueue;
use crate::transport::Permission;
use parking_lot::Mutex;
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;
use stentor_domain::attempt::Trigger;
use stentor_domain::{Clock, Timestamp};
use stentor_store::hot::{Claim, Claimed};
use stentor_store::{Fresh, Handover, Store, StoreError, Waiting};
use tokio::sync::{Notify, watch};

/// Tests in flight. They go past the overall limit, so that one can be sent while everything else hangs; each has a caller
/// who waits for it.
const TESTS_IN_FLIGHT_MAX: usize = 64;
/// Deliveries that one claim takes, as a multiple of the endpoint's cap: enough to keep it busy while the next is claimed.
const CLAIM_CAPS: usize = 2;
/// Claimed deliveries that wait in memory before no more are claimed.
const WAITING_MAX: usize = 4_096;
/// Bytes of claimed payload that wait in memory before no more is claimed.
const WAITING_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Endpoints that one look into the store finds.
const LOOK_ENDPOINTS: usize = 1_000;
/// How often the agenda looks into the store for itself.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Endpoints claimed for in one round.
const ROUND_CLAIMS: usize = 256;
/// Endpoints claimed for at once, so that they share a commit.
const CLAIMS_AT_ONCE: usize = 32;

/// How long the last attempts have to be recorded once they are broken off.
const LAST_RECORDS_MAX: Duration = Duration::from_secs(5);

/// Where the look begins: before every shard and endpoint.
const START: (u16, i64) = (0, i64::MIN);

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
}

#[derive(Default)]
struct State {
    queue: FairQueue,
    agenda: Agenda,
    /// Attempts in flight, tests among them.
    in_flight: usize,
    tests_in_flight: usize,
    /// Endpoints with more in the store than was claimed: claimed again when their queues run low.
    more: HashSet<i64>,
    /// Where the next look into the store begins.
    look_after: Option<(u16, i64)>,
    looked_at: Option<Timestamp>,
    /// A claim was put off because memory is full; whoever makes room wakes it.
    put_off: bool,
    stopping: bool,
}

/// What a round did; tests step it until it did nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Round {
    /// Things handed over and taken in.
    pub taken_in: usize,
    /// Deliveries claimed.
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
    }

    /// After [`run`](Self::run): waits for what is in flight until `grace` completes, then breaks it off; gives back what
    /// still waits. Returns when everything is recorded, or when the store takes no records: the next start repeats what is
    /// missing.
    pub async fn finish(&self, grace: impl Future<Output = ()>) {
        let waiting = self.state.lock().queue.drain();
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

    async fn idle(&self) {
        loop {
            let landed = self.landed.notified();
            if self.state.lock().in_flight == 0 {
                return;
            }
            landed.await;
        }
    }

    async fn claim_on(self: Arc<Self>, mut stop: watch::Receiver<bool>) {
        loop {
            if let Err(error) = self.claim_round().await {
                tracing::error!(%error, "due deliveries could not be claimed; it is tried again");
                self.wait(LOOK_EVERY).await;
            }
            self.start_all();
            let wait = self.until_next_claim();
            tokio::select! {
                () = self.woken.notified() => {}
                () = self.wait(wait) => {}
                _ = stop.wait_for(|stop| *stop) => return,
            }
        }
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "the loop's own wait, between two rounds; tests step the rounds"
    )]
    async fn wait(&self, wait: Duration) {
        tokio::time::sleep(wait).await;
    }

    fn until_next_claim(&self) -> Duration {
        let state = self.state.lock();
        if state.look_after.is_some_and(|after| after != START) {
            return Duration::ZERO;
        }
        let due_in = state
            .agenda
            .next_due()
            .filter(|_| has_room(&state))
            .map(|due| due.since(self.clock.now()));
        due_in.unwrap_or(LOOK_EVERY).min(LOOK_EVERY)
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
                }
            }
        }
        Ok(())
    }

    fn enqueue(&self, claimed: Claimed) {
        let own = self.store.config().endpoint(claimed.endpoint);
        let own = own
            .and_then(|configured| configured.endpoint.settings.max_in_flight)
            .map(usize::from);
        self.state
            .lock()
            .queue
            .push(claimed, own.unwrap_or(self.limits.in_flight_per_endpoint_max));
    }

    /// Looks into the store where it is time to, and claims for the endpoints that are due. Tells how many deliveries.
    async fn claim_round(&self) -> Result<usize, StoreError> {
        self.look().await?;
        let mut claimed = 0;
        for _ in 0..ROUND_CLAIMS / CLAIMS_AT_ONCE {
            let now = self.clock.now();
            let due = self.take_due(now);
            if due.is_empty() {
                break;
            }
            let claims = due.into_iter().map(|waiting| self.claim_for(waiting, now));
            for got in futures_util::future::join_all(claims).await {
                claimed += got?;
            }
        }
        Ok(claimed)
    }

    /// The next endpoints to claim for, as far as there is room in memory for what they bring.
    fn take_due(&self, now: Timestamp) -> Vec<Waiting> {
        let mut state = self.state.lock();
        if !has_room(&state) {
            state.put_off = true;
            return Vec::new();
        }
        std::iter::from_fn(|| state.agenda.take_due(now))
            .take(CLAIMS_AT_ONCE)
            .collect()
    }

    /// Reads which endpoints have something waiting, a page at a time; a page that is full is followed by the next at once.
    async fn look(&self) -> Result<(), StoreError> {
        let now = self.clock.now();
        let after = {
            let mut state = self.state.lock();
            let resting = state.look_after == Some(START)
                && state
                    .looked_at
                    .is_some_and(|looked_at| now >= looked_at && now.since(looked_at) < LOOK_EVERY);
            if resting {
                return Ok(());
            }
            state.looked_at = Some(now);
            state.look_after.unwrap_or(START)
        };
        let waiting = self.store.waiting_endpoints(after, LOOK_ENDPOINTS).await?;
        let mut state = self.state.lock();
        let last = waiting.last().filter(|_| waiting.len() == LOOK_ENDPOINTS);
        state.look_after = Some(last.map_or(START, |last| (last.shard, last.endpoint)));
        waiting.into_iter().for_each(|waiting| state.agenda.note(waiting));
        Ok(())
    }

    /// Claims for one endpoint. One that does not send now is left alone: it is told of again when it is active, and looks
    /// find it in any case.
    async fn claim_for(&self, waiting: Waiting, now: Timestamp) -> Result<usize, StoreError> {
        let Some(configured) = self.store.config().endpoint(waiting.endpoint) else {
            return Ok(0);
        };
        if !configured.endpoint.status.sends() {
            return Ok(0);
        }
        let own = configured.endpoint.settings.max_in_flight.map(usize::from);
        let cap = own.unwrap_or(self.limits.in_flight_per_endpoint_max);
        let limit = CLAIM_CAPS * cap;
        {
            let mut state = self.state.lock();
            if state.queue.waiting_for(waiting.endpoint) >= limit {
                state.more.insert(waiting.endpoint);
                return Ok(0);
            }
        }
        let limit = u32::try_from(limit).unwrap_or(u32::MAX);
        let claim = Claim {
            endpoint: waiting.endpoint,
            shard: waiting.shard,
            now,
            limit,
        };
        let got = match self.store.claim_due(claim).await {
            Ok(got) => got,
            Err(error) => {
                self.state.lock().agenda.note(waiting);
                return Err(error);
            }
        };
        let mut state = self.state.lock();
        if let Some(due_at) = got.next_due_at {
            // Where all that was claimed has ended without an attempt, nothing will land that could ask for more.
            if due_at <= now && !got.deliveries.is_empty() {
                state.more.insert(waiting.endpoint);
            } else {
                state.agenda.note(Waiting { due_at, ..waiting });
            }
        }
        let claimed = got.deliveries.len();
        got.deliveries
            .into_iter()
            .for_each(|claimed| state.queue.push(claimed, cap));
        Ok(claimed)
    }

    /// Starts every attempt that may start now, each in a task of its own that goes on with the next one.
    fn start_all(self: &Arc<Self>) {
        while let Some(claimed) = self.start_next() {
            let this = Arc::clone(self);
            tokio::spawn(async move {
                let mut next = Some(claimed);
                while let Some(claimed) = next {
                    this.attempt(claimed).await;
                    next = this.start_next();
                }
            });
        }
    }

    fn start_next(&self) -> Option<Claimed> {
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
        let next = match test {
            Some(test) => test,
            None if state.in_flight - state.tests_in_flight < self.limits.in_flight_max => {
                state.queue.next()?
            }
            None => return None,
        };
        state.in_flight += 1;
        Some(next)
    }

    async fn attempt(&self, claimed: Claimed) {
        // Dropped when the attempt has ended, however it ended: a fault of ours in one must not cost a place for ever.
        let _flight = Flight {
            dispatcher: self,
            endpoint: claimed.endpoint,
            shard: claimed.shard,
            test: claimed.trigger == Trigger::Test,
        };
        self.attempting
            .attempt(&self.store, &self.permission, claimed)
            .await;
    }

    fn land(&self, flight: &Flight<'_>) {
        let mut state = self.state.lock();
        state.in_flight -= 1;
        state.tests_in_flight -= usize::from(flight.test);
        let waiting = if flight.test {
            usize::MAX
        } else {
            state.queue.landed(flight.endpoint)
        };
        // Claimed again when half of what one claim takes is left, so that the endpoint never waits for the store.
        if waiting <= self.limits.in_flight_per_endpoint_max && state.more.remove(&flight.endpoint) {
            state.agenda.note(Waiting {
                endpoint: flight.endpoint,
                shard: flight.shard,
                due_at: Timestamp::EPOCH,
            });
            self.woken.notify_one();
        }
        if state.put_off && has_room(&state) {
            state.put_off = false;
            self.woken.notify_one();
        }
        drop(state);
        self.landed.notify_waiters();
    }
}

/// A delivery's place among those in flight, given back when it is dropped.
struct Flight<'a> {
    dispatcher: &'a Dispatcher,
    endpoint: i64,
    shard: u16,
    test: bool,
}

impl Drop for Flight<'_> {
    fn drop(&mut self) {
        self.dispatcher.land(self);
    }
}

fn has_room(state: &State) -> bool {
    let (waiting, bytes) = state.queue.claimed();
    waiting < WAITING_MAX && bytes < WAITING_BYTES_MAX
}
