//! What the hot path says to the committer, and hears: accepting, claiming, releasing, finishing. Written for each engine
//! and tuned for it; the words are the same.

use crate::room::RoomTicket;
use bytes::Bytes;
use std::sync::Arc;
use std::time::Duration;
use stentor_domain::Timestamp;
use stentor_domain::attempt::{Attempt, Trigger};
use stentor_domain::channels::Channels;
use stentor_domain::delivery::Reason;
use stentor_domain::id::{DeliveryId, EventId, TenantId};
use stentor_domain::judge::Effect;
use stentor_domain::limits::{IN_FLIGHT_PER_ENDPOINT_MAX, PAYLOAD_BYTES_MAX};
use stentor_domain::name::EventTypeName;
use stentor_domain::trace::Trace;

/// Marks the event of a test send, which lists of events leave out.
const TEST_MARK: &str = "test";
/// Marks an event that was published because of a webhook; the number follows.
const LOOPS_MARK: &str = "loops=";
/// Mark the trace of an event; the headers' values follow. Each mark is a line.
const PARENT_MARK: &str = "traceparent=";
const STATE_MARK: &str = "tracestate=";

/// An event to be accepted, with its deliveries.
#[derive(Clone, Debug)]
pub struct NewEvent {
    /// Its id, made by the caller.
    pub id: EventId,
    /// Whose it is.
    pub tenant: TenantId,
    /// The version of the tenant's configuration that it was matched against.
    pub tenant_version: i64,
    /// Its type.
    pub event_type: EventTypeName,
    /// Its channels.
    pub channels: Channels,
    /// Its payload, byte for byte.
    pub payload: Bytes,
    /// The producer's own id for it.
    pub event_id: Option<EventKey>,
    /// When it happened, if the producer says so.
    pub occurred_at: Option<Timestamp>,
    /// When it is accepted.
    pub accepted_at: Timestamp,
    /// Where it goes.
    pub deliveries: Vec<NewDelivery>,
    /// How many endpoints matched; more than `deliveries` where a fan-out row lets the rest follow.
    pub matched: u32,
    /// Why its deliveries exist.
    pub trigger: Trigger,
    /// How many webhooks led to it, one after the other: what the publish arrived with. Tests have none.
    pub loops: u8,
    /// The trace that its publish belongs to, where that is sent on. Tests have none.
    pub trace: Option<Trace>,
}

impl NewEvent {
    /// What is kept with it beside its content: nothing, as a rule.
    pub(crate) fn meta(&self) -> Option<String> {
        if self.trigger == Trigger::Test {
            return Some(TEST_MARK.to_owned());
        }
        let loops = (self.loops > 0).then(|| format!("{LOOPS_MARK}{}", self.loops));
        let trace = self.trace.as_ref();
        let parent = trace.map(|trace| format!("{PARENT_MARK}{}", trace.parent()));
        let state = trace
            .and_then(Trace::state)
            .map(|state| format!("{STATE_MARK}{state}"));
        let marks: Vec<String> = [loops, parent, state].into_iter().flatten().collect();
        (!marks.is_empty()).then(|| marks.join("\n"))
    }

    /// The last of its deliveries, where a fan-out row lets more follow.
    pub(crate) fn last_before_fanout(&self) -> Option<&NewDelivery> {
        let written = u32::try_from(self.deliveries.len()).unwrap_or(u32::MAX);
        self.deliveries.last().filter(|_| self.matched > written)
    }
}

/// A producer's own id of an event.
#[derive(Clone, Debug)]
pub struct EventKey {
    /// As the producer wrote it.
    pub text: String,
    /// A hash of project, tenant and text.
    pub hash: [u8; 16],
    /// A hash of type and payload: the same id with another one is refused.
    pub body_hash: [u8; 16],
}

/// A delivery to be accepted with its event.
#[derive(Clone, Copy, Debug)]
pub struct NewDelivery {
    /// Its id, made by the caller.
    pub id: DeliveryId,
    /// Where it goes: the endpoint's key.
    pub endpoint: i64,
    /// The endpoint's shard.
    pub shard: u16,
}

/// Events to be accepted together or not at all.
#[derive(Clone, Debug)]
pub struct Accept {
    /// The events.
    pub events: Vec<NewEvent>,
    /// The request's idempotency key, if it has one.
    pub once: Option<KeptAnswer>,
    /// What the answer to be kept tells of as there already, by place.
    pub known: Vec<(usize, ExistingEvent)>,
}

