//! The configuration: what an operator may set, where, and what follows from it.
//!
//! In reading order:
//! - `setting` says what an option is, `settings` is the table of all of them, `parse` their rules;
//! - `variables` and `file` read two of the places where a value may stand; the flags come from `cli`;
//! - `layers` asks the places in turn, and `refusal` says what is wrong with a value, where it stands and why;
//! - `secrets` are the values that no flag, no file of options and no log may show;
//! - `egress` puts the proxy's two parts together;
//! - this file resolves the layers into what the commands take.

mod egress;
mod file;
mod layers;
mod parse;
mod refusal;
mod secrets;
mod setting;
pub(crate) mod settings;
mod variables;

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ipnet::IpNet;
use stentor_delivery::egress::EgressProxy;
use stentor_domain::address::AllowedDestination;
use stentor_engine::jobs::retention::Retention;
use stentor_http::RequestQuotas;
use stentor_store::{Database, PostgresAddress};
use tracing_subscriber::filter::{LevelFilter, Targets};

pub(crate) use layers::{Flags, Layers};
use refusal::Origin;
pub(crate) use refusal::Refusal;
pub(crate) use secrets::{DatabasePassword, MASTER_KEYS_MAX, MasterKey, RootKey};
pub(crate) use setting::About;
pub(crate) use variables::Variables;

/// The database's file when `database_url` is left out, inside the data directory.
const DATABASE_FILE: &str = "stentor.db";
/// How many letters a name may be away from the one that it is taken for.
const NEAREST_DISTANCE_MAX: usize = 3;
/// What `stentor demo` lets deliveries reach: its own receiver.
const LOOPBACK: &str = "127.0.0.0/8";
/// Nothing in a demonstration is worth a long wait.
const DEMO_SHUTDOWN_GRACE: Duration = Duration::from_secs(2);

/// How a line of the log is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LogFormat {
    Text,
    Json,
}

/// What is logged, and how.
#[derive(Clone, Debug)]
pub(crate) struct LogConfig {
    pub(crate) format: LogFormat,
    pub(crate) level: Targets,
}

impl LogConfig {
    /// Takes the first refused option as the error.
    pub(crate) fn resolve(layers: &Layers) -> Result<Self, Refusal> {
        Ok(Self {
            format: layers.one(&settings::LOG_FORMAT)?,
            level: layers.one(&settings::LOG_LEVEL)?,
        })
    }

    /// The same for a command that prints for people: unless a level was asked for, warnings only.
    pub(crate) fn resolve_quiet(layers: &Layers) -> Result<Self, Refusal> {
        let quiet = || Targets::new().with_default(LevelFilter::WARN);
        Ok(Self {
            format: layers.one(&settings::LOG_FORMAT)?,
            level: layers.optional(&settings::LOG_LEVEL)?.unwrap_or_else(quiet),
        })
    }
}

/// Where everything is kept, and with which keys.
#[derive(Clone, Debug)]
pub(crate) struct StoreConfig {
    /// The data directory, which may not exist yet.
    pub(crate) data: PathBuf,
    /// The database: a file in the data directory unless it was named.
    pub(crate) database: Database,
    /// The keys that seal secrets, the current one first; empty when the data directory keeps a key of its own.
    pub(crate) master_keys: Vec<MasterKey>,
    /// The file that they were read from, if it was not the variable that gave them.
    pub(crate) master_key_file: Option<PathBuf>,
}

impl StoreConfig {
    /// Takes the first refused option as the error.
    pub(crate) fn resolve(layers: &Layers) -> Result<Self, Refusal> {
        let data = layers.one(&settings::DATA)?;
        let database = database(layers, &data)?;
        let keys = layers.secret(
            variables::MASTER_KEY,
            &settings::MASTER_KEY_FILE,
            MasterKey::parse_list,
        )?;
        let file = match layers.variables().get(variables::MASTER_KEY)? {
            Some(_) => None,
            None => layers.optional(&settings::MASTER_KEY_FILE)?,
        };
        Ok(Self {
            data,
            database,
            master_keys: keys.unwrap_or_default(),
            master_key_file: file,
        })
    }
}

