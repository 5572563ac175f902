//! The counting: a sliding window's log for each key and bucket, so that a limit holds in *any* 60 seconds. A counter that
//! starts anew each minute would let twice as many through around its start.

use parking_lot::Mutex;
use std::borrow::Cow;
use std::collections::{HashMap, VecDeque};
use std::num::NonZeroU32;
use std::time::Duration;
use stentor_domain::Timestamp;
use stentor_domain::id::KeyId;

/// How far back requests count. Half open: what is exactly so old counts no more.
pub(super) const WINDOW: Duration = Duration::from_secs(60);

/// What is counted together: a contract's name, or one of its operations.
pub(super) type Bucket = Cow<'static, str>;

/// The requests of every key in the last 60 seconds. It holds at most a quota of instants for each key and bucket, and
/// forgets those of keys that ask no more.
#[derive(Debug, Default)]
pub(crate) struct RateLimits(Mutex<Windows>);

#[derive(Debug)]
struct Windows {
    by_key: HashMap<(KeyId, Bucket), Window>,
    swept_at: Timestamp,
}

/// When the requests of one key in one bucket were admitted, in order.
#[derive(Debug, Default)]
struct Window(VecDeque<Timestamp>);

/// How a key stands after a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    /// The most requests in 60 seconds.
    pub limit: u32,
    /// How many more would be admitted at this moment.
    pub remaining: u32,
    /// When this was so.
    pub at: Timestamp,
    /// Until the oldest request that counts does so no more.
    pub resets_in: Duration,
    /// The error is how long to wait for a place.
    pub admitted: Result<(), Duration>,
}

impl Default for Windows {
    fn default() -> Self {
        Self {
            by_key: HashMap::new(),
            swept_at: Timestamp::EPOCH,
        }
    }
}

impl RateLimits {
    /// Admits a request if fewer than `quota` were admitted in the last 60 seconds. One that is refused takes no place.
    ///
    /// The clock is read under the lock, so that instants come in order whichever thread is first.
    pub(super) fn admit(
        &self,
        key: KeyId,
        bucket: Bucket,
        quota: NonZeroU32,
        now: impl FnOnce() -> Timestamp,
    ) -> Usage {
        let mut windows = self.0.lock();
        let now = now();
        windows.sweep(now);
        let window = windows.by_key.entry((key, bucket)).or_default();
        window.settle(now);
        window.admit(quota, now)
    }
}

impl Windows {
    /// Forgets empty windows, once a window: each was asked for since the last time, which pays for the look at it.
    fn sweep(&mut self, now: Timestamp) {
        if now >= self.swept_at && now.since(self.swept_at) < WINDOW {
            return;
        }
        self.swept_at = now;
        self.by_key.retain(|_, window| {
            window.settle(now);
            !window.0.is_empty()
        });
    }
}

impl Window {
    /// Forgets what counts no more. Where the clock was set back, what it calls the future happened now at the latest: it
    /// counts for a window from here, and no longer.
    fn settle(&mut self, now: Timestamp) {
        let ahead = self.0.iter_mut().rev().take_while(|instant| **instant > now);
        ahead.for_each(|instant| *instant = now);
        while self.0.front().is_some_and(|oldest| now.since(*oldest) >= WINDOW) {
            self.0.pop_front();
        }
    }

    fn admit(&mut self, quota: NonZeroU32, now: Timestamp) -> Usage {
        let most = usize::try_from(quota.get()).unwrap_or(usize::MAX);
        let admitted = match self.0.len().checked_sub(most) {
            // There may be more than the quota: it may have been larger a moment ago.
            Some(excess) => Err(self.leaves_in(excess, now)),
            None => {
                self.0.push_back(now);
                Ok(())
            }
        };
        let left = most.saturating_sub(self.0.len());
        Usage {
            limit: quota.get(),
            remaining: u32::try_from(left).unwrap_or(quota.get()),
            at: now,
            resets_in: self.leaves_in(0, now),
            admitted,
        }
    }

    /// How long until the request at this place counts no more.
    fn leaves_in(&self, place: usize, now: Timestamp) -> Duration {
        let instant = self.0.get(place);
        instant.map_or(Duration::ZERO, |instant| instant.plus(WINDOW).since(now))
    }
}

#[cfg(test)]
mod tests;
