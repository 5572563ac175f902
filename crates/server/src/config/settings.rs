//! The table of options: each is defined here once, with its names, its default, its rule and its help. `cli` makes the
//! flags from it, `layers` the variables and the file's keys, and the `resolve` functions of `config` read it.

use std::net::SocketAddr;
use std::path::PathBuf;
use stentor_domain::address::AllowedDestination;

use ipnet::IpNet;
use stentor_delivery::egress::EgressProxy;
use stentor_store::Database;
use tracing_subscriber::filter::Targets;

use super::LogFormat;
use super::parse::{self, whole_number};
use super::setting::{About, Setting};

const SHUTDOWN_GRACE_SECONDS_MAX: u64 = 3_600;
const FAILED_AUTHENTICATION_PER_MINUTE_MAX: u64 = 1_000_000;
/// The size of a whole batch (contract v1): a larger payload could never be published in one.
const PAYLOAD_BYTES_MAX: u64 = 5 * 1_024 * 1_024;
const ENDPOINTS_PER_TENANT_MAX: u64 = 1_000_000;
/// Each request of the last minute takes 8 to 16 bytes for as long as it counts.
const REQUESTS_PER_MINUTE_MAX: u64 = 1_000_000;
const CONNECTIONS_MAX: u64 = 1_000_000;
const IN_FLIGHT_MAX: u64 = 100_000;
const KEPT_DAYS_MAX: u64 = 36_500;
const DISABLE_AFTER_DAYS_MAX: u64 = 3_650;

pub(crate) static LISTEN: Setting<SocketAddr> = Setting::one(
    "listen",
    "listen",
    "ADDRESS:PORT",
    parse::socket_address,
    "Where the API listens. Port 0 takes a free one.",
)
.or("127.0.0.1:8080");

pub(crate) static TRUSTED_PROXIES: Setting<IpNet> = Setting::list(
    "trusted_proxies",
    "trusted-proxy",
    "CIDR",
    parse::network,
    "A proxy in front of Stentor: its word on the client's address is believed.",
);

pub(crate) static PUBLIC_HOSTS: Setting<String> = Setting::list(
    "public_hosts",
    "public-host",
    "HOST",
    parse::host_name,
    "A Host name that requests may carry, without its port. Without this option any is accepted.",
);

pub(crate) static SHUTDOWN_GRACE_SECONDS: Setting<u64> = Setting::one(
    "shutdown_grace_seconds",
    "shutdown-grace-seconds",
    "SECONDS",
    whole_number::<_, 0, SHUTDOWN_GRACE_SECONDS_MAX>,
    "How long a stop waits for what is in flight.",
)
.or("10");

pub(crate) static ALLOW_DESTINATIONS: Setting<AllowedDestination> = Setting::list(
    "allow_destinations",
    "allow-destination",
    "CIDR[:PORT]",
    parse::destination,
    "An otherwise forbidden address that deliveries may reach, over plain HTTP too: for development and internal \
     networks. By literal address only, never by name.",
);

pub(crate) static DISABLE_AFTER_DAYS: Setting<u32> = Setting::one(
    "disable_after_days",
    "disable-after-days",
    "DAYS",
    whole_number::<_, 0, DISABLE_AFTER_DAYS_MAX>,
    "How long an endpoint may fail without one success before it is disabled. 0 is for ever.",
)
.or("5");

pub(crate) static TRACEPARENT: Setting<bool> = Setting::one(
    "traceparent",
    "traceparent",
    "ignore|forward",
    parse::forward,
    "What becomes of the headers traceparent and tracestate of a publish (W3C Trace Context): with forward valid ones are kept \
     and sent with every attempt.",
)
.or("ignore");

pub(crate) static CA_FILE: Setting<PathBuf> = Setting::one(
    "ca_file",
    "ca-file",
    "FILE",
    parse::path,
    "Further root certificates (PEM) that the certificates of receivers, and of the egress proxy, may chain to.",
);

pub(crate) static EGRESS_PROXY: Setting<EgressProxy> = Setting::one(
    "egress_proxy",
    "egress-proxy",
    "URL",
    parse::egress_proxy,
    "An HTTP proxy (http:// or https://) that every delivery leaves through, by CONNECT. Which destinations can be reached \
     stays as it is. Its user and password are a secret of their own.",
);

pub(crate) static IN_FLIGHT: Setting<usize> = Setting::one(
    "in_flight_max",
    "in-flight-max",
    "COUNT",
    whole_number::<_, 1, IN_FLIGHT_MAX>,
    "Requests to receivers under way at once, all endpoints together. Lowered when the limit of open files is short.",
)
.or("512");

pub(crate) static IN_FLIGHT_PER_ENDPOINT: Setting<usize> = Setting::one(
    "in_flight_per_endpoint_max",
    "in-flight-per-endpoint-max",
    "COUNT",
    whole_number::<_, 1, IN_FLIGHT_MAX>,
    "Requests under way at once to one endpoint.",
)
.or("16");