/// The database that was named, with its password, or else the file in the data directory.
fn database(layers: &Layers, data: &Path) -> Result<Database, Refusal> {
    let password = layers.secret(
        variables::DATABASE_PASSWORD,
        &settings::DATABASE_PASSWORD_FILE,
        DatabasePassword::parse,
    )?;
    match (layers.optional_from(&settings::DATABASE_URL)?, password) {
        (Some((origin, Database::Postgres(address))), password) => {
            with_password(address, password, origin).map(Database::Postgres)
        }
        // A password without its URL is a deployment that has lost half of its settings: it must not begin a database.
        (_, Some(_)) => Err(Refusal::Place {
            origin: Origin::Variable(variables::DATABASE_PASSWORD.to_owned()),
            rule: "it, or its file, gives a password, but `database_url` names no PostgreSQL server that it could be for"
                .to_owned(),
        }),
        (Some((_, database)), None) => Ok(database),
        (None, None) => Ok(Database::File(data.join(DATABASE_FILE))),
    }
}

/// A password may stand in the URL only where the environment has the URL: flags are seen by other users of the machine, and
/// the file of options is read by more than who may read secrets.
fn with_password(
    address: PostgresAddress,
    password: Option<DatabasePassword>,
    origin: Origin,
) -> Result<PostgresAddress, Refusal> {
    let rule = match (&origin, &password) {
        _ if !address.has_password() => {
            return Ok(match password {
                Some(password) => address.with_password(password.expose()),
                None => address,
            });
        }
        (Origin::Variable(_), None) => return Ok(address),
        (Origin::Variable(_), Some(_)) => format!(
            "it holds a password, and {} or its file gives another; keep one of them",
            variables::DATABASE_PASSWORD
        ),
        (Origin::Flag(_), _) => format!(
            "it holds a password, and a flag can be seen by other users of the machine: leave it out and set {0}, or \
             {0}_FILE to a file that holds it",
            variables::DATABASE_PASSWORD
        ),
        (Origin::File { .. } | Origin::Default, _) => format!(
            "it holds a password, which does not belong in this file: leave it out and set {}, or name a file that holds \
             it as database_password_file",
            variables::DATABASE_PASSWORD
        ),
    };
    Err(Refusal::Value {
        name: settings::DATABASE_URL.about.name,
        origin,
        rule,
    })
}

/// The PostgreSQL server that a measurement makes its databases on.
#[derive(Clone, Debug)]
pub(crate) struct BenchServer {
    /// As it was given, which is without the password.
    pub(crate) url: String,
    pub(crate) address: PostgresAddress,
    pub(crate) password: Option<DatabasePassword>,
}

impl BenchServer {
    /// The server of the flag `--database-url`, if it was given: a variable or a file that is meant for a real server must
    /// not lead a measurement there. Only the password comes from where it does for the others.
    pub(crate) fn resolve(flag: Option<&str>, layers: &Layers) -> Result<Option<Self>, Refusal> {
        let Some(url) = flag else { return Ok(None) };
        let Database::Postgres(address) = database(layers, Path::new(""))? else {
            return Err(Refusal::Value {
                name: settings::DATABASE_URL.about.name,
                origin: Origin::Flag("database-url"),
                rule:
                    "it is no postgres:// URL; without this flag a file is measured, in the working directory"
                        .to_owned(),
            });
        };
        let password = layers.secret(
            variables::DATABASE_PASSWORD,
            &settings::DATABASE_PASSWORD_FILE,
            DatabasePassword::parse,
        )?;
        Ok(Some(Self {
            url: url.to_owned(),
            address,
            password,
        }))
    }

