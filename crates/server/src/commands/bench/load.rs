//! The load: connections that publish events, each its next one when the last is answered (a closed loop), or so many in a
//! second, whatever the answers.

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
use crate::commands::wait;
use crate::failure::Failure;
use crate::system::SystemClock;

/// How long the last answers may take. A server that is slower has stopped.
const LAST_ANSWERS_MAX: Duration = Duration::from_secs(60);

/// Where the events of one tenant are published, and what stands around their payloads.
#[derive(Clone, Debug)]
pub(super) struct Door {
    pub(super) uri: Uri,
    /// Where several are published at once; of a relay nowhere.
    pub(super) batch_uri: Option<Uri>,
    pub(super) headers: HeaderMap,
    pub(super) before: String,
    pub(super) after: &'static str,
}

/// What stands around the events of a batch, and between them.
const BATCH_BEFORE: &[u8] = br#"{"events":["#;
const BATCH_AFTER: &[u8] = b"]}";

impl Door {
    fn write(&self, stamp: Stamp, body: &mut Vec<u8>) {
        body.extend_from_slice(self.before.as_bytes());
        stamp.write(body);
        body.extend_from_slice(self.after.as_bytes());
    }

    fn item_bytes(&self) -> usize {
        self.before.len() + PAYLOAD_BYTES + self.after.len()
    }

    fn body(&self, stamp: Stamp) -> Bytes {
        let mut body = Vec::with_capacity(self.item_bytes());
        self.write(stamp, &mut body);
        body.into()
    }

    /// The body of a batch whose events follow `first`.
    fn batch(&self, first: Stamp, events: u64) -> Bytes {
        let room = usize::try_from(events).unwrap_or(0) * (self.item_bytes() + 1);
        let mut body = Vec::with_capacity(room + BATCH_BEFORE.len() + BATCH_AFTER.len());
        body.extend_from_slice(BATCH_BEFORE);
        for sequence in first.sequence..first.sequence + events {
            if sequence > first.sequence {
                body.push(b',');
            }
            self.write(Stamp { sequence, ..first }, &mut body);
        }
        body.extend_from_slice(BATCH_AFTER);
        body.into()
    }
}

/// How events are published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Manner {
    /// Over how many connections.
    pub(super) connections: u64,
    /// How many requests start in a second; without it, as many as are answered.
    pub(super) per_second: Option<u64>,
    /// Events in each request.
    pub(super) batch: u64,
    /// Requests altogether; without it, as many as there is time for.
    pub(super) requests: Option<u64>,
    /// The number of the first request: where another load was before, how many it had.
    pub(super) first: u64,
}

impl Manner {
    /// As fast as they are answered.
    pub(super) fn at_full_speed(connections: u64) -> Self {
        Self {
            connections,
            per_second: None,
            batch: 1,
            requests: None,
            first: 0,
        }
    }

    /// The number after its last request.
    fn end(self) -> u64 {
        self.requests
            .map_or(u64::MAX, |requests| self.first.saturating_add(requests))
    }

    /// So many in a second.
    pub(super) fn paced(connections: u64, per_second: u64) -> Self {
        Self {
            per_second: Some(per_second.max(1)),
            ..Self::at_full_speed(connections)
        }
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
    manner: Manner,
    doors: Vec<Door>,
    started: Duration,
    /// The number of the next request.
    next: AtomicU64,
    /// Events.
    accepted: AtomicU64,
    over: AtomicBool,
}

/// What was published in the end.
#[derive(Debug, Default)]
pub(super) struct Published {
    /// Events sent, whatever the answer, by this load or before it.
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
    /// Opens the connections and starts to publish, at each door in turn.
    pub(super) fn start(to: SocketAddr, doors: &[Door], manner: Manner, clock: Arc<SystemClock>) -> Self {
        let course = Arc::new(Course {
            started: clock.monotonic(),
            clock,
            manner,
            doors: doors.to_vec(),
            next: AtomicU64::new(manner.first),
            accepted: AtomicU64::new(0),
            over: AtomicBool::new(false),
        });
        let mut publishers = JoinSet::new();
        for _ in 0..manner.connections {
            publishers.spawn(publish(to, Arc::clone(&course)));
        }
        Self { course, publishers }
    }

    /// How many events have been answered with 2xx so far.
    pub(super) fn accepted(&self) -> u64 {
        self.course.accepted.load(Ordering::Relaxed)
    }

