//! `stentor demo`: it checks itself, and says what to do next.

use crate::support::{Running, binary, line_with, stderr, stdout};

#[test]
fn one_round_shows_every_attempt_and_finds_nothing_amiss() {
    let folder = tempfile::tempdir().unwrap();
    let output = binary(&["demo", "--once", "--listen", "127.0.0.1:0"])
        .env("TMPDIR", folder.path())
        .output()
        .unwrap();
    let told = stdout(&output);
    assert_eq!(
        (output.status.code(), stderr(&output).as_str()),
        (Some(0), ""),
        "{told}"
    );
    assert!(
        told.contains("8 events accepted, 11 deliveries, 15 attempts, every signature verified"),
        "{told}"
    );
    assert!(told.ends_with("Everything was as it should be.\n"), "{told}");
    assert_eq!(told.matches("retry in ").count(), 4, "{told}");
    assert_eq!(told.matches("exhausted: schedule_ended").count(), 1, "{told}");
    assert!(!told.contains('\u{1b}'), "no colours into a pipe: {told}");
    assert_eq!(folder.path().read_dir().unwrap().count(), 0);
}

#[test]
fn the_demonstration_goes_on_until_it_is_interrupted_and_ends_well() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = binary(&["demo", "--listen", "127.0.0.1:0"]);
    command.env("TMPDIR", folder.path());
    let mut demo = Running::start(command);
    line_with("Everything was as it should be.", &mut demo.stdout);
    line_with("Register an endpoint", &mut demo.stdout);
    assert_eq!(demo.interrupt().code(), Some(0));
    assert_eq!(folder.path().read_dir().unwrap().count(), 0);
}