    /// The URL of another database of the same server.
    pub(crate) fn url_of(&self, database: &str) -> String {
        let (place, parameters) = match self.url.split_once('?') {
            Some((place, parameters)) => (place, format!("?{parameters}")),
            None => (self.url.as_str(), String::new()),
        };
        // The scheme and the authority hold no slash but its own two.
        let end = place.rfind('/').unwrap_or(place.len());
        format!("{}/{database}{parameters}", place.get(..end).unwrap_or(place))
    }
}

/// Everything that `stentor serve` runs with.
#[derive(Clone, Debug)]
pub(crate) struct ServeConfig {
    pub(crate) store: StoreConfig,
    /// Without it the first start makes one and prints it once.
    pub(crate) root_key: Option<RootKey>,
    pub(crate) listen: SocketAddr,
    /// Networks whose word on the client's address is believed.
    pub(crate) trusted_proxies: Vec<IpNet>,
    /// Host names that requests may carry, in lower case; empty is any.
    pub(crate) public_hosts: Vec<String>,
    /// `None`: what the limit of open files allows.
    pub(crate) connections_max: Option<usize>,
    pub(crate) shutdown_grace: Duration,
    pub(crate) allow_destinations: Vec<AllowedDestination>,
    /// How long an endpoint may fail without one success; `None`: for ever.
    pub(crate) patience: Option<Duration>,
    /// PEM.
    pub(crate) ca_file: Option<PathBuf>,
    /// With its credentials, if it has some. Everything leaves through it.
    pub(crate) egress_proxy: Option<EgressProxy>,
    /// As the operator wishes; the limit of open files may allow fewer.
    pub(crate) in_flight_max: usize,
    pub(crate) in_flight_per_endpoint_max: usize,
    /// `None`: not limited.
    pub(crate) failed_authentication_per_minute: Option<NonZeroU32>,
    pub(crate) payload_bytes_max: usize,
    pub(crate) endpoints_per_tenant_max: u32,
    pub(crate) organization_endpoints_max: u32,
    /// How long things are kept.
    pub(crate) retention: Retention,
    /// Is the trace of a publish sent on?
    pub(crate) forwards_traces: bool,
    pub(crate) request_quotas: RequestQuotas,
}

impl ServeConfig {
    /// Takes the first refused option as the error.
    pub(crate) fn resolve(layers: &Layers) -> Result<Self, Refusal> {
        let failed_authentication_per_minute = layers.one(&settings::FAILED_AUTHENTICATION_PER_MINUTE)?;
        Ok(Self {
            store: StoreConfig::resolve(layers)?,
            root_key: layers.secret(variables::ROOT_KEY, &settings::ROOT_KEY_FILE, RootKey::parse)?,
            listen: layers.one(&settings::LISTEN)?,
            trusted_proxies: layers.list(&settings::TRUSTED_PROXIES)?,
            public_hosts: layers.list(&settings::PUBLIC_HOSTS)?,
            connections_max: layers.optional(&settings::CONNECTIONS)?,
            shutdown_grace: Duration::from_secs(layers.one(&settings::SHUTDOWN_GRACE_SECONDS)?),
            allow_destinations: layers.list(&settings::ALLOW_DESTINATIONS)?,
            patience: days(layers.one(&settings::DISABLE_AFTER_DAYS)?),
            ca_file: layers.optional(&settings::CA_FILE)?,
            egress_proxy: egress::proxy(layers)?,
            in_flight_max: layers.one(&settings::IN_FLIGHT)?,
            in_flight_per_endpoint_max: layers.one(&settings::IN_FLIGHT_PER_ENDPOINT)?,
            failed_authentication_per_minute: NonZeroU32::new(failed_authentication_per_minute),
            payload_bytes_max: layers.one(&settings::PAYLOAD_BYTES)?,
            endpoints_per_tenant_max: layers.one(&settings::ENDPOINTS_PER_TENANT)?,
            organization_endpoints_max: layers.one(&settings::ORGANIZATION_ENDPOINTS)?,
            retention: Retention {
                payload_days: layers.one(&settings::PAYLOAD_DAYS)?,
                attempt_days: layers.one(&settings::ATTEMPT_DAYS)?,
            },
            forwards_traces: layers.one(&settings::TRACEPARENT)?,
            request_quotas: request_quotas(layers)?,
        })
    }
}