pub(crate) static FAILED_AUTHENTICATION_PER_MINUTE: Setting<u32> = Setting::one(
    "failed_authentication_per_minute",
    "failed-authentication-per-minute",
    "COUNT",
    whole_number::<_, 0, FAILED_AUTHENTICATION_PER_MINUTE_MAX>,
    "Wrong keys that one client address may try in a minute; 0 is off. Valid keys are never limited by it.",
)
.or("60");

pub(crate) static PAYLOAD_BYTES: Setting<usize> = Setting::one(
    "payload_bytes_max",
    "payload-bytes-max",
    "BYTES",
    whole_number::<_, 1, PAYLOAD_BYTES_MAX>,
    "The largest payload of an event.",
)
.or("262144");

pub(crate) static ENDPOINTS_PER_TENANT: Setting<u32> = Setting::one(
    "endpoints_per_tenant_max",
    "endpoints-per-tenant-max",
    "COUNT",
    whole_number::<_, 1, ENDPOINTS_PER_TENANT_MAX>,
    "Endpoints that one tenant may have.",
)
.or("50");

pub(crate) static ORGANIZATION_ENDPOINTS: Setting<u32> = Setting::one(
    "organization_endpoints_max",
    "organization-endpoints-max",
    "COUNT",
    whole_number::<_, 1, ENDPOINTS_PER_TENANT_MAX>,
    "Endpoints, whoever made them, at which contract organization lets a tenant make no more.",
)
.or("10");

pub(crate) static ORGANIZATION_REQUESTS: Setting<u32> = Setting::one(
    "organization_requests_per_minute",
    "organization-requests-per-minute",
    "COUNT",
    whole_number::<_, 0, REQUESTS_PER_MINUTE_MAX>,
    "Requests of contract organization that one key may make in any 60 seconds; 0 is off.",
)
.or("100");

pub(crate) static ORGANIZATION_SANDBOX_REQUESTS: Setting<u32> = Setting::one(
    "organization_sandbox_requests_per_minute",
    "organization-sandbox-requests-per-minute",
    "COUNT",
    whole_number::<_, 0, REQUESTS_PER_MINUTE_MAX>,
    "The same for a key of a sandbox project; 0 is off.",
)
.or("500");

pub(crate) static SUBSCRIPTIONS_REQUESTS: Setting<u32> = Setting::one(
    "subscriptions_requests_per_minute",
    "subscriptions-requests-per-minute",
    "COUNT",
    whole_number::<_, 0, REQUESTS_PER_MINUTE_MAX>,
    "Requests for one operation of contract subscriptions that one key may make in any 60 seconds; 0 is off.",
)
.or("50");

pub(crate) static SUBSCRIPTIONS_PATCH_REQUESTS: Setting<u32> = Setting::one(
    "subscriptions_patch_requests_per_minute",
    "subscriptions-patch-requests-per-minute",
    "COUNT",
    whole_number::<_, 0, REQUESTS_PER_MINUTE_MAX>,
    "The same for its PATCH; 0 is off.",
)
.or("100");

pub(crate) static V1_REQUESTS: Setting<u32> = Setting::one(
    "v1_requests_per_minute",
    "v1-requests-per-minute",
    "COUNT",
    whole_number::<_, 0, REQUESTS_PER_MINUTE_MAX>,
    "Requests of contract v1 that one key may make in any 60 seconds, publishing included; 0 is off.",
)
.or("0");

pub(crate) static APPS_REQUESTS: Setting<u32> = Setting::one(
    "apps_requests_per_minute",
    "apps-requests-per-minute",
    "COUNT",
    whole_number::<_, 0, REQUESTS_PER_MINUTE_MAX>,
    "Requests of contract apps that one key may make in any 60 seconds; 0 is off.",
)
.or("0");

pub(crate) static CONNECTIONS: Setting<usize> = Setting::one(
    "connections_max",
    "connections-max",
    "COUNT",
    whole_number::<_, 1, CONNECTIONS_MAX>,
    "Clients connected at once. Without this option it follows from the limit of open files.",
);

pub(crate) static DATA: Setting<PathBuf> = Setting::one(
    "data",
    "data",
    "DIR",
    parse::path,
    "Where everything is kept. A relative path starts at the working directory: name an absolute one in production.",
)
.or("./stentor-data");

pub(crate) static DATABASE_URL: Setting<Database> = Setting::one(
    "database_url",
    "database-url",
    "URL",
    parse::database,
    "The database: sqlite:PATH, or postgres://user@host:5432/name, whose password is a secret of its own. Without this \
     option it is the file stentor.db in the data directory.",
);

pub(crate) static PAYLOAD_DAYS: Setting<u32> = Setting::one(
    "payload_days",
    "payload-days",
    "DAYS",
    whole_number::<_, 0, KEPT_DAYS_MAX>,
    "How many whole days (UTC) the payload of an event is kept; 0 is for ever. What is unfinished by then ends as \
     payload_expired.",
)
.or("30");

