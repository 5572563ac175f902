//! `backlog`: what an outage leaves. A million deliveries wait for endpoints that have failed; the server is killed and
//! started again with them; then the endpoints are back.

use std::time::Duration;

use serde_json::json;
use stentor_domain::Clock as _;

use super::super::bars::{Bar, Unit};
use super::super::figures::{mebibytes, ratio, round as rounded, whole};
use super::super::load::{Door, Manner, Published};
use super::super::receiver::path_of;
use super::super::report::Outcome;
use super::super::round::{self, Plan, Scene};
use super::super::stand::Stand;
use super::super::subject::Subject;
use crate::commands::wait;
use crate::failure::Failure;

/// Tenants with an endpoint each.
const TENANTS: usize = 100;
const BATCH_EVENTS: u64 = 1_000;
const BATCH_CONNECTIONS: u64 = 4;
/// How long a failed delivery waits, and how often: everything is due when the outage ends, and nothing is given up before.
const RETRY_SECONDS: u64 = 5;
const RETRIES: usize = 64;
const STEADY_CONNECTIONS: u64 = 256;
/// Before memory is looked at, so that what was under way has ended.
const REST: Duration = Duration::from_secs(5);
const FRESH_WITHIN: Duration = Duration::from_secs(120);
/// Deliveries that come in a second at the least; slower is given up.
const DRAIN_PER_SECOND_MIN: u64 = 250;
const IDLE_RSS_BYTES: f64 = 41_943_040.0;
const ADDED_RSS_BYTES: f64 = 157_286_400.0;
const RESTART_SECONDS: f64 = 2.0;
const DRAIN_RATIO: f64 = 0.5;

/// A server with an outage of its endpoints.
struct Outage {
    scene: Scene,
    server: Subject,
    endpoints: Vec<String>,
    /// Where the backlog comes from.
    doors: Vec<Door>,
    /// Of a tenant whose endpoint answers.
    fresh: Door,
    /// What has come of it.
    fresh_scene: Scene,
}

/// What was seen.
struct Seen {
    waiting: u64,
    idle_rss: Option<u64>,
    /// While it waits, and after the restart; the larger counts.
    rss: [Option<u64>; 2],
    published_in: Duration,
    restart: Duration,
    drained_in: Duration,
    lost: u64,
    duplicates: u64,
}

impl Seen {
    fn added_rss(&self) -> Option<u64> {
        let most = self.rss.into_iter().flatten().max()?;
        Some(most.saturating_sub(self.idle_rss?))
    }

    fn drain_rate(&self) -> f64 {
        ratio(self.waiting as f64, self.drained_in.as_secs_f64())
    }
}

/// Measures it.
pub(super) async fn run(stand: &Stand) -> Result<Outcome, Failure> {
    let (mut outage, idle_rss) = Outage::begin(stand).await?;
    let (published, published_in) = outage
        .publish(stand.by_scale(1_000_000, 50_000, 500), stand)
        .await?;
    let rest = stand.by_scale(REST, REST, Duration::from_millis(200));
    wait(rest).await;
    let waiting_rss = outage.rss()?;
    let restart = outage.restart().await?;
    wait(rest).await;
    let started_rss = outage.rss()?;
    let drained_in = outage.end(&published).await?;
    let tally = &outage.scene.tally;
    let seen = Seen {
        waiting: published.events,
        idle_rss,
        rss: [waiting_rss, started_rss],
        published_in,
        restart,
        drained_in,
        lost: tally.missing(published.events, &published.refused),
        duplicates: tally.duplicates(),
    };
    outage.server.stop().await?;
    let steady = Plan {
        window: stand.window(10, 3),
        manner: Manner::at_full_speed(stand.connections(STEADY_CONNECTIONS)),
        fan_out: 1,
    };
    let steady = round::server(steady, &stand.place, &[]).await?;
    Ok(outcome(stand, &seen, steady.rate()))
}

impl Outage {
    /// The second part is the memory of the idle server.
    async fn begin(stand: &Stand) -> Result<(Self, Option<u64>), Failure> {
        let (scene, fresh_scene) = (Scene::open(1).await?, Scene::open(1).await?);
        scene.receiver.set_out(true);
        let mut server = Subject::server(&stand.place, &[]).await?;
        wait(stand.by_scale(REST, REST, Duration::ZERO)).await;
        let idle_rss = server.usage()?.map(|usage| usage.rss_bytes);
        let mut setup = server.setup().await?;
        let (mut endpoints, mut doors) = (Vec::new(), Vec::new());
        for at in 0..stand.by_scale(TENANTS, TENANTS, 5) {
            let tenant = setup.tenant(&format!("Tenant {at}")).await?;
            let url = format!("http://{}{}", scene.receiver.address, path_of(at, 0));
            let waits = json!(vec![RETRY_SECONDS; RETRIES]);
            endpoints.push(
                setup
                    .endpoint(&tenant, &url, &[("retry_schedule", waits)])
                    .await?,
            );
            doors.push(setup.door(&tenant)?);
        }
        let tenant = setup.tenant("Fresh").await?;
        let url = format!("http://{}{}", fresh_scene.receiver.address, path_of(0, 0));
        setup.endpoint(&tenant, &url, &[]).await?;
        let fresh = setup.door(&tenant)?;
        let outage = Self {
            scene,
            server,
            endpoints,
            doors,
            fresh,
            fresh_scene,
        };
        Ok((outage, idle_rss))
    }

    fn rss(&self) -> Result<Option<u64>, Failure> {
        Ok(self.server.usage()?.map(|usage| usage.rss_bytes))
    }

