//! `stentor bench`: durable deliveries per second and what they cost, beside a relay that stores nothing, measured in
//! turns in one run. Absolute figures move with the machine; the ratios to the relay hold on any.
//!
//! In reading order:
//! - `round` is one measurement: a `subject` under the `load` for a while;
//! - `subject` is what is measured, the server or the `relay`, each a `child` process, whose CPU and memory the operating
//!   system tells apart from the bench's own;
//! - `load` publishes events, each with a `stamp` in its payload; the `receiver` takes their deliveries, and `tally`
//!   counts and times them;
//! - `report` says what came out.

mod child;
mod load;
mod postgres;
mod process;
mod receiver;
mod relay;
mod report;
mod round;
mod spent;
mod stamp;
mod subject;
mod tally;

use std::io::Write as _;
use std::time::Duration;

use self::postgres::Server;
use self::report::{Measured, Report};
use self::round::Plan;
use self::subject::Kind;
use super::serve::Signals;
use crate::cli::BenchOptions;
use crate::config::BenchServer;
use crate::failure::Failure;

pub(crate) use self::relay::run as run_relay;

/// Each subject's rounds, in turns, so that a machine that grows warm or busy slows both.
const ROUNDS: u32 = 2;
/// What a server holds towards the receiver at most: its requests in flight and its idle connections by default.
const RECEIVER_SOCKETS: u64 = 1_024;
/// For what else is open.
const OTHER_FILES: u64 = 64;

/// Measures and prints: on `server`, or else on a file. `open_files` is the limit in force. What was lost is an error, told
/// after the report.
pub(crate) async fn run(
    options: BenchOptions,
    server: Option<BenchServer>,
    open_files: u64,
) -> Result<(), Failure> {
    check_open_files(&options, open_files)?;
    let plan = Plan {
        window: Duration::from_secs(options.seconds),
        connections: options.connections,
        fan_out: options.fan_out,
    };
    let mut signals = Signals::listen()?;
    let server = server.map(Server::new);
    let measured = tokio::select! {
        report = measure(plan, server.as_ref()) => report,
        // The processes end and the folders go as the measurement is dropped.
        () = signals.first() => Err(Failure::Failed("interrupted; nothing was measured".to_owned())),
    };
    if let Some(server) = &server {
        server.clean_up().await;
    }
    let report = measured?;
    let told = if options.json {
        format!("{}\n", report.json())
    } else {
        report.words()
    };
    let _ = std::io::stdout().write_all(told.as_bytes());
    verdict(&report)
}

async fn measure(plan: Plan, postgres: Option<&Server>) -> Result<Report, Failure> {
    let mut relay = round::run(Kind::Relay, plan, None).await?;
    let mut server = round::run(Kind::Server, plan, postgres).await?;
    for _ in 1..ROUNDS {
        relay.add(&round::run(Kind::Relay, plan, None).await?);
        server.add(&round::run(Kind::Server, plan, postgres).await?);
    }
    Ok(Report {
        plan,
        rounds: ROUNDS,
        relay,
        server,
    })
}

fn verdict(report: &Report) -> Result<(), Failure> {
    let lost = |name: &str, measured: &Measured| {
        let why = if measured.lost > 0 {
            format!("{} deliveries of the {name} were lost", measured.lost)
        } else if measured.deliveries() == 0 {
            format!("the {name} delivered nothing")
        } else {
            return Ok(());
        };
        Err(Failure::Failed(why))
    };
    lost("server", &report.server)?;
    lost("relay", &report.relay)
}

/// Both ends of the load are in this process.
fn check_open_files(options: &BenchOptions, open_files: u64) -> Result<(), Failure> {
    let towards_receiver = options
        .connections
        .saturating_mul(options.fan_out)
        .max(RECEIVER_SOCKETS);
    let needed = options.connections + towards_receiver + OTHER_FILES;
    if open_files < needed {
        return Err(Failure::Failed(format!(
            "{needed} open files are needed and {open_files} are allowed; raise the limit with `ulimit -n`, or take fewer \
             connections with --connections"
        )));
    }
    Ok(())
}
