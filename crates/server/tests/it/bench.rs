//! `stentor bench`: that it measures, never how fast.

mod postgres;

use serde_json::Value;

use crate::support::{binary, stderr, stdout};

/// On the disk of the build: the temporary folder of many machines is kept in memory, which the bench refuses.
fn folder_on_disk() -> tempfile::TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder can be made")
}

#[test]
fn a_short_measurement_loses_nothing_and_leaves_nothing_behind() {
    let folder = folder_on_disk();
    let words = [
        "bench",
        "--seconds",
        "1",
        "--connections",
        "4",
        "--fan-out",
        "2",
        "--json",
    ];
    let output = binary(&words)
        // An option of a real server, which must not reach the measured one.
        .env("STENTOR_DATABASE_URL", "sqlite:/nowhere/stentor.db")
        .current_dir(folder.path())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let report: Value = serde_json::from_str(&stdout(&output)).unwrap();
    for subject in ["relay", "server"] {
        let measured = &report[subject];
        let count = |field: &str| measured[field].as_u64().unwrap();
        assert!(count("deliveries") > 0, "{report}");
        for never in ["lost", "duplicates", "strange", "refused"] {
            assert_eq!(count(never), 0, "{never} of the {subject}: {report}");
        }
    }
    assert_eq!(
        (&report["connections"], &report["fan_out"]),
        (&4.into(), &2.into())
    );
    assert_eq!(folder.path().read_dir().unwrap().count(), 0);
}
