//! Names to addresses. Nothing here judges an address: that is the connector's part, for each of them.
//!
//! - [`Resolve`] is what the connector asks; tests answer it themselves.
//! - [`SystemResolver`] asks the machine's name servers and remembers the answers for a short time.
//! - `Remembered` is that memory, bounded in entries, addresses and time, whatever a zone's owner publishes.

use futures_util::future::BoxFuture;
use hickory_resolver::config::{NameServerConfig, ResolveHosts, ResolverConfig};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::{Name, RecordType};
use hickory_resolver::{ResolverBuilder, TokioResolver};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use stentor_domain::Clock;
use stentor_domain::attempt::ErrorClass;

/// The longest that one lookup may take, every name server and retry included. Shorter than the time to connect, so that
/// a slow name server is told from a slow receiver.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(4);
/// How long one name server is waited for.
const SERVER_TIMEOUT: Duration = Duration::from_secs(2);
/// Repetitions of a query that got no answer.
const SERVER_RETRIES: usize = 1;
/// Addresses taken from one answer; a hostile zone may list thousands.
const ADDRESSES_MAX: usize = 32;
/// Names remembered at once.
const NAMES_REMEMBERED_MAX: usize = 1_024;
/// The shortest time that an answer is remembered: a TTL of zero must not cost a query per attempt.
const TTL_MIN: Duration = Duration::from_secs(1);
/// The longest time that an answer is remembered: a receiver that moves is found within a minute.
const TTL_MAX: Duration = Duration::from_secs(60);
/// How long it is remembered that a name does not exist.
const TTL_NOT_FOUND: Duration = Duration::from_secs(5);

/// Who turns the name of a host into its addresses.
pub trait Resolve: Send + Sync + 'static {
    /// All addresses of `host`, a name in lowercase ASCII, in any order and never an empty list.
    ///
    /// The error is [`ErrorClass::DnsNotFound`] where the name does not exist or has no address, and
    /// [`ErrorClass::DnsFailure`] where that could not be found out.
    fn resolve<'a>(&'a self, host: &'a str) -> BoxFuture<'a, Result<Vec<IpAddr>, ErrorClass>>;
}

/// Asks name servers, by default those that the machine is configured with, and the machine's hosts file before them.
pub struct SystemResolver {
    /// `None` where the machine's configuration cannot be read.
    servers: Option<TokioResolver>,
    remembered: Mutex<Remembered>,
    clock: Arc<dyn Clock>,
}

impl SystemResolver {
    /// Reads the machine's configuration. Where that fails, every lookup will answer [`ErrorClass::DnsFailure`]: literal
    /// addresses can still be delivered to.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self::asking(TokioResolver::builder_tokio(), clock)
    }

    /// Asks `servers`, by UDP and TCP, instead of those that the machine is configured with.
    pub fn with_name_servers(servers: &[SocketAddr], clock: Arc<dyn Clock>) -> Self {
        let servers = servers.iter().map(|address| {
            let mut server = NameServerConfig::udp_and_tcp(address.ip());
            for connection in &mut server.connections {
                connection.port = address.port();
            }
            server
        });
        let config = ResolverConfig::from_name_servers(servers.collect());
        let builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
        Self::asking(Ok(builder), clock)
    }

    fn asking(builder: Result<Builder, NetError>, clock: Arc<dyn Clock>) -> Self {
        let servers = builder
            .and_then(bounded)
            .inspect_err(|error| {
                tracing::warn!(%error, "the configuration of name servers cannot be read; names will not resolve");
            })
            .ok();
        Self {
            servers,
            remembered: Mutex::default(),
            clock,
        }
    }

    async fn look_up(&self, host: &str) -> Result<(Vec<IpAddr>, Duration), ErrorClass> {
        let servers = self.servers.as_ref().ok_or(ErrorClass::DnsFailure)?;
        // A name that breaks the rules of DNS does not exist. As a fully qualified one it never meets the machine's
        // search list, which would lead into the operator's own domain.
        let mut name = Name::from_ascii(host).map_err(|_| ErrorClass::DnsNotFound)?;
        name.set_fqdn(true);
        let both = async {
            tokio::join!(
                servers.lookup(name.clone(), RecordType::A),
                servers.lookup(name.clone(), RecordType::AAAA)
            )
        };
        let (v4, v6) = tokio::time::timeout(LOOKUP_TIMEOUT, both)
            .await
            .map_err(|_| ErrorClass::DnsFailure)?;

        let mut addresses = Vec::new();
        let mut ttl = TTL_MAX;
        let mut class = ErrorClass::DnsNotFound;
        for answer in [v6, v4] {
            match answer {
                Ok(lookup) => {
                    for record in lookup.answers() {
                        let Some(address) = record.data.ip_addr() else {
                            continue;
                        };
                        ttl = ttl.min(Duration::from_secs(u64::from(record.ttl)));
                        if addresses.len() < ADDRESSES_MAX {
                            addresses.push(address);
                        }
                    }
                }
                Err(error) if not_found(&error) => {}
                Err(_) => class = ErrorClass::DnsFailure,
            }
        }
        match addresses.is_empty() {
            true => Err(class),
            false => Ok((addresses, ttl.max(TTL_MIN))),
        }
    }
}

