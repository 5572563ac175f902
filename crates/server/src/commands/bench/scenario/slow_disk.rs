//! `slow_disk`: the same load on a disk as it is and on one whose every fsync takes 2 ms longer, as on a cloud's disks, in
//! turns. The measured server waits for these 2 ms itself, after each fsync of the log and of the file.

use std::time::Duration;

use serde_json::json;

use super::super::bars::{Bar, Unit};
use super::super::figures::{ratio, round as rounded, whole};
use super::super::load::Manner;
use super::super::measured::Measured;
use super::super::report::Outcome;
use super::super::round::{self, Plan};
use super::super::stand::Stand;
use crate::failure::Failure;

const CONNECTIONS: u64 = 256;
const DELAY: Duration = Duration::from_millis(2);
const RATIO: f64 = 0.7;

/// Measures it.
pub(super) async fn run(stand: &Stand) -> Result<Outcome, Failure> {
    let plan = Plan {
        window: stand.window(10, 3),
        manner: Manner::at_full_speed(stand.connections(CONNECTIONS)),
        fan_out: 1,
    };
    let delay = DELAY.as_micros().to_string();
    let slow_words = ["--slow-disk-micros", delay.as_str()];
    let mut rounds: Option<[Measured; 2]> = None;
    for _ in 0..stand.by_scale(2, 1, 1) {
        let fast = round::server(plan, &stand.place, &[]).await?;
        let slow = round::server(plan, &stand.place, &slow_words).await?;
        match &mut rounds {
            None => rounds = Some([fast, slow]),
            Some([all_fast, all_slow]) => {
                all_fast.add(&fast);
                all_slow.add(&slow);
            }
        }
    }
    let Some([fast, slow]) = rounds else {
        return Err(Failure::Failed("nothing was measured".to_owned()));
    };
    let figure = ratio(slow.rate(), fast.rate());
    let row = |name: &str, told: fn(&Measured) -> String| {
        format!("{name:<22}{:>14}{:>14}\n", told(&fast), told(&slow))
    };
    let words = [
        format!(
            "slow-disk: {} connections, fan-out 1, {} s on each disk\n\n{:<22}{:>14}{:>14}\n",
            plan.manner.connections,
            fast.window.as_secs(),
            "",
            "as it is",
            "2 ms slower"
        ),
        row("deliveries/s", |of| whole(of.rate())),
        row("latency, p50", |of| format!("{:.2} ms", of.quantile_millis(0.5))),
        row("latency, p99", |of| format!("{:.2} ms", of.quantile_millis(0.99))),
        row("lost", |of| of.lost.to_string()),
    ];
    Ok(Outcome {
        json: json!({
            "scenario": "slow-disk",
            "scale": stand.scale_name(),
            "delay_micros": DELAY.as_micros(),
            "connections": plan.manner.connections,
            "as_it_is": fast.json(),
            "slower": slow.json(),
            "rate_ratio": rounded(figure, 3),
        }),
        words: words.concat(),
        bars: vec![Bar::at_least(
            "P11",
            "deliveries/s with each fsync 2 ms slower",
            figure,
            Unit::Ratio,
            RATIO,
        )],
        faults: [("server", &fast), ("server on the slow disk", &slow)]
            .into_iter()
            .filter_map(|(name, measured)| measured.fault(name))
            .collect(),
    })
}
