//! The command line: what may be typed, and what it means.
//!
//! The commands and what belongs to one command alone are defined here; the flags of options that may also stand in a
//! variable or in the file are made from the table in `config::settings`.

mod help;

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;

use clap::builder::UnknownArgumentValueParser;
use clap::error::ErrorKind;
use clap::{
    Arg, ArgAction, ArgMatches, CommandFactory as _, FromArgMatches as _, Parser, Subcommand, ValueEnum,
};
use jiff::Timestamp;

use crate::config::settings::{
    self, DELIVERIES, Group, LIMITS, LISTEN, LISTENING, LOGGING, RETENTION, STORAGE,
};
use crate::config::{About, Flags};

const BENCH_SECONDS_MAX: u64 = 3_600;
const BENCH_CONNECTIONS_MAX: u64 = 10_000;
/// Endpoints that one tenant may have by default.
const BENCH_FAN_OUT_MAX: u64 = 50;

/// Stentor accepts events from your backend and delivers them, signed, to the URLs of your customers.
#[derive(Debug, Parser)]
#[command(name = "stentor", version, after_help = help::STENTOR, disable_help_subcommand = true)]
struct Cli {
    /// A TOML file of options, as in `stentor serve --help`. [env: STENTOR_CONFIG]
    #[arg(long, value_name = "FILE", global = true, help_heading = help::CONFIGURATION)]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

/// What Stentor is asked to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the server: the API and the deliveries.
    #[command(after_help = help::SERVE)]
    Serve(ServeOptions),
    /// Show Stentor at work: a server, a receiver and some events, on a directory that is thrown away.
    #[command(after_help = help::DEMO)]
    Demo(DemoOptions),
    /// Make API keys while no server runs.
    #[command(subcommand, after_help = help::KEY)]
    Key(KeyCommand),
    /// Replace the key that seals secrets on disk, also while a server runs.
    #[command(subcommand, after_help = help::MASTER_KEY)]
    MasterKey(MasterKeyCommand),
    /// Copy the database into a file, also while a server runs.
    #[command(after_help = help::BACKUP)]
    Backup(BackupOptions),
    /// Bring the database to the layout of this version.
    #[command(after_help = help::MIGRATE)]
    Migrate,
    /// Measure deliveries per second and their latency on this machine.
    #[command(after_help = help::BENCH)]
    Bench(BenchOptions),
    /// What `bench` measures the server beside.
    #[command(hide = true)]
    BenchRelay(RelayOptions),
}

/// What `stentor demo` takes.
#[derive(Debug, clap::Args)]
pub(crate) struct DemoOptions {
    /// End after the summary; code 1 if anything was not as it should be.
    #[arg(long)]
    pub(crate) once: bool,
}

/// What can be done with keys offline.
#[derive(Debug, Subcommand)]
pub(crate) enum KeyCommand {
    /// Make a key and print it: it is shown this once and kept only as a hash.
    #[command(after_help = help::KEY_CREATE)]
    Create(KeyOptions),
}

/// What can be done with master keys. None of it takes anything.
#[derive(Debug, Subcommand)]
pub(crate) enum MasterKeyCommand {
    /// Make a new key and seal everything anew with it; or go on with what was interrupted.
    #[command(after_help = help::MASTER_KEY_ROTATE)]
    Rotate,
    /// Show the keys, and how much is sealed with each.
    #[command(after_help = help::MASTER_KEY_LIST)]
    List,
    /// Remove the keys that nothing is sealed with any more.
    #[command(after_help = help::MASTER_KEY_FORGET)]
    Forget,
}

/// What `stentor key create` takes. A tenant is named exactly when the role is `Tenant`, a project never when it is `Root`.
#[derive(Debug, clap::Args)]
pub(crate) struct KeyOptions {
    /// What the key may do.
    #[arg(long, value_enum)]
    pub(crate) role: Role,
    /// The tenant of a tenant's key, by id or uid.
    #[arg(long, value_name = "TENANT", required_if_eq("role", "tenant"))]
    pub(crate) tenant: Option<String>,
    /// The project of the key, by id or name; without it `default`.
    #[arg(long, value_name = "PROJECT")]
    pub(crate) project: Option<String>,
    /// The key may look but change nothing.
    #[arg(long)]
    pub(crate) read_only: bool,
    /// What the key is for; shown in lists and in the audit log.
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// When the key ends, as in 2030-01-31T00:00:00Z; without it never.
    #[arg(long, value_name = "TIME")]
    pub(crate) expires_at: Option<Timestamp>,
}

/// Who holds a key (contract v1, "Roles").
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Role {
    /// Everything, in every project.
    Root,
    /// Everything in one project.
    Project,
    /// One tenant's endpoints, events and deliveries; no publishing.
    Tenant,
}

