//! The load: every connection publishes its next event when the last one is answered (a closed loop).

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Uri};
use stentor_domain::Clock as _;
use tokio::task::JoinSet;

use super::stamp::{PAYLOAD_BYTES, Stamp};
use crate::client::Connection;
use crate::failure::Failure;
use crate::system::SystemClock;

/// How long the last answers may take. A server that is slower has stopped.
const LAST_ANSWERS_MAX: Duration = Duration::from_secs(60);

/// Where the events of one tenant are published, and what stands around their payloads.
#[derive(Clone, Debug)]
pub(super) struct Door {
    pub(super) uri: Uri,
    pub(super) headers: HeaderMap,
    pub(super) before: String,
    pub(super) after: &'static str,
}

impl Door {
    fn body(&self, stamp: Stamp) -> Bytes {
        let mut body = Vec::with_capacity(self.before.len() + PAYLOAD_BYTES + self.after.len());
        body.extend_from_slice(self.before.as_bytes());
        stamp.write(&mut body);
        body.extend_from_slice(self.after.as_bytes());
        body.into()
    }
}

/// Connections that are publishing; they end when this is dropped.
pub(super) struct Load {
    course: Arc<Course>,
    publishers: JoinSet<Result<Refused, Failure>>,
}

/// What the publishers share.
struct Course {
    clock: Arc<SystemClock>,
    next: AtomicU64,
    accepted: AtomicU64,
    over: AtomicBool,
}

/// What was published in the end.
#[derive(Debug, Default)]
pub(super) struct Published {
    /// Events sent, whatever the answer.
    pub(super) events: u64,
    /// Those that were not answered with 2xx, by their sequence.
    pub(super) refused: HashSet<u64>,
    /// How one of them was answered.
    pub(super) refusal: Option<String>,
}

#[derive(Default)]
struct Refused {
    sequences: Vec<u64>,
    first: Option<String>,
}

impl Load {
    /// Opens the connections, spread evenly over the doors, and starts to publish.
    pub(super) fn start(to: SocketAddr, doors: &[Door], connections: u64, clock: Arc<SystemClock>) -> Self {
        let course = Arc::new(Course {
            clock,
            next: AtomicU64::new(0),
            accepted: AtomicU64::new(0),
            over: AtomicBool::new(false),
        });
        let mut publishers = JoinSet::new();
        for (_, door) in (0..connections).zip(doors.iter().cycle()) {
            publishers.spawn(publish(to, door.clone(), Arc::clone(&course)));
        }
        Self { course, publishers }
    }

    /// How many events have been answered with 2xx so far.
    pub(super) fn accepted(&self) -> u64 {
        self.course.accepted.load(Ordering::Relaxed)
    }

    /// Waits for the answers that are still to come. An event whose answer did not come at all is an error: whether it
    /// was accepted is not known.
    pub(super) async fn stop(mut self) -> Result<Published, Failure> {
        self.course.over.store(true, Ordering::Relaxed);
        let mut published = Published::default();
        let all = async {
            while let Some(ended) = self.publishers.join_next().await {
                let refused =
                    ended.map_err(|error| Failure::Failed(format!("a publisher failed: {error}")))??;
                published.refused.extend(refused.sequences);
                published.refusal = published.refusal.take().or(refused.first);
            }
            Ok::<_, Failure>(())
        };
        tokio::time::timeout(LAST_ANSWERS_MAX, all)
            .await
            .map_err(|_elapsed| {
                Failure::Failed(format!("events were not answered within {LAST_ANSWERS_MAX:?}"))
            })??;
        published.events = self.course.next.load(Ordering::Relaxed);
        Ok(published)
    }
}

async fn publish(to: SocketAddr, door: Door, course: Arc<Course>) -> Result<Refused, Failure> {
    let broken =
        |error: std::io::Error| Failure::Failed(format!("a connection for publishing broke: {error}"));
    let mut connection = Connection::open(to).await.map_err(broken)?;
    let mut refused = Refused::default();
    while !course.over.load(Ordering::Relaxed) {
        if !connection.is_open() {
            connection = Connection::open(to).await.map_err(broken)?;
        }
        let stamp = Stamp {
            sequence: course.next.fetch_add(1, Ordering::Relaxed),
            sent: course.clock.monotonic(),
        };
        let sent = connection.post(door.uri.clone(), door.headers.clone(), door.body(stamp));
        let (status, answer) = sent.await.map_err(broken)?;
        if status.is_success() {
            course.accepted.fetch_add(1, Ordering::Relaxed);
        } else {
            refused.sequences.push(stamp.sequence);
            refused
                .first
                .get_or_insert_with(|| format!("{status}: {}", String::from_utf8_lossy(&answer)));
        }
    }
    Ok(refused)
}
