//! One round: one subject, started anew, under the load for a while.

use std::sync::Arc;
use std::time::Duration;

use stentor_domain::Clock as _;

use super::load::{Load, Published};
use super::postgres::Server;
use super::receiver::Receiver;
use super::report::Measured;
use super::subject::{Kind, Subject};
use super::tally::Tally;
use crate::commands::wait;
use crate::failure::Failure;
use crate::system::SystemClock;

/// Before the measured part: connections are opened, caches filled, the allocator grown.
const WARM_UP: Duration = Duration::from_secs(1);
/// What has not come so long after the load's end is lost: longer than the first waits of the default schedule.
const DRAIN_MAX: Duration = Duration::from_secs(60);
const DRAIN_LOOK_EVERY: Duration = Duration::from_millis(20);

/// What is the same in all rounds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan {
    /// How long the measured part of a round is.
    pub(super) window: Duration,
    pub(super) connections: u64,
    /// Endpoints that each event goes to.
    pub(super) fan_out: u64,
}

/// Runs one round and gives what it showed. The server is measured on `postgres` where one is given.
pub(super) async fn run(kind: Kind, plan: Plan, postgres: Option<&Server>) -> Result<Measured, Failure> {
    let clock = Arc::new(SystemClock::new());
    let tally = Arc::new(Tally::new(plan.fan_out));
    let receiver = Receiver::start(Arc::clone(&tally), Arc::clone(&clock)).await?;
    let subject = Subject::start(kind, receiver.address, plan.fan_out, postgres).await?;
    let load = Load::start(
        subject.address(),
        &subject.doors,
        plan.connections,
        Arc::clone(&clock),
    );
    wait(WARM_UP).await;

    let before = (clock.monotonic(), subject.usage()?, load.accepted());
    let meter_before = subject.meter().await?;
    tally.open_window();
    wait(plan.window).await;
    let latencies = tally.close_window();
    let after = (clock.monotonic(), subject.usage()?, load.accepted());
    let meter_after = subject.meter().await?;
    let wal_bytes = subject.wal_bytes();

    let published = load.stop().await?;
    drain(&tally, &published, plan.fan_out, &clock).await;
    // The receiver listens until the subject has ended: what comes late is still counted.
    let database = subject.stop().await?;
    let deliveries = tally.distinct() + tally.duplicates();
    let postgres = match database.zip(meter_before.zip(meter_after)) {
        Some((database, (before, after))) => Some(database.close(&before, &after, deliveries).await?),
        None => None,
    };
    Ok(Measured {
        window: after.0.saturating_sub(before.0),
        cpu: after.1.cpu.saturating_sub(before.1.cpu),
        accepted: after.2.saturating_sub(before.2),
        latencies,
        rss_bytes: after.1.rss_bytes,
        wal_bytes,
        duplicates: tally.duplicates(),
        lost: tally.missing(published.events, &published.refused),
        strange: tally.strange(),
        refused: published.refused.len().try_into().unwrap_or(u64::MAX),
        refusal: published.refusal,
        postgres,
    })
}

/// Waits until everything that was accepted has come, or [`DRAIN_MAX`] is over.
async fn drain(tally: &Tally, published: &Published, fan_out: u64, clock: &SystemClock) {
    let refused = u64::try_from(published.refused.len()).unwrap_or(u64::MAX);
    let expected = published.events.saturating_sub(refused).saturating_mul(fan_out);
    let until = clock.monotonic() + DRAIN_MAX;
    while tally.distinct() < expected && clock.monotonic() < until {
        wait(DRAIN_LOOK_EVERY).await;
    }
}