pub(crate) static ATTEMPT_DAYS: Setting<u32> = Setting::one(
    "attempt_days",
    "attempt-days",
    "DAYS",
    whole_number::<_, 0, KEPT_DAYS_MAX>,
    "How many whole days (UTC) after an event its finished deliveries and their attempts are kept; 0 is for ever.",
)
.or("30");

pub(crate) static ROOT_KEY_FILE: Setting<PathBuf> = Setting::without_flag(
    "root_key_file",
    parse::path,
    "A file with the root key. STENTOR_ROOT_KEY holds the key itself.",
);

pub(crate) static MASTER_KEY_FILE: Setting<PathBuf> = Setting::without_flag(
    "master_key_file",
    parse::path,
    "A file with the master keys. STENTOR_MASTER_KEY holds the keys themselves.",
);

pub(crate) static DATABASE_PASSWORD_FILE: Setting<PathBuf> = Setting::without_flag(
    "database_password_file",
    parse::path,
    "A file with the password of the database's user. STENTOR_DATABASE_PASSWORD holds the password itself.",
);

pub(crate) static EGRESS_PROXY_CREDENTIALS_FILE: Setting<PathBuf> = Setting::without_flag(
    "egress_proxy_credentials_file",
    parse::path,
    "A file with USER:PASSWORD for the egress proxy. STENTOR_EGRESS_PROXY_CREDENTIALS holds them themselves.",
);

pub(crate) static LOG_FORMAT: Setting<LogFormat> = Setting::one(
    "log_format",
    "log-format",
    "text|json",
    parse::log_format,
    "How a line of the log is written; the log goes to standard error.",
)
.or("text");

pub(crate) static LOG_LEVEL: Setting<Targets> = Setting::one(
    "log_level",
    "log-level",
    "LEVEL",
    parse::log_level,
    "What is logged: off, error, warn, info, debug or trace, and for single modules MODULE=LEVEL, with commas between.",
)
.or("info");

/// Options that stand together under one heading of the help.
pub(crate) struct Group {
    pub(crate) heading: &'static str,
    pub(crate) options: &'static [&'static About],
}

pub(crate) static LISTENING: Group = Group {
    heading: "Listening",
    options: &[
        &LISTEN.about,
        &PUBLIC_HOSTS.about,
        &TRUSTED_PROXIES.about,
        &CONNECTIONS.about,
        &SHUTDOWN_GRACE_SECONDS.about,
    ],
};

pub(crate) static DELIVERIES: Group = Group {
    heading: "Deliveries",
    options: &[
        &ALLOW_DESTINATIONS.about,
        &EGRESS_PROXY.about,
        &CA_FILE.about,
        &IN_FLIGHT.about,
        &IN_FLIGHT_PER_ENDPOINT.about,
        &DISABLE_AFTER_DAYS.about,
        &TRACEPARENT.about,
    ],
};

pub(crate) static LIMITS: Group = Group {
    heading: "Limits",
    options: &[
        &PAYLOAD_BYTES.about,
        &ENDPOINTS_PER_TENANT.about,
        &ORGANIZATION_ENDPOINTS.about,
        &FAILED_AUTHENTICATION_PER_MINUTE.about,
        &ORGANIZATION_REQUESTS.about,
        &ORGANIZATION_SANDBOX_REQUESTS.about,
        &SUBSCRIPTIONS_REQUESTS.about,
        &SUBSCRIPTIONS_PATCH_REQUESTS.about,
        &V1_REQUESTS.about,
        &APPS_REQUESTS.about,
    ],
};

pub(crate) static STORAGE: Group = Group {
    heading: "Storage",
    options: &[&DATA.about, &DATABASE_URL.about],
};

pub(crate) static RETENTION: Group = Group {
    heading: "Retention",
    options: &[&PAYLOAD_DAYS.about, &ATTEMPT_DAYS.about],
};

pub(crate) static LOGGING: Group = Group {
    heading: "Logging",
    options: &[&LOG_FORMAT.about, &LOG_LEVEL.about],
};

static SECRETS: Group = Group {
    heading: "Secrets",
    options: &[
        &ROOT_KEY_FILE.about,
        &MASTER_KEY_FILE.about,
        &DATABASE_PASSWORD_FILE.about,
        &EGRESS_PROXY_CREDENTIALS_FILE.about,
    ],
};

/// Every option there is.
pub(crate) fn all() -> impl Iterator<Item = &'static About> {
    [
        &LISTENING,
        &DELIVERIES,
        &LIMITS,
        &STORAGE,
        &RETENTION,
        &LOGGING,
        &SECRETS,
    ]
    .into_iter()
    .flat_map(|group| group.options.iter().copied())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_are_unique_and_a_single_values_flag_is_its_name_with_dashes() {
        let mut names = BTreeSet::new();
        for option in all() {
            assert!(names.insert(option.name), "{} is defined twice", option.name);
            if let (Some(flag), false) = (option.flag, option.is_list) {
                assert_eq!(flag, option.name.replace('_', "-"));
            }
        }
    }
}
