//! One HTTP exchange, from a prepared request to what became of it.
//!
//! - [`Transport`] is what the dispatcher sends through, with [`Outgoing`] and [`Sent`].
//! - [`HttpTransport`] is the real one: it takes a kept connection or opens a guarded one, sends the request, and reads
//!   the answer, all under one deadline.
//! - [`Destination`] is where a request goes.
//! - `answer` notes what is seen of the answer, so that nothing seen is lost when the deadline passes.
//!
//! Never followed, kept or obeyed: redirects, cookies, `Alt-Svc`, content encodings, proxies of the environment.
//!
//! One transport sends either straight or through the egress proxy for all of its life, so that a connection kept by its pool
//! is never of the other kind.

mod answer;
mod destination;

use crate::connect::{Connector, micros};
use crate::egress::EgressProxy;
use crate::failure::Failure;
use crate::guard::Guard;
use crate::pool::Pool;
use crate::pool::connection::{Body, Lease, open};
use crate::resolve::Resolve;
use answer::Seen;
use bytes::Bytes;
pub use destination::Destination;
use futures_util::future::BoxFuture;
use http::header::CONTENT_LENGTH;
use http::{HeaderMap, HeaderValue, Method, Request, Response};
use hyper::body::Incoming;
use parking_lot::Mutex;
use rustls_pki_types::CertificateDer;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use stentor_domain::Clock;
use stentor_domain::attempt::{ErrorClass, Exchange, Outcome};
use stentor_domain::limits::CONNECT_TIMEOUT;
use tokio::time::timeout;

/// How often the log tells of a failing egress proxy.
const TELL_OF_PROXY_EVERY: Duration = Duration::from_secs(60);

/// A request to be sent, once. Its `Debug` shows no headers and no body: they hold secrets and payloads.
#[derive(Clone)]
pub struct Outgoing {
    /// Where to.
    pub destination: Destination,
    /// All headers but `host` and `content-length`, which are set here.
    pub headers: HeaderMap,
    /// The payload as it was accepted.
    pub body: Bytes,
    /// The deadline of the whole exchange, the answer's body included.
    pub timeout: Duration,
    /// Bytes kept of the answer's body when it is a success; a failure keeps
    /// [`ANSWER_BYTES_FAILED_MAX`](stentor_domain::limits::ANSWER_BYTES_FAILED_MAX).
    pub keep: usize,
    /// Asked immediately before the first byte is written.
    pub permission: Permission,
}

/// Whether the delivery is still this node's to send.
#[derive(Clone)]
pub struct Permission(Arc<dyn Fn() -> bool + Send + Sync>);

impl Permission {
    /// A permission that `holds` tells of.
    pub fn new(holds: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        Self(Arc::new(holds))
    }

    fn check(&self) -> Result<(), Failure> {
        if (self.0)() {
            Ok(())
        } else {
            let detail = "this node's lease ended before the request was sent";
            Err(Failure::new(ErrorClass::Shutdown, detail))
        }
    }
}

impl fmt::Debug for Outgoing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outgoing")
            .field("url", self.destination.url())
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

/// What became of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sent {
    /// The status of the answer, or why there was none.
    pub outcome: Outcome,
    /// The exchange, without the request's headers: the caller knows which of them may be shown.
    pub exchange: Exchange,
    /// The answer's `Retry-After`, as it was sent.
    pub retry_after: Option<String>,
}

/// Who sends requests to receivers.
pub trait Transport: Send + Sync + 'static {
    /// Sends a request as a `POST` and gives what became of it, at its deadline at the latest. Dropping the future ends the
    /// exchange and closes its connection.
    fn send(&self, request: Outgoing) -> BoxFuture<'_, Sent>;
}

/// What an [`HttpTransport`] is made with.
#[derive(Clone, Debug)]
pub struct HttpSettings {
    /// What deliveries may not reach.
    pub guard: Guard,
    /// Certificates that are trusted besides the public roots.
    pub extra_roots: Vec<CertificateDer<'static>>,
    /// The longest that a connection may take, its lookup and TLS handshake included.
    pub connect_timeout: Duration,
    /// The proxy that everything leaves through; the guard stays on.
    pub egress_proxy: Option<EgressProxy>,
}

impl Default for HttpSettings {
    /// No exceptions, the public roots, [`CONNECT_TIMEOUT`], no proxy.
    fn default() -> Self {
        Self {
            guard: Guard::default(),
            extra_roots: Vec::new(),
            connect_timeout: CONNECT_TIMEOUT,
            egress_proxy: None,
        }
    }
}

/// Sends over HTTP/1.1 and HTTP/2 with connections that are guarded and kept.
pub struct HttpTransport {
    connector: Connector,
    pool: Pool,
    clock: Arc<dyn Clock>,
    /// When the operator was last told of a failing egress proxy.
    told_of_proxy_at: Mutex<Option<Duration>>,
}