    async fn publish(&self, events: u64, stand: &Stand) -> Result<(Published, Duration), Failure> {
        let batch = stand.by_scale(BATCH_EVENTS, BATCH_EVENTS, 10);
        let manner = Manner {
            batch,
            requests: Some(events / batch),
            ..Manner::at_full_speed(BATCH_CONNECTIONS)
        };
        let clock = &self.scene.clock;
        let started = clock.monotonic();
        let published = self
            .scene
            .load(&self.server, &self.doors, manner)
            .finish()
            .await?;
        match &published.refusal {
            Some(refusal) => Err(Failure::Failed(format!("a batch was refused with {refusal}"))),
            None => Ok((published, clock.monotonic().saturating_sub(started))),
        }
    }

    /// Kills the server and starts it again; tells how long it took from the start until a fresh event had been delivered.
    async fn restart(&mut self) -> Result<Duration, Failure> {
        self.server.kill_process().await?;
        let clock = &self.fresh_scene.clock;
        let started = clock.monotonic();
        self.server.start_again(&[]).await?;
        let one = Manner {
            requests: Some(1),
            ..Manner::at_full_speed(1)
        };
        let doors = [self.fresh.clone()];
        let published = self.fresh_scene.load(&self.server, &doors, one).finish().await?;
        if let Some(refusal) = published.refusal {
            return Err(Failure::Failed(format!(
                "the fresh event was refused with {refusal}"
            )));
        }
        if !self.fresh_scene.has_come(1, FRESH_WITHIN).await {
            return Err(Failure::Failed(format!(
                "an event that was published after the restart was not delivered within {FRESH_WITHIN:?}"
            )));
        }
        Ok(clock.monotonic().saturating_sub(started))
    }

    /// The receiver is back, and the owners resume their endpoints; tells how long it took from then until everything had come.
    async fn end(&mut self, published: &Published) -> Result<Duration, Failure> {
        let mut setup = self.server.setup().await?;
        for endpoint in &self.endpoints {
            setup.set_status(endpoint, "PAUSED").await?;
        }
        self.scene.receiver.set_out(false);
        let started = self.scene.clock.monotonic();
        for endpoint in &self.endpoints {
            setup.set_status(endpoint, "ACTIVE").await?;
        }
        let most = Duration::from_secs(60 + published.events / DRAIN_PER_SECOND_MIN);
        self.scene.has_come(published.events, most).await;
        Ok(self.scene.clock.monotonic().saturating_sub(started))
    }
}

fn outcome(stand: &Stand, seen: &Seen, steady_rate: f64) -> Outcome {
    let beside_steady = ratio(seen.drain_rate(), steady_rate);
    let bytes = |bytes: Option<u64>| bytes.map_or_else(|| "-".to_owned(), |bytes| mebibytes(bytes as f64));
    let rows = [
        (
            "published in",
            format!("{:.1} s", seen.published_in.as_secs_f64()),
        ),
        ("memory (RSS), idle", bytes(seen.idle_rss)),
        ("memory while they wait", bytes(seen.rss[0])),
        ("memory after the restart", bytes(seen.rss[1])),
        (
            "killed, started, fresh event delivered",
            format!("{:.2} s", seen.restart.as_secs_f64()),
        ),
        ("drained in", format!("{:.1} s", seen.drained_in.as_secs_f64())),
        ("deliveries/s while draining", whole(seen.drain_rate())),
        ("deliveries/s, steady", whole(steady_rate)),
        ("duplicates", seen.duplicates.to_string()),
        ("lost", seen.lost.to_string()),
    ];
    let mut words = format!(
        "backlog: {} deliveries wait for {} endpoints that fail\n\n",
        whole(seen.waiting as f64),
        stand.by_scale(TENANTS, TENANTS, 5)
    );
    words.extend(rows.map(|(name, told)| format!("{name:<40}{told:>14}\n")));
    let most = |what, figure, unit, bound| Bar::at_most("P5", what, figure, unit, bound);
    let mut bars = Vec::new();
    bars.extend(
        seen.idle_rss
            .map(|idle| most("memory (RSS), idle", idle as f64, Unit::Bytes, IDLE_RSS_BYTES)),
    );
    let added = format!("memory added by {} that wait", whole(seen.waiting as f64));
    bars.extend(
        seen.added_rss()
            .map(|bytes| most(&added, bytes as f64, Unit::Bytes, ADDED_RSS_BYTES)),
    );
    let restart = seen.restart.as_secs_f64();
    bars.push(most(
        "killed to a fresh event delivered",
        restart,
        Unit::Seconds,
        RESTART_SECONDS,
    ));
    bars.push(Bar::at_least(
        "P6",
        "deliveries/s of a backlog, by steady",
        beside_steady,
        Unit::Ratio,
        DRAIN_RATIO,
    ));
    let fault = (seen.lost > 0).then(|| format!("{} deliveries of the backlog were lost", seen.lost));
    Outcome {
        json: json!({
            "scenario": "backlog",
            "scale": stand.scale_name(),
            "waiting": seen.waiting,
            "published_seconds": rounded(seen.published_in.as_secs_f64(), 3),
            "idle_rss_bytes": seen.idle_rss,
            "waiting_rss_bytes": seen.rss[0],
            "restarted_rss_bytes": seen.rss[1],
            "restart_seconds": rounded(restart, 3),
            "drained_seconds": rounded(seen.drained_in.as_secs_f64(), 3),
            "drained_per_second": rounded(seen.drain_rate(), 1),
            "steady_per_second": rounded(steady_rate, 1),
            "drained_by_steady": rounded(beside_steady, 3),
            "duplicates": seen.duplicates,
            "lost": seen.lost,
        }),
        words,
        bars,
        faults: fault.into_iter().collect(),
    }
}
