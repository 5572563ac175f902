//! One round: one subject under the load for a while, and what it showed.

use std::sync::Arc;
use std::time::Duration;

use stentor_domain::Clock as _;

use super::load::{Door, Load, Manner, Published};
use super::measured::Measured;
use super::postgres::Meter;
use super::receiver::Receiver;
use super::subject::{Place, Subject};
use super::tally::Tally;
use crate::commands::wait;
use crate::failure::Failure;
use crate::system::SystemClock;

/// Before the measured part: connections are opened, caches filled, the allocator grown.
const WARM_UP: Duration = Duration::from_secs(1);
/// What has not come so long after the load's end is lost: longer than the first waits of the default schedule.
const DRAIN_MAX: Duration = Duration::from_secs(60);
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// How often memory and the log are looked at.
const SAMPLE_EVERY: Duration = Duration::from_millis(100);

/// What is the same in all rounds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan {
    /// How long the measured part of a round is.
    pub(super) window: Duration,
    pub(super) manner: Manner,
    /// Endpoints that each event goes to.
    pub(super) fan_out: u64,
}

/// The receiving end of a round.
pub(super) struct Scene {
    pub(super) clock: Arc<SystemClock>,
    pub(super) tally: Arc<Tally>,
    pub(super) receiver: Receiver,
}

impl Scene {
    /// Starts to listen, for events that go to `fan_out` endpoints each.
    pub(super) async fn open(fan_out: u64) -> Result<Self, Failure> {
        let clock = Arc::new(SystemClock::new());
        let tally = Arc::new(Tally::new(fan_out));
        let receiver = Receiver::start(Arc::clone(&tally), Arc::clone(&clock)).await?;
        Ok(Self {
            clock,
            tally,
            receiver,
        })
    }

    /// Starts to publish.
    pub(super) fn load(&self, subject: &Subject, doors: &[Door], manner: Manner) -> Load {
        Load::start(subject.address, doors, manner, Arc::clone(&self.clock))
    }

    /// Waits until so many different deliveries have come, or `most` is over; tells whether they have.
    pub(super) async fn has_come(&self, deliveries: u64, most: Duration) -> bool {
        let until = self.clock.monotonic() + most;
        while self.tally.distinct() < deliveries {
            if self.clock.monotonic() >= until {
                return false;
            }
            wait(LOOK_EVERY).await;
        }
        true
    }
}

/// Runs a round of the relay.
pub(super) async fn relay(plan: Plan) -> Result<Measured, Failure> {
    let scene = Scene::open(plan.fan_out).await?;
    let (relay, doors) = Subject::relay(scene.receiver.address, plan.fan_out).await?;
    let (measured, _) = under_load(&scene, &relay, &doors, plan, wait(plan.window)).await?;
    relay.stop().await?;
    Ok(measured)
}

/// Runs a round of a server with the further options `words`.
pub(super) async fn server(plan: Plan, place: &Place, words: &[&str]) -> Result<Measured, Failure> {
    let scene = Scene::open(plan.fan_out).await?;
    let mut server = Subject::server(place, words).await?;
    let doors = server
        .setup()
        .await?
        .steady_doors(scene.receiver.address, plan.fan_out)
        .await?;
    let (mut measured, meters) = under_load(&scene, &server, &doors, plan, wait(plan.window)).await?;
    let database = server.stop().await?;
    let deliveries = scene.tally.distinct() + scene.tally.duplicates();
    if let Some((database, (before, after))) = database.zip(meters) {
        measured.postgres = Some(database.close(&before, &after, deliveries).await?);
    }
    Ok(measured)
}

/// Puts `plan`'s load on a subject, measures until `window` ends, and waits for what was accepted to come. Leaves the subject
/// running. The second part is what PostgreSQL had spent before and after.
pub(super) async fn under_load(
    scene: &Scene,
    subject: &Subject,
    doors: &[Door],
    plan: Plan,
    window: impl Future<Output = ()>,
) -> Result<(Measured, Option<(Meter, Meter)>), Failure> {
    let Scene { clock, tally, .. } = scene;
    let load = scene.load(subject, doors, plan.manner);
    wait(WARM_UP).await;

    let before = (clock.monotonic(), subject.usage()?, load.accepted());
    let meter_before = subject.meter().await?;
    tally.open_window();
    let peaks = watch(subject, window).await?;
    let latencies = tally.close_window();
    let after = (clock.monotonic(), subject.usage()?, load.accepted());
    let meter_after = subject.meter().await?;

    let published = load.stop().await?;
    // The receiver listens until the subject has ended: what comes late is still counted.
    drain(scene, &published, plan.fan_out).await;
    let cpu = before
        .1
        .zip(after.1)
        .map(|(before, after)| after.cpu.saturating_sub(before.cpu));
    let measured = Measured {
        window: after.0.saturating_sub(before.0),
        cpu,
        accepted: after.2.saturating_sub(before.2),
        latencies,
        rss_bytes: peaks.rss_bytes,
        wal_bytes: peaks.wal_bytes,
        duplicates: tally.duplicates(),
        lost: tally.missing(published.events, &published.refused),
        strange: tally.strange(),
        refused: published.refused.len().try_into().unwrap_or(u64::MAX),
        refusal: published.refusal,
        postgres: None,
    };
    Ok((measured, meter_before.zip(meter_after)))
}

/// The most that a subject had of each.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Peaks {
    pub(super) rss_bytes: Option<u64>,
    pub(super) wal_bytes: Option<u64>,
}

impl Peaks {
    fn note(&mut self, subject: &Subject) -> Result<(), Failure> {
        let usage = subject.usage()?;
        self.rss_bytes = self.rss_bytes.max(usage.map(|usage| usage.rss_bytes));
        self.wal_bytes = self.wal_bytes.max(subject.wal_bytes());
        Ok(())
    }
}

/// Looks at a subject's memory and log until `window` ends.
pub(super) async fn watch(subject: &Subject, window: impl Future<Output = ()>) -> Result<Peaks, Failure> {
    let mut peaks = Peaks::default();
    tokio::pin!(window);
    loop {
        tokio::select! {
            () = &mut window => break,
            () = wait(SAMPLE_EVERY) => peaks.note(subject)?,
        }
    }
    peaks.note(subject)?;
    Ok(peaks)
}

/// Waits until everything that was accepted has come, or [`DRAIN_MAX`] is over.
async fn drain(scene: &Scene, published: &Published, fan_out: u64) {
    let refused = u64::try_from(published.refused.len()).unwrap_or(u64::MAX);
    let expected = published.events.saturating_sub(refused).saturating_mul(fan_out);
    scene.has_come(expected, DRAIN_MAX).await;
}
