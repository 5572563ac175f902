//! Endpoints with a rate: their starts are counted, and what rests is woken when its time comes.

use super::{Dispatcher, State};
use crate::rates::{Rates, Turn};
use std::sync::Arc;
use std::time::Duration;
use stentor_store::hot::Claimed;
use tokio::sync::watch;

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
        let next = state.queue.next_wake();
        if next.is_some() && state.wake_at.is_none_or(|known| next < Some(known)) {
            state.wake_at = next;
            self.rests.notify_one();
        }
    }

    /// Starts what rests for its rate when its time comes, until `stop` turns true.
    pub(super) async fn wake_on(self: Arc<Self>, mut stop: watch::Receiver<bool>) {
        loop {
            self.start_all();
            let wait = {
                let mut state = self.state.lock();
                state.wake_at = state.queue.next_wake();
                let now = self.clock.monotonic();
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
