//! The command line: what it prints, where, and the code it ends with.

use std::process::Output;

use crate::support::{binary, stderr, stdout};

/// Runs the binary in an environment of these variables alone, in a directory that is thrown away.
fn stentor(words: &[&str], variables: &[(&str, &str)]) -> Output {
    let directory = tempfile::tempdir().expect("a directory can be made");
    binary(words)
        .envs(variables.iter().copied())
        .current_dir(directory.path())
        .output()
        .expect("the binary runs")
}

/// An invocation that ends with code 2 and returns what it said to standard error, and nothing to standard output.
#[track_caller]
fn refused(words: &[&str], variables: &[(&str, &str)]) -> String {
    let output = stentor(words, variables);
    assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
    assert_eq!(stdout(&output), "");
    stderr(&output)
}

#[test]
fn help_of_every_command_says_its_purpose_gives_examples_and_leads_on() {
    let commands: [&[&str]; 7] = [
        &["serve"],
        &["demo"],
        &["key"],
        &["key", "create"],
        &["backup"],
        &["migrate"],
        &["bench"],
    ];
    for command in commands {
        let output = stentor(&[command, &["--help"]].concat(), &[]);
        assert_eq!((output.status.code(), stderr(&output).as_str()), (Some(0), ""));
        let help = stdout(&output);
        assert!(!help.starts_with("Usage:"), "no purpose: {help}");
        assert!(help.contains("Examples:\n") && help.contains("Next: "), "{help}");
    }
}

#[test]
fn help_names_the_commands_and_where_to_start() {
    let help = stdout(&stentor(&["--help"], &[]));
    for word in [
        "serve",
        "demo",
        "key",
        "backup",
        "migrate",
        "bench",
        "Start here:",
    ] {
        assert!(help.contains(word), "{word} is missing from {help}");
    }
}

#[test]
fn help_of_serve_shows_an_option_with_its_default_and_its_variable() {
    let help = stdout(&stentor(&["serve", "--help"], &[]));
    let help = help.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(help.contains("--listen <ADDRESS:PORT>"), "{help}");
    assert!(
        help.contains("[default: 127.0.0.1:8080] [env: STENTOR_LISTEN]"),
        "{help}"
    );
}

#[test]
fn no_command_is_answered_with_the_help() {
    let text = refused(&[], &[]);
    assert!(text.contains("Start here:"), "{text}");
}

#[test]
fn the_version_is_printed() {
    let output = stentor(&["--version"], &[]);
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(
        stdout(&output),
        format!("stentor {}\n", env!("CARGO_PKG_VERSION"))
    );
}

#[test]
fn an_unknown_flag_is_refused_with_the_nearest_one() {
    let text = refused(&["serve", "--lisen", "127.0.0.1:0"], &[]);
    assert!(text.contains("unexpected argument '--lisen' found"), "{text}");
    assert!(text.contains("'--listen'"), "{text}");
}

#[test]
fn a_wrong_value_is_refused_with_its_option_place_and_rule() {
    assert_eq!(
        refused(&["serve"], &[("STENTOR_PAYLOAD_BYTES_MAX", "1MB")]),
        "error: option `payload_bytes_max` (variable STENTOR_PAYLOAD_BYTES_MAX): `1MB` is not a whole number from 1 \
         to 5242880\n"
    );
    let text = refused(&["serve", "--log-level", "loud"], &[]);
    assert!(
        text.starts_with("error: option `log_level` (flag --log-level): `loud` is neither"),
        "{text}"
    );
}

#[test]
fn an_unknown_key_of_the_file_is_refused_with_its_line() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("stentor.toml");
    std::fs::write(&path, "data = 'd'\nlisten_on = '127.0.0.1:0'\n").unwrap();
    let path = path.to_str().unwrap();
    let expected = format!("error: {path}, line 2: unknown option `listen_on`; did you mean `listen`?\n");
    assert_eq!(refused(&["serve", "--config", path], &[]), expected);
    assert_eq!(refused(&["serve"], &[("STENTOR_CONFIG", path)]), expected);
}

