//! Endpoints with a rate: their starts are counted. They rest until their turn, as places do that hung: whoever rests is woken
//! when the time comes.

use super::{Dispatcher, State};
use crate::rates::{Rates, Turn};
use std::sync::Arc;
use std::time::Duration;
use stentor_store::hot::Claimed;
use tokio::sync::watch;

impl State {
    /// Ends the rests that have lasted until `now`.
    pub(super) fn wake(&mut self, now: Duration) {
        self.queue.wake(now);
        self.untrusted.wake(now);
    }

    /// When the first rest ends.
    fn next_wake(&self) -> Option<Duration> {
        let rests = [self.queue.next_wake(), self.untrusted.next_wake()];
        rests.into_iter().flatten().min()
    }
}

impl Dispatcher {
    /// Counts a start at `now` against the rate of its endpoint, if that has one; tells until when it rests. What came by the
    /// short way, which no endpoint with a rate has, is not counted: it is given back.
    pub(super) fn count(
        &self,
        rates: &mut Rates,
        claimed: &Claimed,
        now: Duration,
    ) -> (Option<Turn>, Option<Duration>) {
        let config = self.store.config().endpoint(claimed.endpoint);
        let limit = config.and_then(|configured| configured.endpoint.settings.rate_limit);
        match limit.filter(|_| claimed.room.is_none()) {
            Some(limit) => {
                let turn = rates.start(claimed.endpoint, limit, now);
                (Some(turn), rates.rests_until(claimed.endpoint, now))
            }
            None => (None, None),
        }
    }

    /// Lets the one that wakes know of an earlier time.
    pub(super) fn note_rests(&self, state: &mut State) {
        let next = state.next_wake();
        if next.is_some() && state.wake_at.is_none_or(|known| next < Some(known)) {
            state.wake_at = next;
            self.rests.notify_one();
        }
    }

    /// Starts what rests when its time comes, until `stop` turns true.
    pub(super) async fn wake_on(self: Arc<Self>, mut stop: watch::Receiver<bool>) {
        loop {
            self.start_all();
            let wait = {
                let now = self.clock.monotonic();
                let mut state = self.state.lock();
                // What has rested, and found all places taken, is waited for no longer: it starts when one is given back.
                state.wake(now);
                state.wake_at = state.next_wake();
                state.wake_at.map(|at| at.saturating_sub(now))
            };
            let rest = async {
                match wait {
                    Some(wait) => self.wait(wait).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = self.rests.notified() => {}
                () = rest => {}
                _ = stop.wait_for(|stop| *stop) => return,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::untrusted::UntrustedPlaces;
    use super::*;

    #[test]
    fn what_has_rested_is_not_waited_for_again() {
        let mut state = State {
            untrusted: UntrustedPlaces::new(16),
            ..State::default()
        };
        let now = Duration::from_secs(10);
        (0..2).for_each(|_| state.untrusted.take());
        (0..2).for_each(|_| state.untrusted.give_back(Duration::ZERO, now));
        let next = now + Duration::from_millis(250);
        assert_eq!(state.next_wake(), Some(next));
        state.wake(next);
        assert_eq!(state.next_wake(), None);
    }
}
