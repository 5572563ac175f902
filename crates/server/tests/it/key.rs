//! `stentor key create`: offline, before a server and between two of its lives.

use crate::support::{Running, binary, status_of, stderr, stdout};

fn create(data: &std::path::Path, words: &[&str]) -> std::process::Output {
    binary(&["key", "create"])
        .args(words)
        .arg("--data")
        .arg(data)
        .output()
        .expect("the binary runs")
}

#[test]
fn a_key_made_offline_is_alone_on_standard_output_and_opens_the_server() {
    let folder = tempfile::tempdir().unwrap();
    let output = create(folder.path(), &["--role", "root", "--name", "after a lost key"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let key = stdout(&output);
    let key = key.strip_suffix('\n').unwrap();
    assert!(
        key.starts_with("stn_root_") && !key.contains(char::is_whitespace),
        "{key}"
    );
    let said = stderr(&output);
    assert!(said.contains("Made key_") && said.contains("role root"), "{said}");
    assert!(!said.contains(key), "{said}");

    let (_server, address) = Running::server(folder.path());
    assert_eq!(status_of(address, "GET /v1/tenants", key), "HTTP/1.1 200 OK");
}

#[test]
fn while_a_server_runs_no_key_is_made_and_the_way_to_one_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let (server, _) = Running::server(folder.path());
    let output = create(folder.path(), &["--role", "root"]);
    assert_eq!((output.status.code(), stdout(&output).as_str()), (Some(1), ""));
    assert!(stderr(&output).contains("POST /v1/keys"), "{}", stderr(&output));
    drop(server);
}

#[test]
fn a_key_for_nobody_is_refused_by_the_rule_that_it_breaks() {
    let folder = tempfile::tempdir().unwrap();
    let unknown = create(folder.path(), &["--role", "tenant", "--tenant", "acme"]);
    assert_eq!(unknown.status.code(), Some(1));
    assert!(
        stderr(&unknown).ends_with("error: --tenant acme: there is no such tenant\n"),
        "{}",
        stderr(&unknown)
    );
    let past = create(
        folder.path(),
        &["--role", "root", "--expires-at", "2001-01-31T00:00:00Z"],
    );
    assert!(
        stderr(&past).contains("--expires-at must be in the future"),
        "{}",
        stderr(&past)
    );
}
