//! HTTP/2 connections, each used by several exchanges at once.

use super::connection::{Body, Life};
use super::{AGE_MAX, IDLE_MAX, IDLE_TIME_MAX};
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::{TrySendError, http2};
use std::collections::HashMap;
use std::hash::Hash;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

/// Streams opened at once on one connection; what servers commonly allow. Where one allows fewer, the rest waits.
const STREAMS_MAX: usize = 100;
/// Connections to one origin that are shared. More may come up when many exchanges start at the same moment, each of
/// which then lasts for one exchange.
const PER_ORIGIN_MAX: usize = 4;

/// An HTTP/2 connection. It closes when the pool and all its streams have dropped it, and once it is retired with its last
/// stream.
pub(crate) struct Multiplexed {
    sender: http2::SendRequest<Body>,
    address: SocketAddr,
    opened_at: Duration,
    /// Streams open now.
    streams: AtomicUsize,
    /// When the last stream ended, in microseconds of the monotonic clock.
    used_at_micros: AtomicU64,
    /// Set when an exchange did not end cleanly: the connection may be dead, and takes no more exchanges.
    retired: AtomicBool,
    life: Life,
}

impl Multiplexed {
    pub(super) fn new(
        sender: http2::SendRequest<Body>,
        address: SocketAddr,
        opened_at: Duration,
        life: Life,
    ) -> Self {
        Self {
            sender,
            address,
            opened_at,
            streams: AtomicUsize::new(0),
            used_at_micros: AtomicU64::new(as_micros(opened_at)),
            retired: AtomicBool::new(false),
            life,
        }
    }

    fn usable(&self, now: Duration) -> bool {
        let used_at = Duration::from_micros(self.used_at_micros.load(Ordering::Relaxed));
        let idle = self.streams.load(Ordering::Relaxed) == 0 && now.saturating_sub(used_at) >= IDLE_TIME_MAX;
        !idle
            && !self.retired.load(Ordering::Relaxed)
            && !self.sender.is_closed()
            && now.saturating_sub(self.opened_at) < AGE_MAX
    }
}

/// A stream of a shared connection, for one exchange. Dropped before [`finish`](Self::finish) it retires the connection.
pub(crate) struct Stream {
    connection: Arc<Multiplexed>,
    clean: bool,
}

impl Stream {
    fn open(connection: &Arc<Multiplexed>) -> Self {
        connection.streams.fetch_add(1, Ordering::Relaxed);
        Self {
            connection: Arc::clone(connection),
            clean: false,
        }
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.connection.address
    }

    pub(super) async fn send(
        &self,
        request: Request<Body>,
    ) -> Result<Response<Incoming>, TrySendError<Request<Body>>> {
        self.connection.sender.clone().try_send_request(request).await
    }

    /// The exchange ended cleanly at `now`.
    pub(super) fn finish(mut self, now: Duration) {
        let used_at = &self.connection.used_at_micros;
        used_at.store(as_micros(now), Ordering::Relaxed);
        self.clean = true;
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        if !self.clean {
            self.connection.retired.store(true, Ordering::Relaxed);
        }
        let others = self.connection.streams.fetch_sub(1, Ordering::Relaxed) - 1;
        // The pool would keep it until it looks for unused ones, and a peer could flood it meanwhile.
        if others == 0 && self.connection.retired.load(Ordering::Relaxed) {
            self.connection.life.end();
        }
    }
}

fn as_micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// The shared connections by key `K`: bounded per key and altogether.
pub(super) struct Shared<K> {
    connections: HashMap<K, Vec<Arc<Multiplexed>>>,
    count: usize,
}

impl<K> Default for Shared<K> {
    fn default() -> Self {
        Self {
            connections: HashMap::new(),
            count: 0,
        }
    }
}

impl<K: Clone + Eq + Hash> Shared<K> {
    /// A stream of a usable connection of `key`. The first one with room is filled first, so that those beyond the need
    /// grow idle and leave.
    pub(super) fn open_stream(&mut self, key: &K, now: Duration) -> Option<Stream> {
        let connections = self.connections.get(key)?;
        connections
            .iter()
            .find(|connection| {
                connection.usable(now) && connection.streams.load(Ordering::Relaxed) < STREAMS_MAX
            })
            .map(Stream::open)
    }

    /// The first stream of a new connection, which others find from now on if there is room for it.
    pub(super) fn adopt(&mut self, key: &K, connection: Arc<Multiplexed>, now: Duration) -> Stream {
        self.expire(now);
        let stream = Stream::open(&connection);
        if self.count < IDLE_MAX {
            let connections = self.connections.entry(key.clone()).or_default();
            if connections.len() < PER_ORIGIN_MAX {
                connections.push(connection);
                self.count += 1;
            }
        }
        stream
    }

    /// Drops what is closed, retired, too old or idle for too long.
    pub(super) fn expire(&mut self, now: Duration) {
        self.connections.retain(|_, connections| {
            connections.retain(|connection| connection.usable(now));
            !connections.is_empty()
        });
        self.count = self.connections.values().map(Vec::len).sum();
    }
}