/// What `stentor backup` takes.
#[derive(Debug, clap::Args)]
pub(crate) struct BackupOptions {
    /// Where the copy goes.
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
}

/// What `stentor serve` takes beside the options of the table.
#[derive(Debug, clap::Args)]
pub(crate) struct ServeOptions {
    /// For `stentor bench`: waits so much longer after each fsync, as if the disk were slower.
    #[arg(long, hide = true, value_name = "MICROS", default_value_t = 0)]
    pub(crate) slow_disk_micros: u64,
}

/// What `stentor bench` takes.
#[derive(Debug, clap::Args)]
pub(crate) struct BenchOptions {
    /// What to measure [default: steady].
    #[arg(value_enum, value_name = "SCENARIO")]
    pub(crate) scenarios: Vec<BenchScenario>,
    /// Measure all scenarios that can be measured there.
    #[arg(long, conflicts_with = "scenarios")]
    pub(crate) all: bool,
    /// Measure less, of all scenarios unless some are named: tells where to look, less whether a bar is met.
    #[arg(long)]
    pub(crate) quick: bool,
    /// For tests: measure next to nothing.
    #[arg(long, hide = true, conflicts_with = "quick")]
    pub(crate) tiny: bool,
    /// How long each measurement lasts [default: as the scenario has it].
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=BENCH_SECONDS_MAX))]
    pub(crate) seconds: Option<u64>,
    /// Connections over which events are published [default: as the scenario has it; steady: 256].
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=BENCH_CONNECTIONS_MAX))]
    pub(crate) connections: Option<u64>,
    /// Endpoints that each event goes to, in the scenario steady [default: 1, then 5].
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=BENCH_FAN_OUT_MAX))]
    pub(crate) fan_out: Option<u64>,
    /// Measure on PostgreSQL, in databases that are made on the server at postgres://user@host:5432/name.
    #[arg(long, value_name = "URL")]
    pub(crate) database_url: Option<String>,
    /// Measure a server that runs already, at http://IP:PORT of this machine.
    #[arg(long, value_name = "URL", requires = "key", conflicts_with = "database_url", value_parser = target)]
    pub(crate) target: Option<SocketAddr>,
    /// The root or project key for --target. Other users of this machine can see it: revoke it afterwards.
    #[arg(long, value_name = "KEY", requires = "target")]
    pub(crate) key: Option<String>,
    /// Print one JSON object to standard output, for machines.
    #[arg(long)]
    pub(crate) json: bool,
}

/// What can be measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum BenchScenario {
    /// Deliveries per second and what each costs, beside the relay.
    Steady,
    /// How long a delivery takes, calm and at half of the most.
    Latency,
    /// How much is accepted while nothing can be sent.
    Batch,
    /// What endpoints that hang cost another one.
    Isolation,
    /// A million deliveries that wait: memory, restart, drain.
    Backlog,
    /// What removing ten million old attempts costs.
    Purge,
    /// What a disk costs that is 2 ms slower.
    SlowDisk,
}

fn target(url: &str) -> Result<SocketAddr, &'static str> {
    let address = url.strip_prefix("http://").map(|rest| rest.trim_end_matches('/'));
    let address = address.and_then(|address| address.parse().ok());
    address.ok_or("it must be as in http://127.0.0.1:8080, with an IP address and a port")
}

/// What `stentor bench-relay` takes.
#[derive(Debug, clap::Args)]
pub(crate) struct RelayOptions {
    /// Where the bodies go.
    #[arg(long)]
    pub(crate) to: SocketAddr,
    /// How often each goes there.
    #[arg(long, default_value_t = 1)]
    pub(crate) fan_out: u64,
}

/// A command line that was understood.
#[derive(Debug)]
pub(crate) struct Invocation {
    pub(crate) command: Command,
    /// The options of the table that were given as flags.
    pub(crate) flags: Flags,
    /// `--config`.
    pub(crate) config: Option<PathBuf>,
}

/// Understands a command line, whose first word is the program's name. The "error" may also be what `--help` and
/// `--version` print.
pub(crate) fn parse(
    words: impl IntoIterator<Item = impl Into<OsString> + Clone>,
) -> Result<Invocation, clap::Error> {
    let mut grammar = grammar();
    let matches = grammar.try_get_matches_from_mut(words)?;
    let Cli { config, command } = Cli::from_arg_matches(&matches)?;
    if let Command::Key(KeyCommand::Create(options)) = &command {
        check_scope(options).map_err(|rule| grammar.error(ErrorKind::ArgumentConflict, rule))?;
    }
    if let Command::Bench(options) = &command {
        check_fan_out(options).map_err(|rule| grammar.error(ErrorKind::ArgumentConflict, rule))?;
    }
    Ok(Invocation {
        command,
        flags: flags(&matches),
        config,
    })
}