#[test]
fn a_file_that_is_not_there_is_refused_by_the_name_of_who_asked_for_it() {
    let text = refused(&["--config", "absent.toml", "migrate"], &[]);
    assert!(
        text.starts_with("error: flag --config: absent.toml cannot be read: "),
        "{text}"
    );
}

#[test]
fn an_unknown_variable_is_one_warning() {
    let output = stentor(
        &["migrate", "--log-format", "json"],
        &[("STENTOR_LISTN", "x"), ("OTHER_LISTN", "x")],
    );
    let text = stderr(&output);
    let warnings: Vec<_> = text.lines().filter(|line| line.contains("LISTN")).collect();
    assert_eq!(warnings.len(), 1, "{text}");
    let warning: serde_json::Value = serde_json::from_str(warnings[0]).unwrap();
    assert_eq!(warning["level"], "WARN");
    assert_eq!(
        warning["message"],
        "the variable STENTOR_LISTN is not an option and is ignored; did you mean STENTOR_LISTEN?"
    );
}

#[test]
fn a_log_that_is_not_read_by_a_person_has_no_colours() {
    let text = stderr(&stentor(&["migrate"], &[("STENTOR_LISTN", "x")]));
    assert!(text.contains("WARN") && !text.contains('\u{1b}'), "{text:?}");
}

#[test]
fn a_secret_is_refused_as_a_flag_and_in_the_file_and_never_shown() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("stentor.toml");
    std::fs::write(&path, "master_key = 'hunter2'\n").unwrap();
    let with_password = directory.path().join("database.toml");
    std::fs::write(&with_password, "database_url = 'postgres://s:hunter2@db/s'\n").unwrap();
    let url_and = |other| [("STENTOR_DATABASE_URL", "postgres://s:hunter2@db/s"), other];
    let texts = [
        (
            refused(&["serve", "--root-key", "hunter2"], &[]),
            "STENTOR_ROOT_KEY_FILE",
        ),
        (
            refused(&["serve", "--master-key=hunter2"], &[]),
            "STENTOR_MASTER_KEY_FILE",
        ),
        (
            refused(&["serve", "--config", path.to_str().unwrap()], &[]),
            "master_key_file",
        ),
        (
            refused(&["serve"], &[("STENTOR_ROOT_KEY", "hunter2")]),
            "STENTOR_ROOT_KEY",
        ),
        (
            refused(&["serve", "--database-url", "postgres://s:hunter2@db/s"], &[]),
            "a flag can be seen by other users of the machine: leave it out and set STENTOR_DATABASE_PASSWORD",
        ),
        (
            refused(&["serve", "--config", with_password.to_str().unwrap()], &[]),
            "database_password_file",
        ),
        (
            refused(&["serve", "--database-password=hunter2"], &[]),
            "STENTOR_DATABASE_PASSWORD_FILE",
        ),
        (
            refused(&["serve"], &url_and(("STENTOR_DATABASE_PASSWORD", "hunter3"))),
            "keep one of them",
        ),
        (
            refused(&["serve"], &[("STENTOR_DATABASE_PASSWORD", "hunter2")]),
            "`database_url` names no PostgreSQL server",
        ),
        (
            refused(&["serve"], &[("STENTOR_DATABASE_PASSWORD", "")]),
            "STENTOR_DATABASE_PASSWORD: it is empty",
        ),
        // A slip that makes the password a piece of something else.
        (
            refused(
                &["serve"],
                &[("STENTOR_DATABASE_URL", "postgres://s:pa/hunter2@db/s")],
            ),
            "write % as %25, / as %2F",
        ),
    ];
    for (text, way_out) in texts {
        assert!(text.contains(way_out) && !text.contains("hunter2"), "{text}");
    }
}
