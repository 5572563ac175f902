//! How long this node may believe that what it has claimed is its own.
//!
//! A lease is as long as [`LEASE`] from when a beat that the database took was *sent*. It is judged by a clock that goes on
//! while the machine sleeps: a node that slept must not send on what another has taken over. Not by the [`Clock`] of the
//! program, which tests step: other processes are on the other side of the lease, and they live in real time.
//!
//! [`Clock`]: stentor_domain::Clock

use rustix::time::{ClockId, clock_gettime};
use std::time::Duration;
use tokio::sync::watch;

/// How long a beat lasts.
pub(crate) const LEASE: Duration = Duration::from_secs(3);

/// This node's lease.
#[derive(Debug)]
pub(crate) struct Lease {
    /// Until when, since the machine started.
    until: watch::Sender<Duration>,
}

impl Lease {
    /// A lease from a beat that was sent at `sent`.
    pub(crate) fn new(sent: Duration) -> Self {
        Self {
            until: watch::Sender::new(sent + LEASE),
        }
    }

    /// A beat that was sent at `sent` was taken.
    pub(crate) fn renew(&self, sent: Duration) {
        self.until.send_replace(sent + LEASE);
    }

    /// Whether it lasts at this moment.
    pub(crate) fn holds(&self) -> bool {
        since_boot() < *self.until.borrow()
    }

    /// Waits until it does.
    pub(crate) async fn held(&self) {
        if self.holds() {
            return;
        }
        let mut until = self.until.subscribe();
        // The sender lives as long as this.
        let _ = until.wait_for(|until| since_boot() < *until).await;
    }
}

/// The time since the machine started, sleep included.
pub(crate) fn since_boot() -> Duration {
    let now = clock_gettime(ClockId::Boottime);
    Duration::new(now.tv_sec.unsigned_abs(), u32::try_from(now.tv_nsec).unwrap_or(0))
}
