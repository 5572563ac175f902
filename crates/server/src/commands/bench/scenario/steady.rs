//! `steady`: a load as fast as it is answered, beside the relay, in turns.

use serde_json::json;

use super::super::bars::{Bar, Unit};
use super::super::load::Manner;
use super::super::report::Outcome;
use super::super::round::{self, Plan};
use super::super::side_by_side::SideBySide;
use super::super::stand::Stand;
use crate::failure::Failure;

const CONNECTIONS: u64 = 256;
/// Endpoints for each event, unless somebody asks for others.
const FAN_OUTS: [u64; 2] = [1, 5];
const RATE_RATIO: f64 = 0.5;
const CPU_RATIO: f64 = 2.5;

/// Measures each fan-out.
pub(super) async fn run(stand: &Stand) -> Result<Outcome, Failure> {
    let fan_outs = stand.fan_out.map_or(FAN_OUTS.to_vec(), |one| vec![one]);
    let mut outcome = Outcome::default();
    let mut parts = Vec::new();
    for fan_out in fan_outs {
        let both = measure(stand, fan_out).await?;
        outcome.words.push_str(&both.words());
        outcome.words.push('\n');
        outcome.bars.extend(bars(&both));
        outcome.faults.extend(both.faults());
        parts.push(both.json());
    }
    outcome.words.push_str(
        "The server answers when an event is durable, signs it and records its delivery. The relay passes it on, and stores\n\
         nothing: it is the ceiling of this machine.\n",
    );
    outcome.json = json!({"scenario": "steady", "scale": stand.scale_name(), "parts": parts});
    Ok(outcome)
}

async fn measure(stand: &Stand, fan_out: u64) -> Result<SideBySide, Failure> {
    let plan = Plan {
        window: stand.window(10, 2),
        manner: Manner::at_full_speed(stand.connections(CONNECTIONS)),
        fan_out,
    };
    // In turns, so that a machine that grows warm or busy slows both.
    let rounds = stand.by_scale(2, 1, 1);
    let mut relay = round::relay(plan).await?;
    let mut server = round::server(plan, &stand.place, &[]).await?;
    for _ in 1..rounds {
        relay.add(&round::relay(plan).await?);
        server.add(&round::server(plan, &stand.place, &[]).await?);
    }
    Ok(SideBySide {
        name: "steady",
        plan,
        rounds,
        relay,
        server,
    })
}

fn bars(both: &SideBySide) -> Vec<Bar> {
    let fan_out = both.plan.fan_out;
    let rate = format!("deliveries/s beside the relay, fan-out {fan_out}");
    let cpu = format!("CPU per delivery beside the relay's, fan-out {fan_out}");
    let rate = Bar::at_least("P1", &rate, both.rate_ratio(), Unit::Ratio, RATE_RATIO);
    let cpu = both
        .cpu_ratio()
        .map(|figure| Bar::at_most("P2", &cpu, figure, Unit::Ratio, CPU_RATIO));
    std::iter::once(rate).chain(cpu).collect()
}