/// An answer to be kept under an idempotency key.
#[derive(Clone, Debug)]
pub struct KeptAnswer {
    /// A hash of the key and its scope.
    pub hash: [u8; 16],
    /// A hash of the request's body: the same key with another one is refused.
    pub body_hash: [u8; 16],
    /// The status that was answered.
    pub status: u16,
    /// The body that was answered, but for what is shown only once.
    pub answer: Bytes,
    /// When it may be forgotten.
    pub expires_at: Timestamp,
}

/// What became of an [`Accept`].
#[derive(Clone, Debug)]
pub enum Accepted {
    /// All events were written, but for those that `existing` names by their place: these were there already, with the
    /// same content.
    Written {
        /// Places of the events that were there already, and what is there.
        existing: Vec<(usize, ExistingEvent)>,
    },
    /// Other events were there already than the answer to be kept tells of: render it anew. Nothing was written.
    Known {
        /// Places of the events that are there already, and what is there.
        existing: Vec<(usize, ExistingEvent)>,
    },
    /// The configuration of a tenant has moved on, or the tenant is gone: match again. Nothing was written.
    Stale,
    /// The event at this place has an id that is in use for other content. Nothing was written.
    EventIdConflict(usize),
    /// The idempotency key was used before, for the same request: this was the answer. Nothing was written.
    Repeated {
        /// The status that was answered.
        status: u16,
        /// The body that was answered.
        answer: Bytes,
    },
    /// The idempotency key was used before, for another request. Nothing was written.
    OnceConflict,
}

/// An event that was accepted before, found by the producer's own id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExistingEvent {
    /// Its id.
    pub id: EventId,
    /// How many endpoints matched.
    pub matched: u32,
}

/// A delivery in this node's memory, to be attempted: the store says that this node owns it.
#[derive(Debug)]
pub struct Claimed {
    /// Its id.
    pub delivery: DeliveryId,
    /// What is delivered, shared by all deliveries of the event.
    pub event: Arc<ClaimedEvent>,
    /// Where it goes: the endpoint's key.
    pub endpoint: i64,
    /// The endpoint's shard.
    pub shard: u16,
    /// The number of the attempt to make.
    pub attempt: u32,
    /// Failed attempts before it that took a place in the present schedule.
    pub failed: u32,
    /// When the first attempt of the present schedule started.
    pub first_at: Option<Timestamp>,
    /// When the attempt was due.
    pub due_at: Timestamp,
    /// Why it exists.
    pub trigger: Trigger,
    /// Was it claimed as the first in its endpoint's order?
    pub in_order: bool,
    /// Room in memory, held as long as the delivery is; one that was claimed holds none.
    pub room: Option<RoomTicket>,
}

impl Claimed {
    /// The first attempt of a delivery that is being accepted.
    pub(crate) fn first(
        event: &NewEvent,
        shared: &Arc<ClaimedEvent>,
        delivery: &NewDelivery,
        room: RoomTicket,
    ) -> Self {
        Self {
            delivery: delivery.id,
            event: Arc::clone(shared),
            endpoint: delivery.endpoint,
            shard: delivery.shard,
            attempt: 1,
            failed: 0,
            first_at: None,
            due_at: event.accepted_at,
            trigger: event.trigger,
            in_order: false,
            room: Some(room),
        }
    }

    /// How this node gives it back without an attempt.
    pub fn release(&self) -> Release {
        Release {
            delivery: self.delivery.n(),
            attempt: self.attempt,
        }
    }

    /// How this node ends it without an attempt.
    pub fn cancel(&self, reason: Reason) -> Cancel {
        Cancel {
            delivery: self.delivery.n(),
            attempt: self.attempt,
            reason,
        }
    }
}

/// What is delivered.
#[derive(Debug)]
pub struct ClaimedEvent {
    /// The event.
    pub id: EventId,
    /// Whose it is: the tenant's key.
    pub tenant: i64,
    /// Its type.
    pub event_type: EventTypeName,
    /// Its payload, byte for byte.
    pub payload: Bytes,
    /// When it happened, where its producer said so.
    pub occurred_at: Option<Timestamp>,
    /// How many webhooks led to it, one after the other.
    pub loops: u8,
    /// The trace that it is sent with.
    pub trace: Option<Trace>,
}