/// So many days; none for 0.
fn days(days: u32) -> Option<Duration> {
    (days > 0).then(|| Duration::from_secs(u64::from(days) * 24 * 3600))
}

fn request_quotas(layers: &Layers) -> Result<RequestQuotas, Refusal> {
    let quota = |setting| layers.one(setting).map(NonZeroU32::new);
    Ok(RequestQuotas {
        organization: quota(&settings::ORGANIZATION_REQUESTS)?,
        organization_sandbox: quota(&settings::ORGANIZATION_SANDBOX_REQUESTS)?,
        subscriptions: quota(&settings::SUBSCRIPTIONS_REQUESTS)?,
        subscriptions_patch: quota(&settings::SUBSCRIPTIONS_PATCH_REQUESTS)?,
        v1: quota(&settings::V1_REQUESTS)?,
        apps: quota(&settings::APPS_REQUESTS)?,
    })
}

impl ServeConfig {
    /// The defaults, on a folder of its own and without anything that was set for a real server.
    pub(crate) fn demo(data: &Path, listen: SocketAddr) -> Result<Self, Refusal> {
        let defaults = Self::resolve(&Layers::default())?;
        Ok(Self {
            store: StoreConfig {
                data: data.to_owned(),
                database: Database::File(data.join(DATABASE_FILE)),
                master_keys: Vec::new(),
                master_key_file: None,
            },
            listen,
            allow_destinations: LOOPBACK.parse().into_iter().collect(),
            shutdown_grace: DEMO_SHUTDOWN_GRACE,
            ..defaults
        })
    }
}