impl HttpTransport {
    /// A transport that looks names up with `resolve`. The error is a root certificate that cannot be one.
    pub fn new(
        settings: HttpSettings,
        resolve: Arc<dyn Resolve>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, rustls::Error> {
        let HttpSettings {
            guard,
            extra_roots,
            connect_timeout,
            egress_proxy,
        } = settings;
        let mut connector =
            Connector::new(resolve, guard, &extra_roots, connect_timeout, Arc::clone(&clock))?;
        if let Some(proxy) = egress_proxy {
            connector = connector.through(proxy, &extra_roots)?;
        }
        Ok(Self {
            connector,
            pool: Pool::default(),
            clock,
            told_of_proxy_at: Mutex::default(),
        })
    }

    /// Closes connections that have been idle for too long. Traffic does it as well; called now and then, it lets them go
    /// when there is none.
    pub fn close_idle(&self) {
        self.pool.close_idle(self.clock.monotonic());
    }

    /// Tells the operator, who alone can mend it, what is wrong with the egress proxy; now and then only, since every delivery
    /// meets it.
    fn tell_of_proxy(&self, failure: &Failure) {
        let now = self.clock.monotonic();
        let mut told_at = self.told_of_proxy_at.lock();
        if told_at.is_some_and(|told_at| now.saturating_sub(told_at) < TELL_OF_PROXY_EVERY) {
            return;
        }
        *told_at = Some(now);
        let detail = failure.detail.as_deref();
        tracing::warn!(detail, "the egress proxy failed; deliveries wait until it works");
    }

    /// The whole exchange, which began at `started`.
    async fn exchange(&self, outgoing: Outgoing, started: Duration, seen: &mut Seen) -> Result<(), Failure> {
        let Outgoing {
            destination,
            headers,
            body,
            keep,
            permission,
            ..
        } = outgoing;
        let request = post(headers, body);
        let (mut lease, answer) = self
            .answer_to(&destination, request, &permission, started, seen)
            .await?;

        let (head, body) = answer.into_parts();
        seen.head(&head, keep);
        let read_whole = seen.read(body, &mut lease).await;
        if read_whole {
            lease.settle().await;
            let now = self.clock.monotonic();
            self.pool.give_back(destination.origin().clone(), lease, now);
        }
        Ok(())
    }

    /// Sends the request over a kept connection or a new one. If a kept one turns out to be closed before anything was
    /// sent, the next or a new one takes its place; where anything was sent, the receiver may have acted on it.
    async fn answer_to(
        &self,
        destination: &Destination,
        mut request: Request<Body>,
        permission: &Permission,
        mut now: Duration,
        seen: &mut Seen,
    ) -> Result<(Lease, Response<Incoming>), Failure> {
        loop {
            let (mut lease, is_new) = match self.pool.take(destination.origin(), now) {
                Some(kept) => (kept, false),
                None => {
                    // Boxed: it is rare, and would almost double the future of every exchange.
                    let lease = Box::pin(self.connect(destination, seen)).await?;
                    now = self.clock.monotonic();
                    (lease, true)
                }
            };
            seen.exchange.address = Some(lease.address());
            destination.direct(&mut request, lease.is_http2())?;
            permission.check()?;
            match self.send_over(&mut lease, request, now, seen).await {
                Ok(answer) => return Ok((lease, answer)),
                Err((failure, _)) if is_new => return Err(failure),
                Err((failure, unsent)) => request = unsent.ok_or(failure)?,
            }
            now = self.clock.monotonic();
        }
    }

    /// Opens a new connection.
    async fn connect(&self, destination: &Destination, seen: &mut Seen) -> Result<Lease, Failure> {
        seen.exchange.address = None;
        let established = self
            .connector
            .connect(destination.url(), &mut seen.exchange, &mut seen.stage)
            .await?;
        let now = self.clock.monotonic();
        let opened = open(established, now).await.map_err(|error| broken(&error))?;
        Ok(self.pool.adopt(destination.origin(), opened, now))
    }

    /// Sends the request at `started`; what was not sent at all comes back with the failure.
    async fn send_over(
        &self,
        lease: &mut Lease,
        request: Request<Body>,
        started: Duration,
        seen: &mut Seen,
    ) -> Result<Response<Incoming>, (Failure, Option<Request<Body>>)> {
        let answer = lease.send(request).await.map_err(|mut error| {
            let unsent = error.take_message();
            (broken(error.error()), unsent)
        })?;
        let took = self.clock.monotonic().saturating_sub(started);
        seen.exchange.timing.first_byte_micros = Some(micros(took));
        Ok(answer)
    }
}

impl Transport for HttpTransport {
    fn send(&self, request: Outgoing) -> BoxFuture<'_, Sent> {
        Box::pin(async move {
            let started = self.clock.monotonic();
            let limit = request.timeout;
            let mut seen = Seen::default();
            let ended = timeout(limit, self.exchange(request, started, &mut seen)).await;
            let failure = match ended {
                Ok(ended) => ended.err(),
                Err(_) => Some(seen.stage.overrun(limit)),
            };
            if let Some(failure) = failure
                .as_ref()
                .filter(|failure| failure.class == ErrorClass::Proxy)
            {
                self.tell_of_proxy(failure);
            }
            seen.exchange.timing.total_micros = micros(self.clock.monotonic().saturating_sub(started));
            seen.into_sent(failure)
        })
    }
}

fn post(mut headers: HeaderMap, body: Bytes) -> Request<Body> {
    headers.insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
    let mut request = Request::new(Body::new(body));
    *request.method_mut() = Method::POST;
    *request.headers_mut() = headers;
    request
}

/// The failure of an exchange that broke, or was not HTTP.
fn broken(error: &hyper::Error) -> Failure {
    Failure::from_error(ErrorClass::Protocol, error)
}