/// How many webhooks led to an event, of what is kept with it.
pub(crate) fn loops(meta: Option<&str>) -> u8 {
    let number = marked(meta, LOOPS_MARK);
    number.and_then(|number| number.parse().ok()).unwrap_or(0)
}

/// The trace of an event, of what is kept with it.
pub(crate) fn trace(meta: Option<&str>) -> Option<Trace> {
    Trace::parse(marked(meta, PARENT_MARK)?, marked(meta, STATE_MARK))
}

/// What follows a mark.
fn marked<'m>(meta: Option<&'m str>, mark: &str) -> Option<&'m str> {
    meta?.lines().find_map(|line| line.strip_prefix(mark))
}

impl ClaimedEvent {
    /// When it happened: when it was accepted, where its producer said nothing.
    pub fn happened_at(&self) -> Timestamp {
        self.occurred_at.unwrap_or_else(|| self.id.0.made_at())
    }
}

/// Payload bytes that one claim brings into memory: what a full cap of the largest payloads takes.
pub(crate) const CLAIM_BYTES_MAX: usize = IN_FLIGHT_PER_ENDPOINT_MAX * PAYLOAD_BYTES_MAX;

/// A wish to own deliveries of one endpoint that are due.
#[derive(Clone, Copy, Debug)]
pub struct Claim {
    /// The endpoint's key.
    pub endpoint: i64,
    /// Its shard.
    pub shard: u16,
    /// Only what is due by then.
    pub now: Timestamp,
    /// At most so many.
    pub limit: u32,
    /// Only the first in the endpoint's order: nothing where that one is not due, or somebody has it.
    pub in_order: bool,
}

/// What a [`Claim`] got.
#[derive(Debug, Default)]
pub struct ClaimedDue {
    /// The deliveries, those due first in front.
    pub deliveries: Vec<Claimed>,
    /// How many have ended instead, since their payloads are gone.
    pub ended: usize,
    /// When the earliest of those that still wait is due; in order, the first of them, or now where more wait behind one
    /// that was claimed.
    pub next_due_at: Option<Timestamp>,
}

/// A delivery that is given back without an attempt: its endpoint does not send now, or the node ends.
#[derive(Clone, Copy, Debug)]
pub struct Release {
    /// The delivery's key.
    pub delivery: i64,
    /// The attempt that was claimed.
    pub attempt: u32,
}

/// An attempt to be recorded, with what follows from it.
#[derive(Clone, Debug)]
pub struct Finish {
    /// The delivery.
    pub delivery: DeliveryId,
    /// The event's key.
    pub event: i64,
    /// The endpoint's key.
    pub endpoint: i64,
    /// The version of the endpoint that the attempt was made for. A later one may be somewhere else.
    pub endpoint_version: i64,
    /// The endpoint's shard.
    pub shard: u16,
    /// The tenant's key.
    pub tenant: i64,
    /// The attempt.
    pub attempt: Attempt,
    /// What follows for the delivery.
    pub next: Next,
    /// What follows for the endpoint.
    pub effect: Effect,
    /// How long the endpoint may fail without one success before it is disabled; `None` is for ever.
    pub patience: Option<Duration>,
    /// When the attempt ended.
    pub ended_at: Timestamp,
}

/// What follows for a delivery, as the store keeps it.
#[derive(Clone, Copy, Debug)]
pub enum Next {
    /// A receiver took it.
    Delivered,
    /// It is delivered in word alone: its project is a sandbox, and nobody was asked.
    Simulated,
    /// It is not tried again.
    Exhausted(Reason),
    /// It is tried again.
    Retry {
        /// When.
        due_at: Timestamp,
        /// Failed attempts that have taken a place in the present schedule.
        failed: u32,
        /// When the first attempt of the present schedule started, if one has taken a place in it.
        first_at: Option<Timestamp>,
    },
}

/// A delivery that ends without an attempt.
#[derive(Clone, Copy, Debug)]
pub struct Cancel {
    /// The delivery's key.
    pub delivery: i64,
    /// The attempt that was claimed.
    pub attempt: u32,
    /// Why.
    pub reason: Reason,
}
