//! Claiming: looking into the store, and taking what is due for endpoints that may be sent to, as far as there is room.

use super::untrusted::SUSPECTS_PART;
use super::{Dispatcher, Standing, State};
use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;
use stentor_domain::Timestamp;
use stentor_store::health::Trust;
use stentor_store::hot::Claim;
use stentor_store::{StoreError, Waiting};
use tokio::sync::watch;

/// Deliveries that one claim takes, as a multiple of the endpoint's cap: enough to keep it busy while the next is claimed.
const CLAIM_CAPS: usize = 2;
/// Claimed deliveries that wait in memory before no more are claimed.
const WAITING_MAX: usize = 4_096;
/// Of these, how many may wait for endpoints that are not known to answer.
const UNTRUSTED_WAITING_MAX: usize = WAITING_MAX / 4;
/// Of these, how many before those wait whose last attempts had no answer.
const SUSPECTS_WAITING_MAX: usize = UNTRUSTED_WAITING_MAX / SUSPECTS_PART;
/// Bytes of claimed payload that wait in memory before no more is claimed.
const WAITING_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Endpoints that one look into the store finds: some 0.4 ms of a processor that the writer may be waiting for.
const LOOK_ENDPOINTS: usize = 100;
/// How often the agenda looks into the store for itself.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// A claim for an endpoint with a rate takes what starts in one of so many parts of a second.
const RATE_CLAIMS: u16 = 10;
/// How long before its turn a delivery to an endpoint with a rate is claimed.
const CLAIM_AHEAD: Duration = Duration::from_millis(50);
/// Endpoints claimed for in one round.
const ROUND_CLAIMS: usize = 256;
/// Endpoints claimed for at once, so that they share a commit.
const CLAIMS_AT_ONCE: usize = 32;
/// Where the look begins: before every shard and endpoint.
pub(super) const START: (u16, i64) = (0, i64::MIN);

/// Endpoints that wait for room, each once.
#[derive(Debug, Default)]
pub(super) struct BackSeats {
    order: VecDeque<Waiting>,
    endpoints: HashSet<i64>,
}

impl BackSeats {
    fn take(&mut self, waiting: Waiting) {
        if self.endpoints.insert(waiting.endpoint) {
            self.order.push_back(waiting);
        }
    }

    pub(super) fn leave(&mut self) -> Option<Waiting> {
        let waiting = self.order.pop_front()?;
        self.endpoints.remove(&waiting.endpoint);
        Some(waiting)
    }
}

impl Dispatcher {
    pub(super) async fn claim_on(self: Arc<Self>, mut stop: watch::Receiver<bool>) {
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

    /// Looks into the store where it is time to, and claims for the endpoints that are due. Tells how many deliveries.
    pub(super) async fn claim_round(&self) -> Result<usize, StoreError> {
        let works = self.store.owns_shards();
        self.state
            .lock()
            .rates
            .note_working(works, self.clock.monotonic());
        // A look that fails keeps nobody waiting who is known already.
        let looked = self.look().await;
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
        looked.map(|()| claimed)
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
        let Some(limit) = self.room_for(waiting, now) else {
            return Ok(0);
        };
        let limit = u32::try_from(limit).unwrap_or(u32::MAX);
        let claim = Claim {
            endpoint: waiting.endpoint,
            shard: waiting.shard,
            now,
            limit,
            in_order: configured.endpoint.settings.ordered,
        };
        let got = match self.store.claim_due(claim).await {
            Ok(got) => got,
            Err(error) => {
                self.state.lock().agenda.note(waiting);
                return Err(error);
            }
        };
        let mut state = self.state.lock();
        state.heads.forget(waiting.endpoint);
        if let Some(due_at) = got.next_due_at {
            if claim.in_order && due_at > now {
                state.heads.wait(waiting.endpoint, due_at, now);
            }
            // Where all that was claimed has ended without an attempt, nothing will land that could ask for more.
            if due_at <= now && !got.deliveries.is_empty() {
                state.more.insert(waiting.endpoint);
            } else {
                state.agenda.note(Waiting { due_at, ..waiting });
            }
        }
        let claimed = got.deliveries.len() + got.ended;
        let share = self.standing(&state, waiting.endpoint).share;
        got.deliveries
            .into_iter()
            .for_each(|claimed| state.queue.push(claimed, share));
        self.tell(&state);
        self.note_rests(&mut state);
        Ok(claimed)
    }

    /// How many may be claimed for an endpoint now. One for which none may is noted where it is found again.
    fn room_for(&self, waiting: Waiting, now: Timestamp) -> Option<usize> {
        let mut state = self.state.lock();
        let Standing {
            share,
            parked,
            host,
            in_order,
            rate,
        } = self.standing(&state, waiting.endpoint);
        if let Some(due_at) = parked {
            if let Some(host) = host {
                state.probes.wait(&host, waiting);
            }
            state.agenda.note(Waiting { due_at, ..waiting });
            return None;
        }
        if in_order {
            // The next one's turn comes when what is in memory has landed, and is recorded.
            if state.queue.is_busy(waiting.endpoint) {
                state.more.insert(waiting.endpoint);
                return None;
            }
            if let Some(due_at) = state.heads.waits_until(waiting.endpoint, now) {
                state.agenda.note(Waiting { due_at, ..waiting });
                return None;
            }
        }
        let limit = match (share.at_once, rate) {
            (1, _) => 1,
            (at_once, None) => CLAIM_CAPS * at_once,
            // What would have to rest for long must not take the room of others.
            (at_once, Some(rate)) => (CLAIM_CAPS * at_once).min(usize::from(rate / RATE_CLAIMS).max(1)),
        };
        if let Some(until) = share.rests_until {
            let wait = until.saturating_sub(self.clock.monotonic());
            if let Some(wait) = wait.checked_sub(CLAIM_AHEAD).filter(|wait| !wait.is_zero()) {
                let due_at = now.plus(wait);
                state.agenda.note(Waiting { due_at, ..waiting });
                return None;
            }
        }
        if state.queue.waiting_for(waiting.endpoint) >= limit {
            state.more.insert(waiting.endpoint);
            return None;
        }
        let most = match share.trust {
            Trust::Answers => usize::MAX,
            Trust::Unknown => UNTRUSTED_WAITING_MAX,
            Trust::Suspect => SUSPECTS_WAITING_MAX,
        };
        if state.queue.claimed_untrusted() >= most {
            state.back_seats.take(waiting);
            return None;
        }
        Some(limit)
    }
}

/// Is there room in memory for more that is claimed?
pub(super) fn has_room(state: &State) -> bool {
    let (waiting, bytes) = state.queue.claimed();
    waiting < WAITING_MAX && bytes < WAITING_BYTES_MAX
}
