//! `latency`: how long a delivery takes at 200 events a second, and at half of what the server can do.

use serde_json::json;

use super::super::bars::{Bar, Unit};
use super::super::load::Manner;
use super::super::report::Outcome;
use super::super::round::{self, Plan};
use super::super::side_by_side::SideBySide;
use super::super::stand::Stand;
use crate::failure::Failure;

const CALM_CONNECTIONS: u64 = 32;
const CALM_PER_SECOND: u64 = 200;
const CALM_P50_MILLIS: f64 = 0.8;
const CALM_P99_MILLIS: f64 = 2.0;
const BUSY_CONNECTIONS: u64 = 256;
const BUSY_P99_MILLIS: f64 = 8.0;
/// Twice the length at which the writer waits for the log to be emptied.
const WAL_BYTES: f64 = 33_554_432.0;

/// Measures both.
pub(super) async fn run(stand: &Stand) -> Result<Outcome, Failure> {
    let calm = Manner::paced(stand.connections(CALM_CONNECTIONS), CALM_PER_SECOND);
    let calm = measure(stand, "latency, calm", calm).await?;
    let busy_connections = stand.connections(BUSY_CONNECTIONS);
    let most = Plan {
        window: stand.window(10, 2),
        manner: Manner::at_full_speed(busy_connections),
        fan_out: 1,
    };
    let most = round::server(most, &stand.place, &[]).await?;
    // A whole number of events, and no more than it has shown.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a rate is small and positive"
    )]
    let half = (most.rate() / 2.0) as u64;
    let busy = Manner::paced(busy_connections, half);
    let busy = measure(stand, "latency, half of the most", busy).await?;

    let wal = calm.server.wal_bytes.max(busy.server.wal_bytes);
    let millis = |what, figure, bound| Bar::at_most("P3", what, figure, Unit::Millis, bound);
    let mut bars = vec![
        millis(
            "p50 at 200 events/s",
            calm.server.quantile_millis(0.5),
            CALM_P50_MILLIS,
        ),
        millis(
            "p99 at 200 events/s",
            calm.server.quantile_millis(0.99),
            CALM_P99_MILLIS,
        ),
        millis(
            "p99 at half of the most",
            busy.server.quantile_millis(0.99),
            BUSY_P99_MILLIS,
        ),
    ];
    bars.extend(wal.map(|bytes| {
        Bar::at_most(
            "P3",
            "longest write-ahead log",
            bytes as f64,
            Unit::Bytes,
            WAL_BYTES,
        )
    }));
    Ok(Outcome {
        json: json!({
            "scenario": "latency",
            "scale": stand.scale_name(),
            "most": most.json(),
            "parts": [calm.json(), busy.json()],
        }),
        words: format!("{}\n{}", calm.words(), busy.words()),
        bars,
        faults: calm.faults().into_iter().chain(busy.faults()).collect(),
    })
}

async fn measure(stand: &Stand, name: &'static str, manner: Manner) -> Result<SideBySide, Failure> {
    let plan = Plan {
        window: stand.window(30, 4),
        manner,
        fan_out: 1,
    };
    Ok(SideBySide {
        name,
        plan,
        rounds: 1,
        relay: round::relay(plan).await?,
        server: round::server(plan, &stand.place, &[]).await?,
    })
}
