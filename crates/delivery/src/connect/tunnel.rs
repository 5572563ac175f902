//! Tunnels through the egress proxy (`CONNECT`, RFC 9110, section 9.3.6).
//!
//! The guard stays on: the proxy is asked for a socket address that was vetted here, never for a name, so that no answer of
//! its name servers can lead a delivery elsewhere. TLS is spoken with the receiver, through the tunnel: the proxy sees neither
//! the URL nor the payload.
//!
//! What fails here is a fault of ours (`ErrorClass::Proxy`) and costs the receiver no place in its schedule, but for one
//! thing: a proxy that says in so many words that the receiver's address was not reached.

use super::line::Line;
use super::{race, server_name};
use crate::egress::EgressProxy;
use crate::failure::Failure;
use crate::resolve::Resolve;
use bytes::Bytes;
use http::header::{HOST, PROXY_AUTHORIZATION};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, Uri};
use http_body_util::Empty;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use stentor_domain::attempt::ErrorClass;
use tokio_rustls::TlsConnector;
use url::Host;

/// Addresses of a receiver that the proxy is asked for, one after the other.
const TUNNELS_MAX: usize = 3;
/// Header lines of a proxy's answer.
const HEADER_LINES_MAX: usize = 100;
/// Bytes of a proxy's answer; the least that the library works with.
const BUFFER_BYTES_MAX: usize = 8 * 1024;
/// Where a proxy tells what became of a request (RFC 9209).
const PROXY_STATUS: HeaderName = HeaderName::from_static("proxy-status");
/// The errors in `Proxy-Status` which say that the address was not reached.
const UNREACHED: [&str; 6] = [
    "destination_unavailable",
    "destination_ip_unroutable",
    "connection_refused",
    "connection_terminated",
    "connection_timeout",
    "connection_limit_reached",
];
/// Where Squid tells it.
const X_SQUID_ERROR: HeaderName = HeaderName::from_static("x-squid-error");
/// The error of Squid which says that the address was not reached.
const SQUID_UNREACHED: &str = "ERR_CONNECT_FAIL";

/// Opens tunnels.
pub(super) struct Tunnels {
    proxy: EgressProxy,
    /// For a proxy that is spoken to over TLS.
    tls: TlsConnector,
    resolve: Arc<dyn Resolve>,
}

impl Tunnels {
    pub(super) fn new(proxy: EgressProxy, tls: TlsConnector, resolve: Arc<dyn Resolve>) -> Self {
        Self { proxy, tls, resolve }
    }

    /// A tunnel to one of the vetted `addresses`, and which one. The next is asked for only where the proxy has refused the
    /// one before.
    pub(super) async fn open(&self, addresses: Vec<SocketAddr>) -> Result<(Line, SocketAddr), Failure> {
        let mut refused = Failure::plain(ErrorClass::DnsNotFound);
        for address in in_turn(addresses).into_iter().take(TUNNELS_MAX) {
            let line = self.reach().await?;
            match self.ask(line, address).await? {
                Ok(line) => return Ok((line, address)),
                Err(failure) => refused = failure,
            }
        }
        Err(refused)
    }

    /// A connection to the proxy.
    async fn reach(&self) -> Result<Line, Failure> {
        let addresses = match self.proxy.host() {
            Host::Ipv4(v4) => vec![IpAddr::V4(v4)],
            Host::Ipv6(v6) => vec![IpAddr::V6(v6)],
            Host::Domain(name) => self.resolve.resolve(name).await.map_err(|_| {
                broken("its name could not be looked up; check --egress-proxy and this server's name servers")
            })?,
        };
        let sockets = addresses
            .into_iter()
            .map(|address| SocketAddr::new(address, self.proxy.port));
        let (tcp, _) = race::connect(sockets.collect()).await.map_err(|failure| {
            told(
                "no connection to it",
                failure,
                "check --egress-proxy, and that it runs",
            )
        })?;
        if !self.proxy.encrypted {
            return Ok(Line::Tcp(tcp));
        }
        let advice = "check its certificate; --ca-file names further roots";
        let name = server_name(self.proxy.host()).map_err(|failure| told("its name", failure, advice))?;
        let stream = self.tls.connect(name, tcp).await.map_err(|error| {
            let failure = Failure::from_error(ErrorClass::Proxy, &error);
            told("its TLS handshake failed", failure, advice)
        })?;
        Ok(Line::Tls(Box::new(stream)))
    }

