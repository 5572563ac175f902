//! `purge`: what removing ten million old attempts costs those who deliver meanwhile. The old rows are written into the file
//! while no server runs; a start with the usual ages removes them.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::json;
use stentor_domain::{Clock as _, Timestamp};
use stentor_store::measure_file::{AGED_ATTEMPTS_OF_EVENT, aged_left, write_aged};

use super::super::bars::{Bar, Unit};
use super::super::figures::{ratio, round as rounded, whole};
use super::super::load::{Door, Manner};
use super::super::measured::Measured;
use super::super::receiver::path_of;
use super::super::report::Outcome;
use super::super::round::{Plan, Scene, under_load};
use super::super::stand::Stand;
use super::super::subject::{Setup, Subject};
use crate::commands::wait;
use crate::failure::Failure;

const CONNECTIONS: u64 = 32;
const PER_SECOND: u64 = 1_000;
/// Endpoints that the old deliveries were to.
const OLD_ENDPOINTS: usize = 50;
const DAY: Duration = Duration::from_secs(86_400);
/// The old rows are from so many days ago until so many; a server keeps 30.
const OLD_DAYS: [u32; 2] = [45, 35];
/// Seconds that a disk may need to settle, once gigabytes were written in one go: commits right after it take as long as that does.
const DISK_SETTLES: u64 = 30;
/// The most seconds that are measured: all steps of a purge, which takes five minutes.
const PURGE_SECONDS_MAX: u64 = 360;
/// Keeps everything for ever.
const KEEPS: [&str; 4] = ["--payload-days", "0", "--attempt-days", "0"];
const LEAST: Duration = Duration::from_secs(1);
const LOOK_EVERY: Duration = Duration::from_millis(250);
const RATIO: f64 = 2.0;

/// Measures it.
pub(super) async fn run(stand: &Stand) -> Result<Outcome, Failure> {
    let attempts: u64 = stand.by_scale(10_000_000, 1_000_000, 2_000);
    let plan = Plan {
        window: stand.window(PURGE_SECONDS_MAX, 5),
        manner: Manner::paced(
            stand.connections(CONNECTIONS),
            stand.by_scale(PER_SECOND, PER_SECOND, 200),
        ),
        fan_out: 1,
    };
    let (quiet_scene, busy_scene) = (Scene::open(1).await?, Scene::open(1).await?);
    let mut server = Subject::server(&stand.place, &KEEPS).await?;
    let mut setup = server.setup().await?;
    let quiet_door = good_door(&mut setup, &quiet_scene).await?;
    let busy_door = good_door(&mut setup, &busy_scene).await?;
    let old = setup.tenant("Old").await?;
    for at in 0..OLD_ENDPOINTS {
        let url = format!("http://{}{}", quiet_scene.receiver.address, path_of(at, 0));
        setup.endpoint(&old, &url, &[]).await?;
    }
    let Some(file) = server.file() else {
        return Err(Failure::Failed("a purge is measured on a file".to_owned()));
    };
    server.end_process().await?;
    let old = Old::write(file, attempts, quiet_scene.clock.now()).await?;
    wait(Duration::from_secs(stand.by_scale(DISK_SETTLES, 1, 0))).await;

    server.start_again(&KEEPS).await?;
    // As long as it takes to know a p99.
    let quiet_plan = Plan {
        window: stand.window(20, 5),
        ..plan
    };
    let (quiet, _) = under_load(
        &quiet_scene,
        &server,
        &[quiet_door],
        quiet_plan,
        wait(quiet_plan.window),
    )
    .await?;
    server.end_process().await?;
    let before = old.left(u64::MAX).await?;

    let started = busy_scene.clock.monotonic();
    server.start_again(&[]).await?;
    let gone = async {
        let until = busy_scene.clock.monotonic() + plan.window;
        // However fast it was, some deliveries are measured.
        wait(LEAST).await;
        while busy_scene.clock.monotonic() < until && old.is_there().await {
            wait(LOOK_EVERY).await;
        }
    };
    let (busy, _) = under_load(&busy_scene, &server, &[busy_door], plan, gone).await?;
    let took = busy_scene.clock.monotonic().saturating_sub(started);
    let left = old.left(u64::MAX).await?;
    server.stop().await?;
    let purged = Purged {
        attempts,
        rows: before.saturating_sub(left),
        left,
        took,
    };
    Ok(outcome(stand, plan, &quiet, &busy, &purged))
}

