//! The guarded connector: the only place of Stentor that opens a connection to the outside.
//!
//! It takes the parsed host of a URL, never its text; looks the name up; has **every** address vetted by the
//! [`Guard`], and one forbidden address refuses them all; connects to exactly one of the vetted socket addresses, and
//! checks that this is the one reached. Proxy variables of the environment have no part in it.
//!
//! `race` chooses among several addresses, `tls` says what is trusted.

mod race;
mod tls;

use crate::failure::Failure;
use crate::guard::Guard;
use crate::resolve::Resolve;
use rustls_pki_types::{CertificateDer, ServerName};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use stentor_domain::Clock;
use stentor_domain::attempt::{ErrorClass, Exchange};
use stentor_domain::endpoint_url::EndpointUrl;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use url::Host;

/// Opens guarded connections.
pub(crate) struct Connector {
    resolve: Arc<dyn Resolve>,
    guard: Guard,
    tls: TlsConnector,
    /// For the lookup, the connection and the TLS handshake together.
    timeout: Duration,
    clock: Arc<dyn Clock>,
}

/// A connection that stands and over which no HTTP was spoken yet.
pub(crate) struct Established {
    /// The address it leads to.
    pub(crate) address: SocketAddr,
    /// What to speak over.
    pub(crate) wire: Wire,
}

/// What HTTP is spoken over.
pub(crate) enum Wire {
    /// Plain HTTP, which only the operator's exceptions may use.
    Plain(TcpStream),
    /// TLS, and whether HTTP/2 was agreed on.
    Tls {
        stream: Box<TlsStream<TcpStream>>,
        http2: bool,
    },
}

/// How far a connection has come.
#[derive(Clone, Copy)]
enum Stage {
    Lookup,
    Tcp,
    Tls,
}

impl Connector {
    /// A connector that trusts the public roots and `extra_roots`. The error is a root that cannot be one.
    pub(crate) fn new(
        resolve: Arc<dyn Resolve>,
        guard: Guard,
        extra_roots: &[CertificateDer<'static>],
        timeout: Duration,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, rustls::Error> {
        Ok(Self {
            resolve,
            guard,
            tls: TlsConnector::from(Arc::new(tls::client_config(extra_roots)?)),
            timeout,
            clock,
        })
    }

    /// Connects to the host and port of `url`, and notes in `exchange` the address and how long each part took.
    pub(crate) async fn connect(
        &self,
        url: &EndpointUrl,
        exchange: &mut Exchange,
    ) -> Result<Established, Failure> {
        let mut stage = Stage::Lookup;
        timeout(self.timeout, self.establish(url, exchange, &mut stage))
            .await
            .unwrap_or_else(|_| Err(stage.overdue(self.timeout)))
    }

    async fn establish(
        &self,
        url: &EndpointUrl,
        exchange: &mut Exchange,
        stage: &mut Stage,
    ) -> Result<Established, Failure> {
        let addresses = self.vetted_addresses(url, exchange).await?;

        *stage = Stage::Tcp;
        let started = self.clock.monotonic();
        let (tcp, address) = race::connect(addresses).await?;
        exchange.address = Some(address);
        exchange.timing.connect_micros = Some(self.micros_since(started));
        if !url.is_https() {
            let wire = Wire::Plain(tcp);
            return Ok(Established { address, wire });
        }

        *stage = Stage::Tls;
        let started = self.clock.monotonic();
        let name = server_name(url.host())?;
        let stream = self
            .tls
            .connect(name, tcp)
            .await
            .map_err(|error| Failure::from_error(ErrorClass::Tls, &error))?;
        exchange.timing.tls_micros = Some(self.micros_since(started));
        let http2 = stream.get_ref().1.alpn_protocol() == Some(tls::HTTP2);
        let stream = Box::new(stream);
        let wire = Wire::Tls { stream, http2 };
        Ok(Established { address, wire })
    }

    /// All addresses of the host, every one of them allowed.
    async fn vetted_addresses(
        &self,
        url: &EndpointUrl,
        exchange: &mut Exchange,
    ) -> Result<Vec<SocketAddr>, Failure> {
        let (addresses, literal) = match url.host() {
            Host::Ipv4(v4) => (vec![IpAddr::V4(v4)], true),
            Host::Ipv6(v6) => (vec![IpAddr::V6(v6)], true),
            Host::Domain(name) => {
                let started = self.clock.monotonic();
                let answer = self.resolve.resolve(name).await;
                exchange.timing.dns_micros = Some(self.micros_since(started));
                (answer.map_err(Failure::plain)?, false)
            }
        };
        let destinations: Vec<SocketAddr> = addresses
            .into_iter()
            .map(|address| SocketAddr::new(address, url.port()))
            .collect();
        for destination in &destinations {
            self.guard.vet(*destination).map_err(|refused| match literal {
                true => Failure::new(ErrorClass::BlockedAddress, refused.to_string()),
                // Even the rule would tell what lies behind a name.
                false => Failure::plain(ErrorClass::BlockedAddress),
            })?;
        }
        Ok(destinations)
    }

    fn micros_since(&self, started: Duration) -> u32 {
        micros(self.clock.monotonic().saturating_sub(started))
    }
}

/// Whole microseconds; what took longer than an hour is shown as that.
pub(crate) fn micros(time: Duration) -> u32 {
    u32::try_from(time.as_micros()).unwrap_or(u32::MAX)
}

fn server_name(host: Host<&str>) -> Result<ServerName<'static>, Failure> {
    match host {
        Host::Ipv4(v4) => Ok(ServerName::from(IpAddr::V4(v4))),
        Host::Ipv6(v6) => Ok(ServerName::from(IpAddr::V6(v6))),
        Host::Domain(name) => ServerName::try_from(name.to_owned())
            .map_err(|error| Failure::from_error(ErrorClass::Tls, &error)),
    }
}

impl Stage {
    /// The failure of a connection that took longer than it may.
    fn overdue(self, limit: Duration) -> Failure {
        let limit = limit.as_millis();
        match self {
            Self::Lookup => Failure::new(ErrorClass::DnsFailure, format!("no answer within {limit} ms")),
            Self::Tcp => Failure::new(ErrorClass::Connect, format!("no connection within {limit} ms")),
            Self::Tls => Failure::new(
                ErrorClass::Tls,
                format!("the handshake did not end within {limit} ms"),
            ),
        }
    }
}
