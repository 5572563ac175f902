//! The same on the PostgreSQL server of the run, by a user who may make databases there and nothing more.

use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::Value;
use tokio_postgres::NoTls;

use super::folder_on_disk;
use crate::support::{Running, binary, stderr, stdout};

/// Names the server: the URL of a superuser.
const SERVER: &str = "STENTOR_TEST_POSTGRES";
const HOW: &str = "STENTOR_TEST_POSTGRES names a PostgreSQL server: run ./test, or start one with `python3 \
                   tests/support/postgres.py start FOLDER` and export the URL that it prints";
/// Each takes some milliseconds, for a connection of its own.
const LOOKS_MAX: u32 = 20_000;

static MADE: AtomicU32 = AtomicU32::new(0);

/// A user of the server. Whoever still owns a database cannot be dropped, so that a user who is gone has left nothing.
struct User {
    name: String,
    url: String,
}

impl User {
    fn who_may(rights: &str) -> Self {
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let name = format!("stentor_measures_{}_{number}", std::process::id());
        ask(&format!("CREATE ROLE {name} LOGIN {rights}"));
        let mut url = url::Url::parse(&server()).expect(HOW);
        url.set_username(&name).expect("a URL with a host");
        Self {
            name,
            url: url.into(),
        }
    }

    fn databases(&self) -> usize {
        let sql = "SELECT datname FROM pg_database JOIN pg_roles ON pg_roles.oid = datdba WHERE rolname";
        ask(&format!("{sql} = '{}'", self.name))
    }

    fn leaves_nothing(self) {
        ask(&format!("DROP ROLE {}", self.name));
    }
}

fn server() -> String {
    std::env::var(SERVER).expect(HOW)
}

/// Runs a statement as the superuser and tells how many rows it answered.
fn ask(sql: &str) -> usize {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(async {
        let (client, connection) = tokio_postgres::connect(&server(), NoTls).await.expect(HOW);
        tokio::spawn(connection);
        client
            .query(sql, &[])
            .await
            .expect("the statement is understood")
            .len()
    })
}

#[test]
fn a_short_measurement_tells_what_a_delivery_cost_and_leaves_nothing_behind() {
    let (folder, user) = (folder_on_disk(), User::who_may("CREATEDB"));
    let mut command = binary(&[
        "bench",
        "--seconds",
        "1",
        "--connections",
        "4",
        "--fan-out",
        "1",
        "--json",
    ]);
    let output = command
        .args(["--database-url", &user.url])
        .current_dir(folder.path())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let report: Value = serde_json::from_str(&stdout(&output)).unwrap();
    let server = &report["scenarios"][0]["parts"][0]["server"];
    assert_eq!(
        (&server["lost"], &server["duplicates"]),
        (&0.into(), &0.into()),
        "{report}"
    );
    let postgres = &server["postgres"];
    // An event and a row of work come, the row of work goes, and the delivery stays.
    let count = |table: &str, what: &str| postgres["tables"][table][what].as_u64().unwrap();
    let deliveries = postgres["deliveries"].as_u64().unwrap();
    assert!(deliveries > 0, "{report}");
    for (table, what) in [
        ("events", "inserted"),
        ("work", "inserted"),
        ("work", "deleted"),
        ("deliveries", "inserted"),
    ] {
        assert_eq!(count(table, what), deliveries, "{table} {what}: {report}");
    }
    for table in ["events", "work", "deliveries"] {
        assert_eq!(count(table, "updated_not_hot"), 0, "{table}: {report}");
    }
    assert!(
        postgres["wal_bytes_per_delivery"].as_f64().unwrap() > 0.0,
        "{report}"
    );
    assert_eq!(postgres["synchronous_commit"], "on");
    assert!(postgres["cpu_micros_per_delivery"].as_f64().is_some(), "{report}");
    user.leaves_nothing();
}

#[test]
fn a_backlog_waits_and_drains_there_too() {
    let (folder, user) = (folder_on_disk(), User::who_may("CREATEDB"));
    let mut command = binary(&["bench", "backlog", "--tiny", "--json"]);
    let output = command
        .args(["--database-url", &user.url])
        .current_dir(folder.path())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let report: Value = serde_json::from_str(&stdout(&output)).unwrap();
    let backlog = &report["scenarios"][0];
    assert_eq!((&backlog["waiting"], &backlog["lost"]), (&500.into(), &0.into()));
    user.leaves_nothing();
}

#[test]
fn an_interrupted_measurement_drops_its_database() {
    let (folder, user) = (folder_on_disk(), User::who_may("CREATEDB"));
    let mut command = binary(&["bench", "--seconds", "2", "--connections", "4"]);
    command
        .args(["--database-url", &user.url])
        .current_dir(folder.path());
    let bench = Running::start(command);
    // The relay is measured first.
    let appears = (0..LOOKS_MAX).any(|_| user.databases() > 0);
    assert!(appears, "no database appears");
    assert_eq!(bench.interrupt().code(), Some(1));
    user.leaves_nothing();
}

#[test]
fn a_user_who_may_not_make_databases_is_told_what_is_needed() {
    let (folder, user) = (folder_on_disk(), User::who_may("NOCREATEDB"));
    let mut command = binary(&["bench", "--seconds", "1", "--connections", "4"]);
    let output = command
        .args(["--database-url", &user.url])
        .current_dir(folder.path())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let told = stderr(&output);
    assert!(
        told.contains("its user may not make databases") && told.contains("CREATEDB"),
        "{told}"
    );
    user.leaves_nothing();
}

#[test]
fn a_file_is_no_server_to_measure_on() {
    let output = binary(&["bench", "--database-url", "sqlite:here.db"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    let told = stderr(&output);
    assert!(told.contains("it is no postgres:// URL"), "{told}");
}