async fn good_door(setup: &mut Setup<'_>, scene: &Scene) -> Result<Door, Failure> {
    let tenant = setup.tenant("Good").await?;
    let url = format!("http://{}{}", scene.receiver.address, path_of(0, 0));
    setup.endpoint(&tenant, &url, &[]).await?;
    setup.door(&tenant)
}

/// What is to be removed.
struct Old {
    file: PathBuf,
    until: Timestamp,
}

impl Old {
    async fn write(file: PathBuf, attempts: u64, now: Timestamp) -> Result<Self, Failure> {
        let days_ago = |days: u32| {
            let seconds = i64::try_from((DAY * days).as_secs()).unwrap_or(i64::MAX);
            Timestamp::from_seconds(now.seconds().saturating_sub(seconds))
        };
        let [from, until] = OLD_DAYS.map(days_ago);
        let events = attempts / AGED_ATTEMPTS_OF_EVENT;
        blocking(&file, move |file| write_aged(file, events, from, until)).await?;
        Ok(Self { file, until })
    }

    /// Rows that are left, of each table so many at most.
    async fn left(&self, at_most: u64) -> Result<u64, Failure> {
        let until = self.until;
        blocking(&self.file, move |file| aged_left(file, until, at_most)).await
    }

    /// Where that cannot be told, the count at the end says why.
    async fn is_there(&self) -> bool {
        self.left(1).await.is_ok_and(|left| left > 0)
    }
}

async fn blocking<T: Send + 'static>(
    file: &Path,
    work: impl FnOnce(&Path) -> stentor_store::Result<T> + Send + 'static,
) -> Result<T, Failure> {
    let file = file.to_owned();
    let done = tokio::task::spawn_blocking(move || work(&file)).await;
    let done = done.map_err(|error| Failure::Failed(format!("the database's file: {error}")))?;
    done.map_err(|error| Failure::Failed(format!("the database's file: {error}")))
}

/// What was removed.
struct Purged {
    attempts: u64,
    rows: u64,
    left: u64,
    took: Duration,
}

fn outcome(stand: &Stand, plan: Plan, quiet: &Measured, busy: &Measured, purged: &Purged) -> Outcome {
    let figure = ratio(busy.quantile_millis(0.99), quiet.quantile_millis(0.99));
    let per_second = ratio(purged.rows as f64, purged.took.as_secs_f64());
    let row = |name: &str, told: fn(&Measured) -> String| {
        format!("{name:<24}{:>14}{:>14}\n", told(quiet), told(busy))
    };
    let words = [
        format!(
            "purge: {} old attempts; {} events/s to one endpoint over {} connections\n\n{:<24}{:>14}{:>14}\n",
            whole(purged.attempts as f64),
            plan.manner.per_second.unwrap_or_default(),
            plan.manner.connections,
            "",
            "before",
            "during"
        ),
        row("latency, p50", |of| format!("{:.2} ms", of.quantile_millis(0.5))),
        row("latency, p99", |of| format!("{:.2} ms", of.quantile_millis(0.99))),
        row("latency, max", |of| format!("{:.2} ms", of.quantile_millis(1.0))),
        row("measured for", |of| format!("{:.1} s", of.window.as_secs_f64())),
        row("lost", |of| of.lost.to_string()),
        format!(
            "\n{} rows were removed in {:.1} s ({}/s), {} are left.\n",
            whole(purged.rows as f64),
            purged.took.as_secs_f64(),
            whole(per_second),
            whole(purged.left as f64)
        ),
    ];
    let mut faults: Vec<String> = [("before the purge", quiet), ("during the purge", busy)]
        .into_iter()
        .filter_map(|(name, measured)| measured.fault(name))
        .collect();
    faults.extend((purged.rows == 0).then(|| "nothing was purged".to_owned()));
    Outcome {
        json: json!({
            "scenario": "purge",
            "scale": stand.scale_name(),
            "attempts": purged.attempts,
            "requests_per_second": plan.manner.per_second,
            "connections": plan.manner.connections,
            "before": quiet.json(),
            "during": busy.json(),
            "p99_ratio": rounded(figure, 3),
            "rows_removed": purged.rows,
            "rows_left": purged.left,
            "rows_removed_per_second": rounded(per_second, 0),
            "purge_seconds": rounded(purged.took.as_secs_f64(), 3),
        }),
        words: words.concat(),
        bars: vec![Bar::at_most(
            "P10",
            "p99 while old attempts are purged, by before",
            figure,
            Unit::Ratio,
            RATIO,
        )],
        faults,
    }
}
