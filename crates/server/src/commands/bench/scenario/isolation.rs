//! `isolation`: what an endpoint that answers loses to others that never do. Measured alone, beside four that hang in its
//! tenant, and beside a thousand that hang in other tenants with a hundred thousand deliveries due, in turns.

use std::time::Duration;

use serde_json::{Value, json};

use super::super::bars::{Bar, Unit};
use super::super::figures::{median, ratio, round as rounded};
use super::super::load::{Door, Manner};
use super::super::measured::Measured;
use super::super::receiver::{Hanging, path_of};
use super::super::report::Outcome;
use super::super::round::{Plan, Scene, under_load};
use super::super::stand::Stand;
use super::super::subject::{Setup, Subject};
use crate::failure::Failure;

const CONNECTIONS: u64 = 32;
const PER_SECOND: u64 = 1_000;
/// Hanging endpoints in the tenant of the good one.
const NEIGHBOURS: usize = 4;
/// Hanging endpoints of each other tenant.
const STRANGERS_OF_EACH: usize = 10;
/// Events that each other tenant has published: each is due at all of its endpoints.
const EVENTS_OF_EACH: u64 = 100;
/// How long an attempt waits for those that hang: short, so that timeouts, records and breakers are all at work in each round.
const HANGING_SECONDS: u64 = 1;
const KNOWN_WITHIN: Duration = Duration::from_secs(30);
const RATIO: f64 = 1.2;
const MORE_MILLIS: f64 = 0.5;

/// What is beside the good endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Company {
    Alone,
    Neighbours,
    Strangers,
}

impl Company {
    const fn name(self) -> &'static str {
        match self {
            Self::Alone => "alone",
            Self::Neighbours => "beside 4 that hang in its tenant",
            Self::Strangers => "beside 1,000 that hang elsewhere",
        }
    }

    const fn field(self) -> &'static str {
        match self {
            Self::Alone => "alone",
            Self::Neighbours => "neighbours",
            Self::Strangers => "strangers",
        }
    }
}

/// All rounds of one company.
struct Rounds {
    company: Company,
    measured: Vec<Measured>,
}

impl Rounds {
    fn p99s(&self) -> Vec<f64> {
        self.measured.iter().map(|of| of.quantile_millis(0.99)).collect()
    }

    fn median_of(&self, quantile: f64) -> f64 {
        let all: Vec<f64> = self
            .measured
            .iter()
            .map(|of| of.quantile_millis(quantile))
            .collect();
        median(&all)
    }
}

/// Measures it.
pub(super) async fn run(stand: &Stand) -> Result<Outcome, Failure> {
    let plan = Plan {
        window: stand.window(20, 3),
        manner: Manner::paced(
            stand.connections(CONNECTIONS),
            stand.by_scale(PER_SECOND, PER_SECOND, 200),
        ),
        fan_out: 1,
    };
    let companies = [Company::Alone, Company::Neighbours, Company::Strangers];
    let mut all = companies.map(|company| Rounds {
        company,
        measured: Vec::new(),
    });
    for _ in 0..stand.by_scale(5, 1, 1) {
        for rounds in &mut all {
            rounds.measured.push(measure(stand, plan, rounds.company).await?);
        }
    }
    Ok(outcome(stand, plan, &all))
}

async fn measure(stand: &Stand, plan: Plan, company: Company) -> Result<Measured, Failure> {
    let scene = Scene::open(plan.fan_out).await?;
    let hanging = Hanging::start().await?;
    let mut server = Subject::server(&stand.place, &[]).await?;
    let mut setup = server.setup().await?;
    let tenant = setup.tenant("Good").await?;
    let url = format!("http://{}{}", scene.receiver.address, path_of(0, 0));
    setup.endpoint(&tenant, &url, &[]).await?;
    let door = setup.door(&tenant)?;
    let first = get_known(&scene, &server, &door).await?;
    let plan = Plan {
        manner: Manner { first, ..plan.manner },
        ..plan
    };
    let mut setup = server.setup().await?;
    if company == Company::Neighbours {
        hang(&mut setup, &tenant, &hanging, NEIGHBOURS).await?;
    }
    if company == Company::Strangers {
        let mut doors = Vec::new();
        for stranger in 0..stand.by_scale(100, 100, 3) {
            let tenant = setup.tenant(&format!("Stranger {stranger}")).await?;
            hang(&mut setup, &tenant, &hanging, STRANGERS_OF_EACH).await?;
            doors.push(setup.door(&tenant)?);
        }
        publish_to_strangers(&scene, &server, &doors).await?;
    }
    let window = crate::commands::wait(plan.window);
    let (measured, _) = under_load(&scene, &server, &[door], plan, window).await?;
    server.stop().await?;
    Ok(measured)
}

/// Lets the good endpoint answer before anything else happens, as any that has been there for a while; tells how many requests
/// that took.
async fn get_known(scene: &Scene, server: &Subject, door: &Door) -> Result<u64, Failure> {
    let one = Manner {
        requests: Some(1),
        ..Manner::at_full_speed(1)
    };
    let published = scene
        .load(server, std::slice::from_ref(door), one)
        .finish()
        .await?;
    if scene.has_come(1, KNOWN_WITHIN).await {
        Ok(published.events)
    } else {
        Err(Failure::Failed(format!(
            "an event was not delivered within {KNOWN_WITHIN:?}"
        )))
    }
}