/// The known name that an unknown one was probably meant to be.
fn nearest<'a>(unknown: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    known
        .map(|name| (strsim::damerau_levenshtein(unknown, name), name))
        .filter(|(distance, _)| *distance <= NEAREST_DISTANCE_MAX)
        .min()
        .map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_measurement_goes_to_another_database_of_the_same_server() {
        let server = |url: &str| BenchServer {
            url: url.to_owned(),
            address: PostgresAddress::parse(url).unwrap(),
            password: None,
        };
        for (url, expected) in [
            ("postgres://me@db:5432/postgres", "postgres://me@db:5432/made"),
            (
                "postgres://me@a:1,b:2/app?sslmode=disable",
                "postgres://me@a:1,b:2/made?sslmode=disable",
            ),
            (
                "postgres://me@/app?host=/run/pg",
                "postgres://me@/made?host=/run/pg",
            ),
        ] {
            assert_eq!(server(url).url_of("made"), expected);
        }
    }

    #[test]
    fn a_measurement_goes_nowhere_unless_its_flag_says_so() {
        let layers = with_file("database_url = 'postgres://me@db/app'");
        assert!(BenchServer::resolve(None, &layers).unwrap().is_none());
    }

    fn with_file(text: &str) -> Layers {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("stentor.toml");
        std::fs::write(&path, text).unwrap();
        Layers::gather(Flags::new(), Variables::default(), Some(path)).unwrap()
    }

    #[test]
    fn nothing_said_gives_the_defaults_of_the_contract() {
        let config = ServeConfig::resolve(&Layers::default()).unwrap();
        assert_eq!(config.listen, "127.0.0.1:8080".parse().unwrap());
        assert_eq!(config.store.data, Path::new("./stentor-data"));
        assert!(
            matches!(config.store.database, Database::File(path) if path == Path::new("./stentor-data/stentor.db"))
        );
        assert_eq!(config.shutdown_grace, Duration::from_secs(10));
        assert_eq!(config.failed_authentication_per_minute, NonZeroU32::new(60));
        assert_eq!(config.payload_bytes_max, 256 * 1_024);
        assert_eq!(
            (config.endpoints_per_tenant_max, config.organization_endpoints_max),
            (50, 10)
        );
        assert_eq!(config.retention, stentor_engine::Settings::default().retention);
        assert_eq!(
            (config.retention.payload_days, config.retention.attempt_days),
            (30, 30)
        );
        assert_eq!(config.request_quotas, RequestQuotas::default());
        assert!(!config.forwards_traces);
        assert_eq!(
            (config.in_flight_max, config.in_flight_per_endpoint_max),
            (512, 16)
        );
        assert!(config.allow_destinations.is_empty() && config.public_hosts.is_empty());
        assert!(config.trusted_proxies.is_empty() && config.store.master_keys.is_empty());
        assert!(config.connections_max.is_none() && config.ca_file.is_none() && config.root_key.is_none());
    }

    #[test]
    fn the_database_is_inside_the_data_directory_unless_it_is_named() {
        let database = |text| match StoreConfig::resolve(&with_file(text)).unwrap().database {
            Database::File(path) => path,
            Database::Postgres(_) => panic!("a file was named"),
        };
        assert_eq!(
            database("data = '/srv/stentor'"),
            Path::new("/srv/stentor/stentor.db")
        );
        assert_eq!(
            database("data = '/srv/stentor'\ndatabase_url = 'sqlite:/fast/s.db'"),
            Path::new("/fast/s.db")
        );
    }

    #[test]
    fn zero_failed_authentications_turn_the_limit_off() {
        let config = ServeConfig::resolve(&with_file("failed_authentication_per_minute = 0")).unwrap();
        assert_eq!(config.failed_authentication_per_minute, None);
    }

    #[test]
    fn zero_requests_per_minute_turn_a_limit_off_and_any_other_number_is_the_limit() {
        let quotas = |text| ServeConfig::resolve(&with_file(text)).unwrap().request_quotas;
        let off = quotas(
            "organization_requests_per_minute = 0\norganization_sandbox_requests_per_minute = 0\n\
             subscriptions_requests_per_minute = 0\nsubscriptions_patch_requests_per_minute = 0",
        );
        let none = RequestQuotas {
            organization: None,
            organization_sandbox: None,
            subscriptions: None,
            subscriptions_patch: None,
            v1: None,
            apps: None,
        };
        assert_eq!(off, none);
        let set = quotas(
            "organization_requests_per_minute = 1\norganization_sandbox_requests_per_minute = 2\n\
             subscriptions_requests_per_minute = 3\nsubscriptions_patch_requests_per_minute = 4\n\
             v1_requests_per_minute = 5\napps_requests_per_minute = 6",
        );
        let numbered = RequestQuotas {
            organization: NonZeroU32::new(1),
            organization_sandbox: NonZeroU32::new(2),
            subscriptions: NonZeroU32::new(3),
            subscriptions_patch: NonZeroU32::new(4),
            v1: NonZeroU32::new(5),
            apps: NonZeroU32::new(6),
        };
        assert_eq!(set, numbered);
    }

    #[test]
    fn a_command_for_people_logs_warnings_only_unless_a_level_was_asked_for() {
        let quiet = |text| {
            LogConfig::resolve_quiet(&with_file(text))
                .unwrap()
                .level
                .to_string()
        };
        assert_eq!(quiet(""), "warn");
        assert_eq!(quiet("log_level = 'info'"), "info");
    }

    /// An option that is in the table but that nothing reads would be accepted and ignored.
    #[test]
    fn every_option_of_the_table_is_read_and_refuses_an_empty_text() {
        for option in settings::all() {
            let empty = if option.is_list { "['']" } else { "''" };
            let layers = with_file(&format!("{} = {empty}", option.name));
            let refusals = [
                ServeConfig::resolve(&layers).err(),
                LogConfig::resolve(&layers).err(),
            ];
            let named = format!("option `{}`", option.name);
            assert!(
                refusals
                    .iter()
                    .flatten()
                    .any(|refusal| refusal.to_string().starts_with(&named)),
                "{named}"
            );
        }
    }
}