impl Resolve for SystemResolver {
    fn resolve<'a>(&'a self, host: &'a str) -> BoxFuture<'a, Result<Vec<IpAddr>, ErrorClass>> {
        Box::pin(async move {
            if let Some(answer) = self.remembered.lock().recall(host, self.clock.monotonic()) {
                return answer;
            }
            let (answer, ttl) = match self.look_up(host).await {
                Ok((addresses, ttl)) => (Ok(addresses), ttl),
                Err(ErrorClass::DnsNotFound) => (Err(ErrorClass::DnsNotFound), TTL_NOT_FOUND),
                // That a lookup failed is no knowledge about the name: ask again the next time.
                Err(class) => return Err(class),
            };
            let now = self.clock.monotonic();
            self.remembered.lock().keep(host, answer.clone(), now, now + ttl);
            answer
        })
    }
}

type Builder = ResolverBuilder<TokioRuntimeProvider>;

fn bounded(mut builder: Builder) -> Result<TokioResolver, NetError> {
    let options = builder.options_mut();
    options.timeout = SERVER_TIMEOUT;
    options.attempts = SERVER_RETRIES;
    options.try_tcp_on_error = true;
    options.use_hosts_file = ResolveHosts::Always;
    // The library would remember whole answers, which a hostile zone can make large: `Remembered` keeps addresses only.
    options.cache_size = 0;
    builder.build()
}

/// Did the name servers say that there is nothing under this name?
fn not_found(error: &NetError) -> bool {
    error.is_nx_domain() || error.is_no_records_found()
}

/// The answers of the last minute.
#[derive(Default)]
struct Remembered(HashMap<Box<str>, Memory>);

struct Memory {
    answer: Result<Vec<IpAddr>, ErrorClass>,
    until: Duration,
}

impl Remembered {
    fn recall(&self, host: &str, now: Duration) -> Option<Result<Vec<IpAddr>, ErrorClass>> {
        let memory = self.0.get(host).filter(|memory| now < memory.until)?;
        Some(memory.answer.clone())
    }

    fn keep(&mut self, host: &str, answer: Result<Vec<IpAddr>, ErrorClass>, now: Duration, until: Duration) {
        if self.0.len() >= NAMES_REMEMBERED_MAX && !self.0.contains_key(host) {
            self.0.retain(|_, memory| now < memory.until);
        }
        // All of them still hold: then the new one is asked for again the next time.
        if self.0.len() < NAMES_REMEMBERED_MAX || self.0.contains_key(host) {
            self.0.insert(host.into(), Memory { answer, until });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANSWER: Result<Vec<IpAddr>, ErrorClass> = Err(ErrorClass::DnsNotFound);

    #[test]
    fn an_answer_is_forgotten_when_its_time_is_over() {
        let mut remembered = Remembered::default();
        remembered.keep("a.example", ANSWER, Duration::ZERO, TTL_MAX);
        assert_eq!(remembered.recall("a.example", TTL_MIN), Some(ANSWER));
        assert_eq!(remembered.recall("a.example", TTL_MAX), None);
    }

    #[test]
    fn no_more_names_are_remembered_than_the_limit() {
        let mut remembered = Remembered::default();
        for i in 0..=NAMES_REMEMBERED_MAX {
            remembered.keep(&format!("{i}.example"), ANSWER, Duration::ZERO, TTL_MIN);
        }
        assert_eq!(remembered.0.len(), NAMES_REMEMBERED_MAX);
        remembered.keep("late.example", ANSWER, TTL_MIN, TTL_MAX);
        assert_eq!(remembered.0.len(), 1);
    }
}