async fn hang(setup: &mut Setup<'_>, tenant: &str, hanging: &Hanging, count: usize) -> Result<(), Failure> {
    for at in 0..count {
        let url = format!("http://{}/{at}", hanging.address);
        setup
            .endpoint(tenant, &url, &[("timeout_seconds", json!(HANGING_SECONDS))])
            .await?;
    }
    Ok(())
}

async fn publish_to_strangers(scene: &Scene, server: &Subject, doors: &[Door]) -> Result<(), Failure> {
    let manner = Manner {
        batch: EVENTS_OF_EACH,
        requests: u64::try_from(doors.len()).ok(),
        ..Manner::at_full_speed(1)
    };
    let published = scene.load(server, doors, manner).finish().await?;
    match published.refusal {
        Some(refusal) => Err(Failure::Failed(format!("a batch was refused with {refusal}"))),
        None => Ok(()),
    }
}

fn outcome(stand: &Stand, plan: Plan, all: &[Rounds; 3]) -> Outcome {
    let [alone, ..] = all;
    let mut outcome = Outcome {
        words: format!(
            "isolation: {} events/s to one endpoint over {} connections, {} x {} s each, medians of the rounds\n\n{:<36}{:>12}{:>12}\n",
            plan.manner.per_second.unwrap_or_default(),
            plan.manner.connections,
            alone.measured.len(),
            plan.window.as_secs(),
            "",
            "p50",
            "p99"
        ),
        ..Outcome::default()
    };
    let mut parts = serde_json::Map::new();
    for rounds in all {
        let (p50, p99) = (rounds.median_of(0.5), rounds.median_of(0.99));
        let row = format!(
            "{:<36}{:>12}{:>12}\n",
            rounds.company.name(),
            format!("{p50:.2} ms"),
            format!("{p99:.2} ms")
        );
        outcome.words.push_str(&row);
        let measured: Vec<Value> = rounds.measured.iter().map(Measured::json).collect();
        parts.insert(
            rounds.company.field().to_owned(),
            json!({"p50_millis": rounded(p50, 3), "p99_millis": rounded(p99, 3), "rounds": measured}),
        );
        outcome
            .faults
            .extend(rounds.measured.iter().filter_map(|of| of.fault("good endpoint")));
        if rounds.company != Company::Alone {
            outcome.bars.push(bar(alone, rounds));
        }
    }
    outcome.json = json!({
        "scenario": "isolation",
        "scale": stand.scale_name(),
        "requests_per_second": plan.manner.per_second,
        "connections": plan.manner.connections,
        "seconds": plan.window.as_secs(),
        "parts": parts,
    });
    outcome
}

/// Rounds that followed one another are compared with each other: what the machine does besides slows both.
fn bar(alone: &Rounds, beside: &Rounds) -> Bar {
    let pairs: Vec<(f64, f64)> = alone.p99s().into_iter().zip(beside.p99s()).collect();
    let ratios: Vec<f64> = pairs
        .iter()
        .map(|(alone, beside)| ratio(*beside, *alone))
        .collect();
    let more: Vec<f64> = pairs.iter().map(|(alone, beside)| beside - alone).collect();
    let more = median(&more);
    let what = format!("p99 {}, by alone", beside.company.name());
    Bar::at_most("P4", &what, median(&ratios), Unit::Ratio, RATIO).or(
        format!("{MORE_MILLIS:.2} ms more (here {more:.2} ms)"),
        more <= MORE_MILLIS,
    )
}

#[cfg(test)]
mod tests {
    use super::super::super::measured::tests::measured;
    use super::super::super::tally::no_latencies;
    use super::*;

    fn rounds(company: Company, p99s: &[u64]) -> Rounds {
        let round = |micros: &u64| {
            let mut latencies = no_latencies();
            latencies.record_n(*micros, 100).unwrap();
            Measured {
                latencies,
                ..measured(1, 1)
            }
        };
        Rounds {
            company,
            measured: p99s.iter().map(round).collect(),
        }
    }

    #[test]
    fn pairs_are_compared_and_the_one_in_the_middle_counts() {
        let alone = rounds(Company::Alone, &[10_000, 20_000, 40_000]);
        let quiet = rounds(Company::Neighbours, &[11_000, 22_000, 400_000]);
        assert!(bar(&alone, &quiet).is_met());
        let loud = rounds(Company::Neighbours, &[13_000, 26_000, 40_000]);
        assert!(!bar(&alone, &loud).is_met());
    }

    #[test]
    fn half_a_millisecond_more_is_nothing() {
        let alone = rounds(Company::Alone, &[500]);
        assert!(bar(&alone, &rounds(Company::Strangers, &[990])).is_met());
        assert!(!bar(&alone, &rounds(Company::Strangers, &[1_010])).is_met());
    }
}