    /// Waits for the answers that are still to come. An event whose answer did not come at all is an error: whether it
    /// was accepted is not known.
    pub(super) async fn stop(self) -> Result<Published, Failure> {
        self.course.over.store(true, Ordering::Relaxed);
        tokio::time::timeout(LAST_ANSWERS_MAX, self.finish())
            .await
            .map_err(|_elapsed| {
                Failure::Failed(format!("events were not answered within {LAST_ANSWERS_MAX:?}"))
            })?
    }

    /// Waits until everything that its manner asks for has been published.
    pub(super) async fn finish(mut self) -> Result<Published, Failure> {
        let mut published = Published::default();
        while let Some(ended) = self.publishers.join_next().await {
            let refused =
                ended.map_err(|error| Failure::Failed(format!("a publisher failed: {error}")))??;
            published.refused.extend(refused.sequences);
            published.refusal = published.refusal.take().or(refused.first);
        }
        let Manner { batch, .. } = self.course.manner;
        let asked = self.course.next.load(Ordering::Relaxed);
        published.events = asked.min(self.course.manner.end()) * batch;
        Ok(published)
    }
}

impl Course {
    /// The number of the next request, when its time has come, and since when its events wait to be published: where all
    /// connections were busy when it was due, since then.
    async fn next(&self) -> Option<(u64, Duration)> {
        let request = self.next.fetch_add(1, Ordering::Relaxed);
        if request >= self.manner.end() {
            return None;
        }
        let Some(per_second) = self.manner.per_second else {
            return Some((request, self.clock.monotonic()));
        };
        let due = self.started + due_after(request - self.manner.first, per_second);
        let early = due.saturating_sub(self.clock.monotonic());
        if early.is_zero() {
            return Some((request, due));
        }
        wait(early).await;
        Some((request, self.clock.monotonic()))
    }
}

/// How long after the start a request is due.
fn due_after(request: u64, per_second: u64) -> Duration {
    let nanos = u128::from(request) * 1_000_000_000 / u128::from(per_second);
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

async fn publish(to: SocketAddr, course: Arc<Course>) -> Result<Refused, Failure> {
    let broken =
        |error: std::io::Error| Failure::Failed(format!("a connection for publishing broke: {error}"));
    let mut connection = Connection::open(to).await.map_err(broken)?;
    let mut refused = Refused::default();
    let doors = u64::try_from(course.doors.len()).unwrap_or(u64::MAX).max(1);
    let batch = course.manner.batch;
    while !course.over.load(Ordering::Relaxed) {
        let Some((request, sent)) = course.next().await else {
            break;
        };
        let door = usize::try_from(request % doors)
            .ok()
            .and_then(|at| course.doors.get(at));
        let Some(door) = door else { break };
        if !connection.is_open() {
            connection = Connection::open(to).await.map_err(broken)?;
        }
        let sequence = request * batch;
        let stamp = Stamp { sequence, sent };
        let (uri, body) = match &door.batch_uri {
            Some(uri) if batch > 1 => (uri, door.batch(stamp, batch)),
            _ => (&door.uri, door.body(stamp)),
        };
        let sent = connection.post(uri.clone(), door.headers.clone(), body);
        let (status, answer) = sent.await.map_err(broken)?;
        if status.is_success() {
            course.accepted.fetch_add(batch, Ordering::Relaxed);
        } else {
            refused.sequences.extend(sequence..sequence + batch);
            refused
                .first
                .get_or_insert_with(|| format!("{status}: {}", String::from_utf8_lossy(&answer)));
        }
    }
    Ok(refused)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn door() -> Door {
        Door {
            uri: Uri::from_static("/v1/events"),
            batch_uri: Some(Uri::from_static("/v1/events/batch")),
            headers: HeaderMap::new(),
            before: r#"{"type":"bench","payload":"#.to_owned(),
            after: "}",
        }
    }

    #[test]
    fn a_batch_holds_its_events_in_order() {
        let first = Stamp {
            sequence: 40,
            sent: Duration::from_micros(7),
        };
        let batch: serde_json::Value = serde_json::from_slice(&door().batch(first, 3)).unwrap();
        let sequences: Vec<_> = batch["events"]
            .as_array()
            .unwrap()
            .iter()
            .map(|event| {
                event["payload"]["sequence"]
                    .as_str()
                    .unwrap()
                    .parse::<u64>()
                    .unwrap()
            })
            .collect();
        assert_eq!(sequences, [40, 41, 42]);
        assert_eq!(batch["events"][2]["type"], "bench");
    }

    #[test]
    fn requests_are_due_evenly() {
        let due = [0, 1, 200, 86_400_000].map(|request| due_after(request, 200));
        let expected = [0, 5, 1_000, 432_000_000].map(Duration::from_millis);
        assert_eq!(due, expected);
    }
}
