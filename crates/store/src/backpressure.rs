//! Backpressure: who publishes more than this machine can send waits a little before the commit.
//!
//! A machine at its limits would accept twice what it sends, since every publish is a commit and every delivery an exchange as well.
//! What is too much finds no room in memory, is claimed later at a higher price, and is sent seconds late. So a publish waits while
//! all of this is so:
//! - [`READY_MAX`] deliveries are *ready*: handed over as they were accepted, to endpoints that answer and have less in flight than
//!   they may. What waits for its own endpoint is not among them, however much it is;
//! - they would all be started [`SOON`], at the pace of the last ones. Where receivers take longer, places in flight are what is
//!   missing, and to accept less would send no more;
//! - its tenant has an even share of [`READY_MAX`] or more: who publishes little does not wait for those who publish much.
//!
//! Nothing is refused, and nothing depends on it: who has waited for [`WAIT_MAX`] goes on.

use crate::Store;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use stentor_domain::Clock;
use stentor_domain::limits::IN_FLIGHT_MAX;
use tokio::sync::Notify;
use tokio::sync::futures::OwnedNotified;
use tokio::time::timeout;

/// Deliveries that may be ready before publishers wait: as many as may be in flight by default, so that these never want for the next.
const READY_MAX: usize = IN_FLIGHT_MAX;
/// In what time so many have to be started for it to be worth waiting.
const SOON: Duration = Duration::from_millis(50);
/// How long a publish waits at most.
const WAIT_MAX: Duration = Duration::from_millis(250);

/// What is ready in this process, how fast it is started, and who waits for it to become less.
#[derive(Debug, Default)]
pub struct Backpressure {
    /// All that is ready: whoever publishes need not lock anything to see that it is little.
    ready: AtomicUsize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Those with something ready.
    tenants: HashMap<i64, Tenant>,
    pace: Pace,
}

#[derive(Debug, Default)]
struct Tenant {
    ready: usize,
    /// Told when its publishers may go on; there once one has waited.
    eased: Option<Arc<Notify>>,
}

/// How fast deliveries are started. Times are of the process's own clock.
#[derive(Debug, Default)]
struct Pace {
    /// Those of the latest [`READY_MAX`], and since when they are.
    started: usize,
    since: Duration,
    /// Were those before them started within [`SOON`]?
    was_fast: bool,
}

impl Pace {
    fn note_start(&mut self, now: Duration) {
        self.started += 1;
        if self.started >= READY_MAX {
            *self = Self {
                started: 0,
                since: now,
                was_fast: self.is_in_time(now),
            };
        }
    }

    fn is_fast(&self, now: Duration) -> bool {
        self.was_fast && self.is_in_time(now)
    }

    fn is_in_time(&self, now: Duration) -> bool {
        now.saturating_sub(self.since) <= SOON
    }
}

impl State {
    /// Has a tenant too much that is ready, where `all` is?
    fn is_too_much(&self, of_tenant: &Tenant, all: usize) -> bool {
        all >= READY_MAX && of_tenant.ready * self.tenants.len() >= READY_MAX
    }

    /// Lets a tenant's publishers go on whose turn it is, now that less of it is ready and `all` is left of everybody: one for each
    /// delivery that is started, and all of them where none is left to be.
    fn ease(&mut self, tenant: i64, all: usize) {
        let Some(of_tenant) = self.tenants.get(&tenant) else {
            return;
        };
        let eased = of_tenant.eased.as_ref();
        if of_tenant.ready == 0 {
            eased.inspect(|eased| eased.notify_waiters());
            self.tenants.remove(&tenant);
        } else if !self.is_too_much(of_tenant, all) {
            eased.inspect(|eased| eased.notify_one());
        }
    }
}

impl Backpressure {
    /// How many deliveries are ready.
    pub fn ready(&self) -> usize {
        self.ready.load(Ordering::Relaxed)
    }

    /// Of a tenant's deliveries so many `are` ready, where so many `were`.
    pub fn note_ready(&self, tenant: i64, were: usize, are: usize) {
        if were == are {
            return;
        }
        let mut state = self.state.lock();
        let of_tenant = state.tenants.entry(tenant).or_default();
        of_tenant.ready = of_tenant.ready + are - were;
        let all = self.ready() + are - were;
        self.ready.store(all, Ordering::Relaxed);
        if are < were {
            state.ease(tenant, all);
        }
    }

    /// A delivery was started.
    pub fn note_start(&self, now: Duration) {
        self.state.lock().pace.note_start(now);
    }

    /// Waits for the turn of somebody who publishes to these tenants; tells for how long, where that was necessary.
    async fn turn(&self, tenants: impl Iterator<Item = i64> + Clone, clock: &dyn Clock) -> Option<Duration> {
        let mut crowded = self.crowded(tenants.clone(), clock)?;
        let began = clock.monotonic();
        let waits = async {
            loop {
                // Asked again now and then, since the pace may have become slow.
                drop(timeout(SOON, crowded).await);
                match self.crowded(tenants.clone(), clock) {
                    Some(still) => crowded = still,
                    None => return,
                }
            }
        };
        drop(timeout(WAIT_MAX, waits).await);
        Some(clock.monotonic().saturating_sub(began))
    }

