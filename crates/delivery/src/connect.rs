//! The guarded connector: the only place of Stentor that opens a connection to the outside.
//!
//! It takes the parsed host of a URL, never its text; looks the name up; has **every** address vetted by the
//! [`Guard`], and one forbidden address refuses them all; connects to exactly one of the vetted socket addresses, and
//! checks that this is the one reached. With an egress proxy it asks that for a tunnel to exactly one of them. Proxy
//! variables of the environment have no part in it.
//!
//! `race` chooses among several addresses, `tunnel` goes through the proxy, `line` is either way, `tls` says what is
//! trusted.

mod line;
mod race;
mod tls;
mod tunnel;

use crate::egress::EgressProxy;
use crate::failure::Failure;
use crate::guard::Guard;
use crate::resolve::Resolve;
use line::Line;
use rustls_pki_types::{CertificateDer, ServerName};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use stentor_domain::Clock;
use stentor_domain::attempt::{ErrorClass, Exchange};
use stentor_domain::endpoint_url::EndpointUrl;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tunnel::Tunnels;
use url::Host;

/// Opens guarded connections.
pub(crate) struct Connector {
    resolve: Arc<dyn Resolve>,
    guard: Guard,
    tls: TlsConnector,
    /// Where the operator names an egress proxy, the only way out.
    tunnels: Option<Tunnels>,
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
    Plain(Line),
    /// TLS, and whether HTTP/2 was agreed on.
    Tls {
        stream: Box<TlsStream<Line>>,
        http2: bool,
    },
}

/// How far a connection has come.
#[derive(Clone, Copy, Default)]
pub(crate) enum Stage {
    /// The receiver's name is being looked up.
    #[default]
    Lookup,
    /// The receiver is being connected to.
    Tcp,
    /// The egress proxy is being connected to, or asked for a tunnel.
    Proxy,
    /// TLS is being agreed on with the receiver.
    Tls,
    /// It stands.
    Open,
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
            tls: TlsConnector::from(Arc::new(tls::client_config(extra_roots, &tls::RECEIVERS)?)),
            tunnels: None,
            timeout,
            clock,
        })
    }

    /// The same connector, which reaches nobody but through `proxy`, whose certificate is trusted as those of receivers are.
    pub(crate) fn through(
        mut self,
        proxy: EgressProxy,
        extra_roots: &[CertificateDer<'static>],
    ) -> Result<Self, rustls::Error> {
        let tls = TlsConnector::from(Arc::new(tls::client_config(extra_roots, &tls::PROXIES)?));
        self.tunnels = Some(Tunnels::new(proxy, tls, Arc::clone(&self.resolve)));
        Ok(self)
    }

    /// Connects to the host and port of `url`, and notes in `exchange` the address and how long each part took, and in
    /// `stage` how far it has come.
    pub(crate) async fn connect(
        &self,
        url: &EndpointUrl,
        exchange: &mut Exchange,
        stage: &mut Stage,
    ) -> Result<Established, Failure> {
        timeout(self.timeout, self.establish(url, exchange, stage))
            .await
            .unwrap_or_else(|_| Err(stage.overdue(self.timeout)))
    }

    async fn establish(
        &self,
        url: &EndpointUrl,
        exchange: &mut Exchange,
        stage: &mut Stage,
    ) -> Result<Established, Failure> {
        *stage = Stage::Lookup;
        let addresses = self.vetted_addresses(url, exchange).await?;

        let started = self.clock.monotonic();
        let (line, address) = match &self.tunnels {
            Some(tunnels) => {
                *stage = Stage::Proxy;
                tunnels.open(addresses).await?
            }
            None => {
                *stage = Stage::Tcp;
                let (tcp, address) = race::connect(addresses).await?;
                (Line::Tcp(tcp), address)
            }
        };
        exchange.address = Some(address);
        exchange.timing.connect_micros = Some(self.micros_since(started));
        if !url.is_https() {
            *stage = Stage::Open;
            let wire = Wire::Plain(line);
            return Ok(Established { address, wire });
        }

        *stage = Stage::Tls;
        let started = self.clock.monotonic();
        let name = server_name(url.host())?;
        let stream = self
            .tls
            .connect(name, line)
            .await
            .map_err(|error| Failure::from_error(ErrorClass::Tls, &error))?;
        exchange.timing.tls_micros = Some(self.micros_since(started));
        *stage = Stage::Open;
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
    /// The failure of an exchange that came to its own deadline. The egress proxy is not the receiver's fault, however
    /// short that deadline is.
    pub(crate) fn overrun(self, limit: Duration) -> Failure {
        match self {
            Self::Proxy => self.overdue(limit),
            _ => Failure::new(
                ErrorClass::Timeout,
                format!("no complete answer within {} ms", limit.as_millis()),
            ),
        }
    }

    /// The failure of a connection that took longer than it may.
    fn overdue(self, limit: Duration) -> Failure {
        let limit = limit.as_millis();
        let (class, detail) = match self {
            Self::Lookup => (ErrorClass::DnsFailure, format!("no answer within {limit} ms")),
            Self::Tcp => (ErrorClass::Connect, format!("no connection within {limit} ms")),
            Self::Proxy => (
                ErrorClass::Proxy,
                format!("it gave no tunnel within {limit} ms; check that it runs and can reach receivers"),
            ),
            Self::Tls | Self::Open => (
                ErrorClass::Tls,
                format!("the handshake did not end within {limit} ms"),
            ),
        };
        Failure::new(class, detail)
    }
}
