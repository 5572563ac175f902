//! Where a PostgreSQL server is, and who asks.
//!
//! `url` reads what an operator writes, `refused` says why a connection failed and what to do about it.

mod refused;
mod url;

use super::tls::Tls;
use crate::error::{Result, StoreError};
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;
use tokio_postgres::config::{ChannelBinding, SslMode, TargetSessionAttrs};
use tokio_postgres::tls::{MakeTlsConnect, TlsConnect};
use tokio_postgres::{Client, Config, NoTls, Socket};
use zeroize::Zeroizing;

pub(crate) use refused::unfolded;

/// How long what was sent may stay unconfirmed, and how soon a silent peer is found gone (idle, then probe by probe): a host
/// that has vanished must not hold a publisher longer than that.
const UNCONFIRMED_MAX: Duration = Duration::from_secs(5);
const IDLE_BEFORE_PROBES: Duration = Duration::from_secs(3);
const BETWEEN_PROBES: Duration = Duration::from_secs(1);
const PROBES_MAX: u32 = 3;

/// Where a PostgreSQL server is, and who asks: what a URL says, with the password.
#[derive(Clone)]
pub struct PostgresAddress {
    /// At least one; tried in this order.
    hosts: Vec<Host>,
    user: String,
    database: String,
    password: Option<Zeroizing<String>>,
    tls: Tls,
    channel_binding: ChannelBinding,
    /// For each host: to be there, encrypted and logged in.
    connect_timeout: Duration,
    /// A host that takes no writes is passed over.
    writable_only: bool,
}

/// One place where the server may be.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Host {
    place: Place,
    port: u16,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Place {
    /// A name or an address, without brackets.
    Network(String),
    /// The folder of a socket on this machine.
    Folder(PathBuf),
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Place::Network(name) if name.contains(':') => write!(f, "[{name}]:{}", self.port),
            Place::Network(name) => write!(f, "{name}:{}", self.port),
            Place::Folder(folder) => write!(f, "{}/.s.PGSQL.{}", folder.display(), self.port),
        }
    }
}

impl fmt::Debug for PostgresAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresAddress")
            .field("hosts", &self.hosts)
            .field("database", &self.database)
            .finish_non_exhaustive()
    }
}

impl PostgresAddress {
    /// Takes `postgres://user@host:5432/name`, with several hosts `host1:5432,host2:5432`, and with the parameters that
    /// docs/operations.md lists. Reads the certificates that `sslrootcert` names. The error never quotes the text, which may
    /// hold a password.
    pub fn parse(url: &str) -> Result<Self, String> {
        url::parse(url)
    }

    /// Whether the URL held a password.
    pub fn has_password(&self) -> bool {
        self.password.is_some()
    }

    /// The same with this password.
    #[must_use]
    pub fn with_password(mut self, password: &str) -> Self {
        self.password = Some(Zeroizing::new(password.to_owned()));
        self
    }

    /// Another database of the same server.
    #[must_use]
    pub fn with_database(mut self, database: &str) -> Self {
        database.clone_into(&mut self.database);
        self
    }

    /// A connection that the server knows as `name`, to the first host that gives one. It is bounded for each host; the
    /// error says of each what is wrong with it.
    pub(crate) async fn connect(&self, name: &str) -> Result<Client> {
        let mut faults = Vec::new();
        for host in &self.hosts {
            match self.connect_to(host, name).await {
                Ok(client) => return Ok(client),
                Err(fault) => faults.push(fault),
            }
        }
        Err(StoreError::Unavailable(faults.join("; ")))
    }

    async fn connect_to(&self, host: &Host, name: &str) -> Result<Client, String> {
        let config = self.config(host, name);
        let connecting = async {
            match (&host.place, self.tls.connector()) {
                (Place::Network(_), Some(tls)) => connected(&config, tls).await,
                _ => connected(&config, NoTls).await,
            }
        };
        match tokio::time::timeout(self.connect_timeout, connecting).await {
            Ok(Ok(client)) => Ok(client),
            Ok(Err(error)) => Err(refused::because(self, host, &error)),
            Err(_elapsed) => Err(refused::silent(host, self.connect_timeout)),
        }
    }

    fn config(&self, host: &Host, name: &str) -> Config {
        let mut config = Config::new();
        config
            .user(&self.user)
            .dbname(&self.database)
            .application_name(name)
            .port(host.port)
            .connect_timeout(self.connect_timeout)
            .channel_binding(self.channel_binding)
            .tcp_user_timeout(UNCONFIRMED_MAX)
            .keepalives_idle(IDLE_BEFORE_PROBES)
            .keepalives_interval(BETWEEN_PROBES)
            .keepalives_retries(PROBES_MAX);
        if let Some(password) = &self.password {
            config.password(password.as_bytes());
        }
        if self.writable_only {
            config.target_session_attrs(TargetSessionAttrs::ReadWrite);
        }
        match &host.place {
            Place::Network(name) => config.host(name).ssl_mode(self.tls.mode()),
            // What does not leave the machine is not encrypted: PostgreSQL offers no TLS there.
            Place::Folder(folder) => config.host_path(folder).ssl_mode(SslMode::Disable),
        };
        config
    }
}

/// A connection, with a task that serves it until the client is dropped or the server goes.
async fn connected<T>(config: &Config, tls: T) -> Result<Client, tokio_postgres::Error>
where
    T: MakeTlsConnect<Socket>,
    T::Stream: Send + 'static,
    T::TlsConnect: Send,
    <T::TlsConnect as TlsConnect<Socket>>::Future: Send,
{
    let (client, connection) = config.connect(tls).await?;
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(error = unfolded(&error), "a connection to the database ended");
        }
    });
    Ok(client)
}
