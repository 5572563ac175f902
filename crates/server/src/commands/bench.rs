//! `stentor bench`: what this machine can do, measured. Absolute figures move with the machine; the ratios, to a relay that
//! stores nothing or to the server itself in another case, hold on any.
//!
//! In reading order:
//! - [`scenario`] has what can be measured, a file each, run with what the `stand` was asked for;
//! - `round` is one measurement: a `subject` under the `load` for a while;
//! - `subject` is what is measured, the server or the `relay`, each a `child` process, whose CPU and memory the operating
//!   system tells apart from the bench's own;
//! - `load` publishes events, each with a `stamp` in its payload; the `receiver` takes their deliveries, and `tally`
//!   counts and times them;
//! - `measured` and `side_by_side` are what came out, `bars` what was asked of it, `report` all of it together.

mod bars;
mod child;
mod figures;
mod load;
mod measured;
mod postgres;
mod process;
mod receiver;
mod relay;
mod report;
mod round;
mod scenario;
mod side_by_side;
mod spent;
mod stamp;
mod stand;
mod subject;
mod tally;

use std::io::Write as _;

use clap::ValueEnum as _;

use self::postgres::Server;
use self::report::Outcome;
use self::stand::{Scale, Stand};
use self::subject::{Place, Target};
use super::serve::Signals;
use crate::cli::{BenchOptions, BenchScenario};
use crate::config::BenchServer;
use crate::failure::Failure;

pub(crate) use self::relay::run as run_relay;

/// What a server holds towards the receiver at most: its requests in flight and its idle connections by default.
const RECEIVER_SOCKETS: u64 = 1_024;
/// For what else is open.
const OTHER_FILES: u64 = 64;
/// Of scenarios that have no connections of their own.
const CONNECTIONS_MOST: u64 = 256;
const FAN_OUT_MOST: u64 = 5;

/// Measures and prints: on `server`, or else on a file. `open_files` is the limit in force. What was lost is an error, told
/// after the report; a bar that is missed is none.
pub(crate) async fn run(
    options: BenchOptions,
    server: Option<BenchServer>,
    open_files: u64,
) -> Result<(), Failure> {
    check_open_files(&options, open_files)?;
    let stand = stand(&options, server);
    let scenarios = scenarios(&options, &stand.place)?;
    let mut signals = Signals::listen()?;
    let measured = tokio::select! {
        outcomes = measure(&scenarios, &stand, !options.json) => outcomes,
        // The processes end and the folders go as the measurement is dropped.
        () = signals.first() => Err(Failure::Failed("interrupted; what was not printed was not measured".to_owned())),
    };
    if let Some(server) = stand.place.postgres() {
        server.clean_up().await;
    }
    let outcomes = measured?;
    if options.json {
        print(&format!("{}\n", report::json(&outcomes)));
    } else {
        print(&report::bars_in_words(&outcomes));
    }
    let faults: Vec<String> = outcomes.into_iter().flat_map(|outcome| outcome.faults).collect();
    if faults.is_empty() {
        Ok(())
    } else {
        Err(Failure::Failed(faults.join("; ")))
    }
}

fn stand(options: &BenchOptions, server: Option<BenchServer>) -> Stand {
    let target = options.target.zip(options.key.clone());
    let place = match (server, target) {
        (Some(server), _) => Place::Postgres(Server::new(server)),
        (None, Some((address, key))) => Place::Running(Target { address, key }),
        (None, None) => Place::File,
    };
    Stand {
        place,
        scale: match (options.quick, options.tiny) {
            (_, true) => Scale::Tiny,
            (true, false) => Scale::Quick,
            (false, false) => Scale::Full,
        },
        seconds: options.seconds,
        connections: options.connections,
        fan_out: options.fan_out,
    }
}

/// What is to be measured. Of all those that were not asked for by name, the ones that can be.
fn scenarios(options: &BenchOptions, place: &Place) -> Result<Vec<BenchScenario>, Failure> {
    if !options.scenarios.is_empty() {
        let obstacle = options
            .scenarios
            .iter()
            .find_map(|one| scenario::obstacle(*one, place));
        return match obstacle {
            None => Ok(options.scenarios.clone()),
            Some(why) => Err(Failure::Failed(why.to_owned())),
        };
    }
    if !options.all && !options.quick {
        return Ok(vec![BenchScenario::Steady]);
    }
    let all = BenchScenario::value_variants().iter().copied();
    Ok(all
        .filter(|one| scenario::obstacle(*one, place).is_none())
        .collect())
}

/// Each as it comes is shown, unless machines wait for all of it.
async fn measure(scenarios: &[BenchScenario], stand: &Stand, shown: bool) -> Result<Vec<Outcome>, Failure> {
    let mut outcomes = Vec::with_capacity(scenarios.len());
    for one in scenarios {
        let outcome = Box::pin(scenario::run(*one, stand)).await?;
        if shown {
            print(&format!("{}\n", outcome.words));
        }
        outcomes.push(outcome);
    }
    Ok(outcomes)
}

fn print(words: &str) {
    // Nobody is left to tell when standard output is gone.
    let _ = std::io::stdout().write_all(words.as_bytes());
}

/// Both ends of the load are in this process.
fn check_open_files(options: &BenchOptions, open_files: u64) -> Result<(), Failure> {
    let connections = options.connections.unwrap_or(CONNECTIONS_MOST);
    let fan_out = options.fan_out.unwrap_or(FAN_OUT_MOST);
    let towards_receiver = connections.saturating_mul(fan_out).max(RECEIVER_SOCKETS);
    let needed = connections + towards_receiver + OTHER_FILES;
    if open_files < needed {
        return Err(Failure::Failed(format!(
            "{needed} open files are needed and {open_files} are allowed; raise the limit with `ulimit -n`, or take fewer \
             connections with --connections"
        )));
    }
    Ok(())
}