fn check_scope(options: &KeyOptions) -> Result<(), &'static str> {
    match options.role {
        Role::Root if options.project.is_some() => {
            Err("--project does not go with --role root: a root key acts in all")
        }
        Role::Root | Role::Project if options.tenant.is_some() => {
            Err("--tenant goes with --role tenant only")
        }
        Role::Root | Role::Project | Role::Tenant => Ok(()),
    }
}

fn check_fan_out(options: &BenchOptions) -> Result<(), &'static str> {
    let is_steady = match options.scenarios.as_slice() {
        [] => !options.quick && !options.all,
        named => named.contains(&BenchScenario::Steady),
    };
    if options.fan_out.is_some() && !is_steady {
        return Err("--fan-out goes with the scenario steady only");
    }
    Ok(())
}

/// The derived grammar and, where they have a meaning, the options of the table.
fn grammar() -> clap::Command {
    let with_store = |command| with_group(command, &STORAGE);
    let cli = Cli::command()
        .mut_subcommand("serve", |serve| {
            [&LISTENING, &DELIVERIES, &LIMITS, &STORAGE, &RETENTION]
                .into_iter()
                .fold(serve, with_group)
        })
        .mut_subcommand("demo", |demo| demo.arg(argument(&LISTEN.about)))
        .mut_subcommand("key", |key| key.mut_subcommand("create", with_store))
        .mut_subcommand("master-key", |keys| {
            ["rotate", "list", "forget"]
                .into_iter()
                .fold(keys, |keys, name| keys.mut_subcommand(name, with_store))
        })
        .mut_subcommand("backup", with_store)
        .mut_subcommand("migrate", with_store);
    let logging = LOGGING
        .options
        .iter()
        .map(|option| argument(option).global(true).help_heading(LOGGING.heading));
    cli.args(logging).args(
        ["root-key", "master-key", "database-password"]
            .into_iter()
            .flat_map(refused_secret),
    )
}

fn with_group(command: clap::Command, group: &Group) -> clap::Command {
    command.args(
        group
            .options
            .iter()
            .map(|option| argument(option).help_heading(group.heading)),
    )
}

fn argument(option: &About) -> Arg {
    let default = option
        .default
        .map_or_else(String::new, |default| format!(" [default: {default}]"));
    let repeated = if option.is_list {
        " May be repeated; the variable has commas."
    } else {
        ""
    };
    Arg::new(option.name)
        .long(option.flag)
        .value_name(option.value_name)
        .action(if option.is_list {
            ArgAction::Append
        } else {
            ArgAction::Set
        })
        .help(format!(
            "{}{repeated}{default} [env: {}]",
            option.help,
            option.variable()
        ))
}

/// Secrets have no flags, since every user of the machine may list the processes with theirs. These stand in for them so
/// that the refusal says what to do, and does not show the secret.
fn refused_secret(flag: &'static str) -> [Arg; 2] {
    let (with_file, tip) = match flag {
        "root-key" => ("root-key-file", help::ROOT_KEY_TIP),
        "database-password" => ("database-password-file", help::DATABASE_PASSWORD_TIP),
        _ => ("master-key-file", help::MASTER_KEY_TIP),
    };
    [flag, with_file].map(|flag| {
        Arg::new(flag)
            .long(flag)
            .value_name("KEY")
            .hide(true)
            .global(true)
            .num_args(0..=1)
            .default_missing_value("")
            .value_parser(UnknownArgumentValueParser::suggest(tip))
    })
}

