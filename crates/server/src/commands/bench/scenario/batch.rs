//! `batch`: how much is accepted while nothing can be sent. Events are published a thousand at a time, and their one endpoint
//! is paused.

use std::time::Duration;

use serde_json::json;
use stentor_domain::Clock as _;

use super::super::bars::{Bar, Unit};
use super::super::figures::{mebibytes, ratio, round, whole};
use super::super::load::Manner;
use super::super::receiver::path_of;
use super::super::report::Outcome;
use super::super::round::{Scene, watch};
use super::super::stamp::PAYLOAD_BYTES;
use super::super::stand::Stand;
use super::super::subject::Subject;
use crate::commands::wait;
use crate::failure::Failure;

const CONNECTIONS: u64 = 8;
const BATCH_EVENTS: u64 = 1_000;
const WARM_UP: Duration = Duration::from_millis(500);
const EVENTS_PER_SECOND: f64 = 50_000.0;
/// When so few were accepted they are sent in the end, to see that all of them were kept.
const SENT_MAX: u64 = 300_000;
const SENT_WITHIN: Duration = Duration::from_secs(120);

/// Measures it.
pub(super) async fn run(stand: &Stand) -> Result<Outcome, Failure> {
    let scene = Scene::open(1).await?;
    let mut server = Subject::server(&stand.place, &[]).await?;
    let mut setup = server.setup().await?;
    let tenant = setup.tenant("Batches").await?;
    let url = format!("http://{}{}", scene.receiver.address, path_of(0, 0));
    let endpoint = setup.endpoint(&tenant, &url, &[]).await?;
    setup.set_status(&endpoint, "PAUSED").await?;
    let doors = [setup.door(&tenant)?];

    let manner = Manner {
        batch: stand.by_scale(BATCH_EVENTS, BATCH_EVENTS, 10),
        requests: stand.by_scale(None, None, Some(20)),
        ..Manner::at_full_speed(stand.connections(CONNECTIONS))
    };
    let window = stand.window(60, 4);
    let load = scene.load(&server, &doors, manner);
    wait(stand.by_scale(WARM_UP, WARM_UP, Duration::ZERO)).await;
    let before = (scene.clock.monotonic(), server.usage()?, load.accepted());
    let peaks = watch(&server, wait(window)).await?;
    let after = (scene.clock.monotonic(), server.usage()?, load.accepted());
    let accepted = after.2 - before.2;
    let seconds = after.0.saturating_sub(before.0).as_secs_f64();
    let rate = ratio(accepted as f64, seconds);
    let cpu = before.1.zip(after.1).map(|(before, after)| {
        let used = after.cpu.saturating_sub(before.cpu);
        ratio(used.as_secs_f64() * 1e6, accepted as f64)
    });
    let published = load.stop().await?;
    let refused = u64::try_from(published.refused.len()).unwrap_or(u64::MAX);
    let all = published.events.saturating_sub(refused);

    let mut lost = None;
    if all <= SENT_MAX {
        server.setup().await?.set_status(&endpoint, "ACTIVE").await?;
        scene.has_come(all, SENT_WITHIN).await;
        lost = Some(scene.tally.missing(published.events, &published.refused));
    }
    server.stop().await?;

    let mut faults = Vec::new();
    faults.extend(
        lost.filter(|lost| *lost > 0)
            .map(|lost| format!("{lost} events of a batch were lost")),
    );
    faults.extend((all == 0).then(|| "no batch was accepted".to_owned()));
    let or_none = |told: Option<String>| told.unwrap_or_else(|| "-".to_owned());
    let bytes = |bytes: Option<u64>| or_none(bytes.map(|bytes| mebibytes(bytes as f64)));
    let words = format!(
        "batch: {} connections, {} events in each request, one paused endpoint, payloads of {PAYLOAD_BYTES} bytes, {} s\n\n\
         {:<24}{:>14}\n{:<24}{:>14}\n{:<24}{:>14}\n{:<24}{:>14}\n{:<24}{refused:>14}\n",
        manner.connections,
        manner.batch,
        window.as_secs(),
        "events accepted/s",
        whole(rate),
        "CPU per event",
        or_none(cpu.map(|micros| format!("{micros:.1} us"))),
        "memory (RSS), most",
        bytes(peaks.rss_bytes),
        "write-ahead log, most",
        bytes(peaks.wal_bytes),
        "events refused",
    );
    Ok(Outcome {
        json: json!({
            "scenario": "batch",
            "scale": stand.scale_name(),
            "seconds": round(seconds, 3),
            "connections": manner.connections,
            "events_per_request": manner.batch,
            "events_per_second": round(rate, 1),
            "cpu_micros_per_event": cpu.map(|micros| round(micros, 2)),
            "rss_bytes": peaks.rss_bytes,
            "wal_bytes": peaks.wal_bytes,
            "events": all,
            "refused": refused,
            "refusal": published.refusal,
            "lost": lost,
        }),
        words,
        bars: vec![Bar::at_least(
            "P9",
            "events accepted in batches",
            rate,
            Unit::PerSecond,
            EVENTS_PER_SECOND,
        )],
        faults,
    })
}