    /// Asks for a tunnel to exactly this address. The inner failure is one that another address may not meet.
    async fn ask(&self, line: Line, address: SocketAddr) -> Result<Result<Line, Failure>, Failure> {
        let request = self.request(address)?;
        let unspoken = |error: &hyper::Error| {
            let failure = Failure::from_error(ErrorClass::Proxy, error);
            told(
                "it did not answer as an HTTP proxy",
                failure,
                "check the scheme and the port of --egress-proxy",
            )
        };
        let (mut sender, connection) = http1::Builder::new()
            .max_headers(HEADER_LINES_MAX)
            .max_header_size(BUFFER_BYTES_MAX)
            .max_buf_size(BUFFER_BYTES_MAX)
            .handshake::<_, Empty<Bytes>>(TokioIo::new(line))
            .await
            .map_err(|error| unspoken(&error))?;
        // It ends when the proxy agrees, and hands its socket back.
        let connection = async {
            connection
                .without_shutdown()
                .await
                .map_err(|error| Ok(unspoken(&error)))
        };
        let answered = async move {
            let answer = sender
                .send_request(request)
                .await
                .map_err(|error| Ok(unspoken(&error)))?;
            judged(answer.status(), answer.headers())
        };
        match tokio::try_join!(answered, connection) {
            // Nobody has spoken to the receiver yet: what else came cannot be from there.
            Ok(((), parts)) if parts.read_buf.is_empty() => Ok(Ok(parts.io.into_inner())),
            Ok(_) => Err(broken("it sent more than its answer")),
            Err(Ok(failure)) => Err(failure),
            Err(Err(refused)) => Ok(Err(refused)),
        }
    }

    fn request(&self, address: SocketAddr) -> Result<Request<Empty<Bytes>>, Failure> {
        let unsendable = |_| broken("the address cannot be written into a request");
        let authority = address.to_string();
        let host = HeaderValue::try_from(&authority).map_err(|error| unsendable(error.into()))?;
        let mut request = Request::new(Empty::new());
        *request.method_mut() = Method::CONNECT;
        *request.uri_mut() = Uri::builder().authority(authority).build().map_err(unsendable)?;
        request.headers_mut().insert(HOST, host);
        if let Some(authorization) = &self.proxy.authorization {
            request
                .headers_mut()
                .insert(PROXY_AUTHORIZATION, authorization.clone());
        }
        Ok(request)
    }
}

/// IPv4 first, then the families in turn: only the proxy knows what it can reach, and trying costs a round trip each.
fn in_turn(addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let mut turns = race::interleaved(addresses);
    if let Some(first) = turns.iter().position(SocketAddr::is_ipv4) {
        turns.swap(0, first);
    }
    turns
}

/// What a proxy's answer comes to: the outer failure is the proxy's whatever the address, the inner one that of an address.
fn judged(status: StatusCode, headers: &HeaderMap) -> Result<(), Result<Failure, Failure>> {
    if status.is_success() {
        return Ok(());
    }
    if let Some(word) = unreached(headers) {
        let detail = format!("the egress proxy could not reach it: {word}");
        return Err(Err(Failure::new(ErrorClass::Connect, detail)));
    }
    let status = status.as_u16();
    match status {
        407 => Err(Ok(broken(
            "it asks for credentials (407); set STENTOR_EGRESS_PROXY_CREDENTIALS to the USER:PASSWORD that it knows",
        ))),
        500.. => Err(Err(broken(&format!(
            "it gave no tunnel ({status}); its log tells why"
        )))),
        _ => Err(Err(broken(&format!(
            "it refused a tunnel ({status}); let it CONNECT to public addresses and the ports of receivers"
        )))),
    }
}

/// The proxy's word for a receiver that was not reached, where it has one.
fn unreached(headers: &HeaderMap) -> Option<&'static str> {
    let texts = |name| {
        headers
            .get_all(name)
            .iter()
            .filter_map(|value| value.to_str().ok())
    };
    let mut errors = texts(PROXY_STATUS)
        .flat_map(|text| text.split([';', ',']))
        .filter_map(|parameter| parameter.trim().strip_prefix("error="));
    let told = errors.find_map(|error| UNREACHED.into_iter().find(|word| *word == error));
    told.or_else(|| {
        texts(X_SQUID_ERROR)
            .any(|text| text.split(' ').next() == Some(SQUID_UNREACHED))
            .then_some(SQUID_UNREACHED)
    })
}

fn broken(detail: &str) -> Failure {
    Failure::new(ErrorClass::Proxy, detail)
}

/// A failure of the proxy: what could not be done, the cause, and what the operator should do.
fn told(what: &str, cause: Failure, advice: &str) -> Failure {
    let cause = cause.detail.unwrap_or_default();
    Failure::new(ErrorClass::Proxy, format!("{what}: {cause}; {advice}"))
}