/// The options of the table that the innermost command was given.
fn flags(matches: &ArgMatches) -> Flags {
    let mut innermost = matches;
    while let Some((_, inner)) = innermost.subcommand() {
        innermost = inner;
    }
    settings::all()
        .filter_map(|option| {
            // An error says that the command does not have this option.
            let values = innermost.try_get_many::<String>(option.name).ok().flatten()?;
            Some((option.name, values.cloned().collect()))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn understood(line: &str) -> Invocation {
        parse(line.split(' ')).unwrap()
    }

    fn refused(line: &str) -> String {
        parse(line.split(' ')).unwrap_err().to_string()
    }

    #[test]
    fn the_grammar_is_consistent() {
        grammar().debug_assert();
    }

    #[test]
    fn flags_are_kept_under_the_names_of_their_options() {
        let line = "stentor --log-level debug serve --listen 127.0.0.1:0 --allow-destination a --allow-destination b \
                    --log-format json --config c.toml";
        let Invocation {
            command,
            flags,
            config,
        } = understood(line);
        assert!(matches!(command, Command::Serve(_)));
        assert_eq!(config, Some(PathBuf::from("c.toml")));
        let flags: Vec<_> = flags
            .into_iter()
            .map(|(name, values)| (name, values.join(" ")))
            .collect();
        let expected = [
            ("allow_destinations", "a b"),
            ("listen", "127.0.0.1:0"),
            ("log_format", "json"),
            ("log_level", "debug"),
        ];
        assert_eq!(flags, expected.map(|(name, value)| (name, value.to_owned())));
    }

    #[test]
    fn a_command_takes_only_the_options_that_mean_something_to_it() {
        assert!(
            refused("stentor backup --listen 127.0.0.1:0 copy.db").contains("unexpected argument '--listen'")
        );
        assert!(refused("stentor bench --data d").contains("unexpected argument '--data'"));
        assert_eq!(understood("stentor demo --listen 127.0.0.1:0").flags.len(), 1);
        assert_eq!(
            understood("stentor key create --role root --data d").flags.len(),
            1
        );
    }

    #[test]
    fn an_option_with_one_value_is_not_given_twice() {
        let text = refused("stentor serve --listen 127.0.0.1:0 --listen 127.0.0.1:1");
        assert!(text.contains("cannot be used multiple times"), "{text}");
    }

    #[test]
    fn a_tenants_key_names_its_tenant_and_the_others_do_not() {
        assert!(refused("stentor key create --role tenant").contains("--tenant <TENANT>"));
        assert!(
            refused("stentor key create --role project --tenant t")
                .contains("--tenant goes with --role tenant only")
        );
        assert!(
            refused("stentor key create --role root --project p")
                .contains("--project does not go with --role root")
        );
        let line = "stentor key create --role tenant --tenant t --project p --read-only --name n \
                    --expires-at 2030-01-31T00:00:00Z";
        let Command::Key(KeyCommand::Create(options)) = understood(line).command else {
            panic!("not a key")
        };
        assert_eq!(
            (options.role, options.tenant.as_deref()),
            (Role::Tenant, Some("t"))
        );
        assert_eq!(
            (options.project.as_deref(), options.name.as_deref()),
            (Some("p"), Some("n"))
        );
        assert_eq!(options.expires_at, Some("2030-01-31T00:00:00Z".parse().unwrap()));
        assert!(options.read_only);
    }

    #[test]
    fn a_secret_as_a_flag_is_refused_with_a_way_out_and_without_showing_it() {
        for line in [
            "--root-key hunter2",
            "--root-key=hunter2",
            "--root-key-file hunter2",
            "--root-key",
        ] {
            let text = refused(&format!("stentor serve {line}"));
            assert!(text.contains("set STENTOR_ROOT_KEY"), "{text}");
            assert!(!text.contains("hunter2"), "{text}");
        }
        assert!(refused("stentor serve --master-key hunter2").contains("set STENTOR_MASTER_KEY"));
        for line in ["--database-password hunter2", "--database-password-file=hunter2"] {
            let text = refused(&format!("stentor migrate {line}"));
            assert!(text.contains("set STENTOR_DATABASE_PASSWORD"), "{text}");
            assert!(!text.contains("hunter2"), "{text}");
        }
    }

    #[test]
    fn a_measurement_has_bounds() {
        let Command::Bench(options) = understood("stentor bench").command else {
            panic!("not a bench")
        };
        assert_eq!(
            (options.seconds, options.connections, options.fan_out),
            (None, None, None)
        );
        assert!(refused("stentor bench --seconds 0").contains("1..=3600"));
        assert!(refused("stentor bench --connections 0").contains("1..=10000"));
        assert!(refused("stentor bench --fan-out 51").contains("1..=50"));
        assert!(refused("stentor bench fast").contains("slow-disk"));
        assert!(refused("stentor bench --all steady").contains("--all"));
    }

    #[test]
    fn a_measurement_of_a_running_server_needs_its_key_and_its_address() {
        let Command::Bench(options) =
            understood("stentor bench --target http://127.0.0.1:8080/ --key k").command
        else {
            panic!("not a bench")
        };
        assert_eq!(options.target, Some("127.0.0.1:8080".parse().unwrap()));
        assert!(refused("stentor bench --target http://127.0.0.1:8080").contains("--key <KEY>"));
        assert!(refused("stentor bench --key k").contains("--target <URL>"));
        assert!(
            refused("stentor bench --target https://stentor.example --key k")
                .contains("http://127.0.0.1:8080")
        );
    }

    #[test]
    fn a_fan_out_belongs_to_the_steady_load() {
        assert!(refused("stentor bench latency --fan-out 2").contains("steady only"));
        assert!(refused("stentor bench --quick --fan-out 2").contains("steady only"));
        understood("stentor bench steady --quick --fan-out 2");
    }
}
