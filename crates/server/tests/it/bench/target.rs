//! The same against a server that runs already.

use std::path::Path;

use serde_json::Value;

use super::{nothing_lost, report};
use crate::support::{Running, answer_of, binary, line_with, stderr};

const ROOT_KEY: &str = "stn_root_0123456789abcdefghijklmnopqrstuvwxyzABCDEFG";

/// A server that may deliver to this machine, its root key known.
fn server(data: &Path) -> (Running, String) {
    let mut command = binary(&[
        "serve",
        "--listen",
        "127.0.0.1:0",
        "--allow-destination",
        "127.0.0.0/8",
    ]);
    command.env("STENTOR_ROOT_KEY", ROOT_KEY).arg("--data").arg(data);
    let mut server = Running::start(command);
    let line = line_with("listening on http://", &mut server.stderr);
    let (_, address) = line.split_once("http://").expect("an address follows");
    let address = address.split_whitespace().next().unwrap_or_default();
    (server, address.to_owned())
}

#[test]
fn a_server_that_runs_already_is_measured_without_what_cannot_be_known_of_it() {
    let data = tempfile::tempdir().unwrap();
    let (running, address) = server(data.path());
    let url = format!("http://{address}");
    let report = report(&[
        "--tiny",
        "steady",
        "--fan-out",
        "2",
        "--target",
        &url,
        "--key",
        ROOT_KEY,
    ]);
    let steady = &report["scenarios"][0]["parts"][0];
    nothing_lost(&steady["server"]);
    for unknown in ["cpu_micros_per_delivery", "rss_bytes", "wal_bytes"] {
        assert_eq!(steady["server"][unknown], Value::Null, "{unknown}: {report}");
    }
    assert_eq!(
        report["bars"].as_array().unwrap().len(),
        1,
        "processor time is not known: {report}"
    );
    // It goes on, without what was made in it.
    let tenants = answer_of(address.parse().unwrap(), "GET /v1/tenants", ROOT_KEY);
    assert!(
        tenants.starts_with("HTTP/1.1 200 OK") && tenants.contains(r#""data":[]"#),
        "{tenants}"
    );
    assert_eq!(running.interrupt().code(), Some(0));
}

#[test]
fn what_needs_a_restart_is_not_measured_on_a_server_that_somebody_else_runs() {
    for scenario in ["backlog", "purge", "slow-disk"] {
        let output = binary(&["bench", scenario, "--target", "http://127.0.0.1:1", "--key", "k"])
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(1));
        assert!(
            stderr(&output).contains("leave out --target"),
            "{}",
            stderr(&output)
        );
    }
}
