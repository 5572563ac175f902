//! Random operations, receivers and deaths, each run from a seed; what must always hold is checked at every request, and what
//! must hold in the end once the world has healed.
//!
//! - `known`: what a run knows by itself, without asking Stentor;
//! - `wishes`: what the owner of an endpoint sets, drawn at random;
//! - `operations`: what people do: publish, steer, replay, erase;
//! - `owners`: what they do with endpoints and tenants;
//! - `behaviour`: what receivers do;
//! - `times`: how time passes, and how processes die;
//! - `watch`: what holds at every request;
//! - `books`: what holds of what is written down, at any moment and in the end.
//!
//! A run that fails prints its seed, what it did, and how to repeat it. On SQLite there are 500 of them, on PostgreSQL 50;
//! `STENTOR_TEST_SIMULATION_RUNS` sets another number, and `STENTOR_TEST_SIMULATION_SEED` names the only one.

mod behaviour;
mod books;
mod known;
mod operations;
mod owners;
mod times;
mod watch;
mod wishes;

use known::Run;
use std::time::Duration;
use stentor_domain::limits::DISABLE_AFTER_DAYS;
use stentor_engine::Settings;
use stentor_engine::jobs::retention::Retention;
use stentor_testkit::{Setup, TestDatabase, World};

/// Tests that share the seeds, so that they run beside each other.
const PARTS: u64 = 10;
const RUNS_ON_SQLITE: u64 = 500;
const RUNS_ON_POSTGRES: u64 = 50;
/// Says how many runs there are, and which one is to be repeated.
const RUNS: &str = "STENTOR_TEST_SIMULATION_RUNS";
const SEED: &str = "STENTOR_TEST_SIMULATION_SEED";
/// Operations of a run.
const STEPS: usize = 60;
/// Operations between two looks at the tables.
const STEPS_BETWEEN_AUDITS: usize = 20;
const DAY: Duration = Duration::from_secs(86_400);

/// The tests of all parts, each of the seeds that leave its number as a remainder.
macro_rules! parts {
    ($($name:ident = $part:literal),*) => {
        $(#[tokio::test]
        async fn $name() {
            run_part($part).await;
        })*
    };
}

mod whatever_happens_every_delivery_ends_and_every_request_is_in_the_books {
    use super::run_part;

    parts! {
        part_0 = 0, part_1 = 1, part_2 = 2, part_3 = 3, part_4 = 4,
        part_5 = 5, part_6 = 6, part_7 = 7, part_8 = 8, part_9 = 9
    }
}

async fn run_part(part: u64) {
    let number = |name| std::env::var(name).ok().map(|text| text.parse().unwrap());
    let seeds = match number(SEED) {
        Some(seed) => seed..seed + 1,
        None if TestDatabase::engine_is_postgres() => 0..number(RUNS).unwrap_or(RUNS_ON_POSTGRES),
        None => 0..number(RUNS).unwrap_or(RUNS_ON_SQLITE),
    };
    for seed in seeds.filter(|seed| seed % PARTS == part) {
        // Large, and made on the heap.
        Box::pin(simulate(seed)).await;
    }
}

/// One run.
async fn simulate(seed: u64) {
    let mut run = Run::new(seed);
    let setup = run.draw_setup();
    let mut world = World::on(TestDatabase::in_memory(), setup).await;
    if !TestDatabase::engine_is_postgres() && seed.is_multiple_of(2) {
        run.list_at_once(&world);
    }
    run.begin(&world).await;
    for step in 1..=STEPS {
        world = run.step(world).await;
        run.look(&world);
        if step % STEPS_BETWEEN_AUDITS == 0 {
            run.audit(&world);
        }
    }
    run.heal(&mut world).await;
    run.audit(&world);
    run.close_books(&world).await;
}

impl Run {
    /// What the operator of this run has set.
    fn draw_setup(&mut self) -> Setup {
        let mut setup = Setup::default();
        let (payload_days, attempt_days) = self.pick(&[(0, 0), (0, 0), (0, 0), (3, 0), (30, 4), (4, 4)]);
        self.keeps_for_ever = attempt_days == 0;
        self.payloads_expire = payload_days > 0;
        let retention = Retention {
            payload_days,
            attempt_days,
        };
        setup.settings = Settings {
            retention,
            ..Settings::default()
        };
        setup.limits.in_flight_max = self.pick(&[1, 4, 8, 512]);
        self.in_flight_max = setup.limits.in_flight_max;
        let days = self.pick(&[None, Some(1), Some(DISABLE_AFTER_DAYS)]);
        setup.patience = days.map(|days| days * DAY);
        self.note(format!("{retention:?}, {:?}, patience {days:?}", setup.limits));
        setup
    }

    /// Whatever is written comes late for its list: a run has too few rows for them to be listed many at a time, but for those that
    /// a start finds.
    fn list_at_once(&mut self, world: &World) {
        let last = i64::MAX;
        let all = format!("UPDATE listed SET events = {last}, deliveries = {last}");
        world.database().execute(&all);
        self.note("everything is listed at once");
    }
}
