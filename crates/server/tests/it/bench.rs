//! `stentor bench`: that it measures, never how fast.

mod postgres;
mod target;

use serde_json::Value;

use crate::support::{binary, stderr, stdout};

/// On the disk of the build: the temporary folder of many machines is kept in memory, which the bench refuses.
fn folder_on_disk() -> tempfile::TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder can be made")
}

/// Runs it with `words` in a folder of its own, which is left as it was, and gives the report.
fn report(words: &[&str]) -> Value {
    let folder = folder_on_disk();
    let words: Vec<&str> = ["bench", "--json"].iter().chain(words).copied().collect();
    let output = binary(&words)
        // An option of a real server, which must not reach the measured one.
        .env("STENTOR_DATABASE_URL", "sqlite:/nowhere/stentor.db")
        .current_dir(folder.path())
        .output()
        .expect("the binary runs");
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let left = folder.path().read_dir().expect("the folder is there");
    assert_eq!(left.count(), 0);
    serde_json::from_str(&stdout(&output)).expect("it prints JSON")
}

/// What is at this place of a report; null where there is nothing.
fn at<'a>(report: &'a Value, place: &str) -> &'a Value {
    report.pointer(place).unwrap_or(&Value::Null)
}

/// The report of one scenario in its smallest form, and the bars that it shows.
fn smallest(scenario: &str) -> (Value, Vec<String>) {
    let report = report(&[scenario, "--tiny"]);
    let told = at(&report, "/scenarios/0").clone();
    assert_eq!(at(&told, "/scenario"), scenario);
    let bars = at(&report, "/bars").as_array().expect("bars are a list");
    let id = |bar: &Value| {
        assert!(
            at(bar, "/figure").is_f64() && at(bar, "/met").is_boolean(),
            "{bar}"
        );
        at(bar, "/id").as_str().unwrap_or_default().to_owned()
    };
    (told, bars.iter().map(id).collect())
}

/// What was measured of one subject: something, and nothing lost.
fn nothing_lost(measured: &Value) {
    assert!(at(measured, "/deliveries").as_u64() > Some(0), "{measured}");
    for never in ["/lost", "/strange", "/refused"] {
        assert_eq!(at(measured, never), 0, "{never}: {measured}");
    }
}

#[test]
fn a_short_measurement_loses_nothing_and_leaves_nothing_behind() {
    let report = report(&[
        "--seconds",
        "1",
        "--connections",
        "4",
        "--fan-out",
        "2",
        "--quick",
        "steady",
    ]);
    let steady = &report["scenarios"][0]["parts"][0];
    for subject in ["relay", "server"] {
        nothing_lost(&steady[subject]);
        assert_eq!(steady[subject]["duplicates"], 0);
    }
    assert_eq!(
        (&steady["connections"], &steady["fan_out"]),
        (&4.into(), &2.into())
    );
}

#[test]
fn a_steady_load_is_measured_with_one_endpoint_and_with_five() {
    let (steady, bars) = smallest("steady");
    let parts = steady["parts"].as_array().unwrap();
    let fan_outs: Vec<_> = parts
        .iter()
        .map(|part| part["fan_out"].as_u64().unwrap())
        .collect();
    assert_eq!((fan_outs, bars.join(" ")), (vec![1, 5], "P1 P2 P1 P2".to_owned()));
}

#[test]
fn latency_is_measured_calm_and_at_half_of_the_most() {
    let (latency, bars) = smallest("latency");
    for part in [0, 1] {
        nothing_lost(&latency["parts"][part]["server"]);
    }
    assert_eq!(latency["parts"][0]["requests_per_second"], 200);
    assert_eq!(bars, ["P3"; 4]);
}

#[test]
fn every_event_of_a_batch_is_kept_while_its_endpoint_is_paused() {
    let (batch, bars) = smallest("batch");
    assert_eq!(
        (&batch["events"], &batch["lost"], &batch["refused"]),
        (&200.into(), &0.into(), &0.into())
    );
    assert_eq!(bars, ["P9"]);
}

#[test]
fn isolation_is_measured_alone_and_in_bad_company() {
    let (isolation, bars) = smallest("isolation");
    for company in ["alone", "neighbours", "strangers"] {
        nothing_lost(&isolation["parts"][company]["rounds"][0]);
    }
    assert_eq!(bars, ["P4", "P4"]);
}

#[test]
fn a_backlog_survives_a_restart_and_drains() {
    let (backlog, bars) = smallest("backlog");
    assert_eq!((&backlog["waiting"], &backlog["lost"]), (&500.into(), &0.into()));
    assert!(backlog["restart_seconds"].as_f64().unwrap() > 0.0, "{backlog}");
    assert_eq!(bars, ["P5", "P5", "P5", "P6"]);
}

#[test]
fn what_is_old_is_purged_while_deliveries_go_on() {
    let (purge, bars) = smallest("purge");
    // 2,000 attempts: 200 events with two deliveries each, and four further attempts of each of these.
    assert_eq!(
        (&purge["rows_removed"], &purge["rows_left"]),
        (&2_200.into(), &0.into())
    );
    nothing_lost(&purge["before"]);
    nothing_lost(&purge["during"]);
    assert_eq!(bars, ["P10"]);
}

#[test]
fn a_disk_that_is_slower_loses_nothing_either() {
    let (slow, bars) = smallest("slow-disk");
    nothing_lost(&slow["as_it_is"]);
    nothing_lost(&slow["slower"]);
    // A commit is waited for by everybody in it.
    assert!(
        slow["slower"]["latency_micros"]["p50"].as_u64().unwrap() >= 2_000,
        "{slow}"
    );
    assert_eq!(bars, ["P11"]);
}