    /// What to wait for, where one of these tenants has too much that is ready.
    fn crowded(&self, mut tenants: impl Iterator<Item = i64>, clock: &dyn Clock) -> Option<OwnedNotified> {
        let all = self.ready();
        if all < READY_MAX {
            return None;
        }
        let mut state = self.state.lock();
        if !state.pace.is_fast(clock.monotonic()) {
            return None;
        }
        let crowding = tenants.find(|tenant| {
            let of_tenant = state.tenants.get(tenant);
            of_tenant.is_some_and(|of_tenant| state.is_too_much(of_tenant, all))
        });
        let eased = state.tenants.get_mut(&crowding?)?.eased.get_or_insert_default();
        Some(Arc::clone(eased).notified_owned())
    }
}

impl Store {
    /// What tells publishers to wait.
    pub fn backpressure(&self) -> &Arc<Backpressure> {
        &self.0.common.backpressure
    }

    /// Waits for the turn of somebody who publishes to these tenants, for a quarter of a second at most.
    pub async fn turn(&self, tenants: impl Iterator<Item = i64> + Clone) {
        if let Some(waited) = self.backpressure().turn(tenants, self.clock()).await {
            self.metrics().publish_wait.note_duration(waited);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;
    use std::future::ready;
    use stentor_testkit::StepClock;

    /// A machine that has just started so many deliveries within [`SOON`].
    fn at_work(starts: usize) -> (Backpressure, StepClock) {
        let (backpressure, clock) = (Backpressure::default(), StepClock::default());
        (0..starts).for_each(|_| backpressure.note_start(clock.monotonic()));
        (backpressure, clock)
    }

    fn waits(backpressure: &Backpressure, clock: &StepClock, tenants: &[i64]) -> bool {
        let turn = backpressure.turn(tenants.iter().copied(), clock);
        turn.now_or_never().is_none()
    }

    #[tokio::test]
    async fn who_publishes_waits_where_much_is_ready() {
        let (backpressure, clock) = at_work(READY_MAX);
        backpressure.note_ready(1, 0, READY_MAX - 1);
        assert!(!waits(&backpressure, &clock, &[1]));
        backpressure.note_ready(1, 0, 1);
        assert!(waits(&backpressure, &clock, &[1]));
        backpressure.note_ready(1, 1, 0);
        assert!(!waits(&backpressure, &clock, &[1]));
    }

    #[tokio::test]
    async fn who_publishes_little_does_not_wait_for_those_who_publish_much() {
        let (backpressure, clock) = at_work(READY_MAX);
        backpressure.note_ready(1, 0, 10 * READY_MAX);
        backpressure.note_ready(2, 0, READY_MAX / 2 - 1);
        assert!(!waits(&backpressure, &clock, &[2]) && !waits(&backpressure, &clock, &[3]));
        assert!(
            waits(&backpressure, &clock, &[3, 2, 1]),
            "a batch for all of them"
        );
        backpressure.note_ready(2, 0, 1);
        assert!(waits(&backpressure, &clock, &[2]), "an even share");
    }

    #[tokio::test]
    async fn nobody_waits_where_starts_are_slow() {
        let (backpressure, clock) = at_work(READY_MAX - 1);
        backpressure.note_ready(1, 0, READY_MAX);
        assert!(!waits(&backpressure, &clock, &[1]), "nothing is known yet");
        clock.step(SOON);
        backpressure.note_start(clock.monotonic());
        assert!(waits(&backpressure, &clock, &[1]));
        clock.step(SOON);
        assert!(waits(&backpressure, &clock, &[1]));
        clock.step(Duration::from_micros(1));
        assert!(
            !waits(&backpressure, &clock, &[1]),
            "nothing was started for long"
        );
        (0..READY_MAX).for_each(|_| backpressure.note_start(clock.monotonic()));
        assert!(!waits(&backpressure, &clock, &[1]), "too late");
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_goes_on_one_by_one_as_it_becomes_less() {
        let (backpressure, clock) = at_work(READY_MAX);
        backpressure.note_ready(1, 0, READY_MAX);
        let turn = || Box::pin(backpressure.turn([1].into_iter(), &clock));
        let (mut first, mut second) = (turn(), turn());
        assert!((&mut first).now_or_never().is_none() && (&mut second).now_or_never().is_none());
        backpressure.note_ready(1, 1, 0);
        assert_eq!((&mut first).now_or_never(), Some(Some(Duration::ZERO)));
        assert_eq!((&mut second).now_or_never(), None);
        backpressure.note_ready(1, READY_MAX - 1, 0);
        assert_eq!(second.now_or_never(), Some(Some(Duration::ZERO)));
        assert!(
            backpressure.state.lock().tenants.is_empty(),
            "nothing is remembered"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn who_has_waited_long_enough_goes_on_and_so_does_everybody_when_it_becomes_slow() {
        let (backpressure, clock) = at_work(READY_MAX);
        backpressure.note_ready(1, 0, READY_MAX);
        let began = tokio::time::Instant::now();
        assert!(backpressure.turn([1].into_iter(), &clock).await.is_some());
        assert_eq!(began.elapsed().as_millis(), WAIT_MAX.as_millis());
        let began = tokio::time::Instant::now();
        let (waited, ()) = tokio::join!(
            backpressure.turn([1].into_iter(), &clock),
            ready(()).map(|()| clock.step(2 * SOON))
        );
        assert_eq!(waited, Some(2 * SOON));
        assert_eq!(began.elapsed().as_millis(), SOON.as_millis());
    }
}
