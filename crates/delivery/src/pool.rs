//! Connections kept for the next exchange.
//!
//! - [`Origin`] is the key: scheme, host and port.
//! - `connection` speaks HTTP over an established connection, bounds what a peer may cost, and ends the connection when
//!   nobody holds it any more.
//! - `exclusive` is an HTTP/1.1 connection, used and driven by one exchange at a time; `idle` keeps those that wait.
//! - `shared` keeps HTTP/2 connections, each used by several exchanges at once, and driven by a task of its own.
//! - [`Pool`] is both behind one lock, held for a few map operations.
//!
//! A kept connection leads to an address that was vetted when it was opened, and only for a while: after
//! [`AGE_MAX`] a name is looked up and vetted again, so that rebinding a name gains nothing.

pub(crate) mod connection;
mod exclusive;
mod idle;
mod patient;
mod shared;

use crate::pool::connection::{Lease, Opened};
use crate::pool::exclusive::Exclusive;
use crate::pool::idle::Idle;
use crate::pool::shared::Shared;
use parking_lot::Mutex;
use std::hash::{Hash, Hasher};
use std::time::Duration;
use stentor_domain::endpoint_url::EndpointUrl;
use url::Host;

/// The longest that a connection takes new exchanges.
pub(crate) const AGE_MAX: Duration = Duration::from_secs(5 * 60);
/// The longest that a connection is kept unused; shorter than servers commonly wait before they close one, so that few
/// are found closed. An HTTP/1.1 connection that its peer has closed keeps its socket until then, unless it is taken before.
pub(crate) const IDLE_TIME_MAX: Duration = Duration::from_secs(30);
/// Idle HTTP/1.1 connections to one origin. Many endpoints may live on one host: with fewer than they have in flight
/// together, connections are opened and closed at every send.
pub(crate) const IDLE_PER_ORIGIN_MAX: usize = 512;
/// Idle HTTP/1.1 connections altogether, and as many of HTTP/2, idle or not.
pub(crate) const IDLE_MAX: usize = 1_024;

/// Scheme, host and port of a URL: where a connection leads. A clone costs a reference count.
#[derive(Clone)]
pub(crate) struct Origin(EndpointUrl);

impl Origin {
    pub(crate) fn of(url: &EndpointUrl) -> Self {
        Self(url.clone())
    }

    fn key(&self) -> (bool, Host<&str>, u16) {
        (self.0.is_https(), self.0.host(), self.0.port())
    }
}

impl PartialEq for Origin {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Eq for Origin {}

impl Hash for Origin {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.key().hash(state);
    }
}

/// The kept connections. Times are those of the monotonic clock.
#[derive(Default)]
pub(crate) struct Pool(Mutex<Kept>);

#[derive(Default)]
struct Kept {
    idle: Idle<Origin, Exclusive>,
    shared: Shared<Origin>,
}

impl Pool {
    /// A kept connection to `origin` that is alive as far as is known, if there is one.
    pub(crate) fn take(&self, origin: &Origin, now: Duration) -> Option<Lease> {
        let mut kept = self.0.lock();
        if let Some(stream) = kept.shared.open_stream(origin, now) {
            return Some(Lease::Stream(stream));
        }
        let exclusive = kept
            .idle
            .take(origin, now, |connection| connection.reusable(now))?;
        Some(Lease::Exclusive(exclusive))
    }

    /// Makes a new connection ready for its first exchange, and known to others if it can be shared.
    pub(crate) fn adopt(&self, origin: &Origin, opened: Opened, now: Duration) -> Lease {
        match opened {
            Opened::Http1(exclusive) => Lease::Exclusive(exclusive),
            Opened::Http2(connection) => Lease::Stream(self.0.lock().shared.adopt(origin, connection, now)),
        }
    }

    /// Keeps a connection whose exchange ended cleanly.
    pub(crate) fn give_back(&self, origin: Origin, lease: Lease, now: Duration) {
        match lease {
            Lease::Exclusive(exclusive) if exclusive.reusable(now) => {
                self.0.lock().idle.put(origin, exclusive, now);
            }
            Lease::Exclusive(_) => {}
            Lease::Stream(stream) => stream.finish(now),
        }
    }

    /// Closes what has been idle for too long. Taking and giving back do it too; this is for times without traffic.
    pub(crate) fn close_idle(&self, now: Duration) {
        let mut kept = self.0.lock();
        kept.idle.expire(now);
        kept.shared.expire(now);
    }
}
