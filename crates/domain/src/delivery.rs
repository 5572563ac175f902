//! The delivery: one event for one endpoint.
//!
//! ```text
//!            accepted                       2xx
//!   (none) ----------> pending -------------------------> delivered
//!                       |  ^ \   schedule at its end
//!     endpoint paused   |  |  \------------------------> exhausted
//!     or disabled       v  | resumed
//!                       held ----------------------------> cancelled
//!                            asked for, endpoint or tenant deleted, payload gone (from pending, too)
//!
//!   retry or replay of a finished one: delivered | exhausted | cancelled -> pending, numbers of attempts going on
//! ```
//! `held`, and `cancelled` for a deleted endpoint, are derived from the endpoint when a delivery is read: pausing or
//! deleting an endpoint with a million deliveries changes one row.

use crate::Timestamp;
use crate::attempt::Trigger;
use crate::id::{DeliveryId, EndpointId, EventId, TenantId};
use crate::name::EventTypeName;

/// Where a delivery is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// It waits for its next attempt, or is in flight.
    Pending,
    /// It waits for its endpoint to be active.
    Held,
    /// A receiver answered 2xx.
    Delivered,
    /// The schedule came to its end without a 2xx.
    Exhausted,
    /// It was ended before either, for a [`Reason`].
    Cancelled,
}

impl State {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Pending,
        Self::Held,
        Self::Delivered,
        Self::Exhausted,
        Self::Cancelled,
    ];

    /// The word that contracts show and the store keeps.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Held => "held",
            Self::Delivered => "delivered",
            Self::Exhausted => "exhausted",
            Self::Cancelled => "cancelled",
        }
    }

    /// The state that `word` names.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == word)
    }

    /// Is it at an end, unless it is reopened?
    pub const fn finished(self) -> bool {
        matches!(self, Self::Delivered | Self::Exhausted | Self::Cancelled)
    }
}

/// Why a delivery is where it is, where the state alone does not say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// Held: its endpoint is paused.
    EndpointPaused,
    /// Held: its endpoint is disabled.
    EndpointDisabled,
    /// Delivered, without a request: its project is a sandbox.
    Sandbox,
    /// Exhausted: the schedule came to its end.
    ScheduleEnded,
    /// Exhausted: a test is tried once.
    TestFailed,
    /// Cancelled: somebody asked for it.
    Requested,
    /// Cancelled: its endpoint was deleted.
    EndpointDeleted,
    /// Cancelled: its tenant was deleted.
    TenantDeleted,
    /// Cancelled: its payload was purged before it could be sent.
    PayloadExpired,
}

impl Reason {
    const ALL: [Self; 9] = [
        Self::EndpointPaused,
        Self::EndpointDisabled,
        Self::Sandbox,
        Self::ScheduleEnded,
        Self::TestFailed,
        Self::Requested,
        Self::EndpointDeleted,
        Self::TenantDeleted,
        Self::PayloadExpired,
    ];

    /// The word that contracts show and the store keeps.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::EndpointPaused => "endpoint_paused",
            Self::EndpointDisabled => "endpoint_disabled",
            Self::Sandbox => "sandbox",
            Self::ScheduleEnded => "schedule_ended",
            Self::TestFailed => "test_failed",
            Self::Requested => "requested",
            Self::EndpointDeleted => "endpoint_deleted",
            Self::TenantDeleted => "tenant_deleted",
            Self::PayloadExpired => "payload_expired",
        }
    }

    /// The reason that `word` names.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.as_str() == word)
    }
}

/// Why an event has no payload any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PayloadGone {
    /// It was older than payloads are kept.
    Expired,
    /// Somebody asked for it to be erased.
    Erased,
}

impl PayloadGone {
    /// The word that contracts show.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Expired => "expired",
            Self::Erased => "erased",
        }
    }

    /// The cause that `word` names.
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Expired, Self::Erased]
            .into_iter()
            .find(|cause| cause.as_str() == word)
    }
}

/// A delivery as a list shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// Its id.
    pub id: DeliveryId,
    /// The event.
    pub event: EventId,
    /// The event's type.
    pub event_type: EventTypeName,
    /// Where it goes.
    pub endpoint: EndpointId,
    /// Whose it is.
    pub tenant: TenantId,
    /// Where it is.
    pub state: State,
    /// Why, where the state alone does not say.
    pub reason: Option<Reason>,
    /// Why its latest, or next, attempt exists.
    pub trigger: Trigger,
    /// Attempts made.
    pub attempts: u32,
    /// The status that its latest attempt was answered with; `None` where no answer came, and without an attempt.
    pub last_status: Option<u16>,
    /// When it was accepted.
    pub created_at: Timestamp,
    /// When its next attempt is due; `None` once it has ended, and while it is held.
    pub next_attempt_at: Option<Timestamp>,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
    /// Why its event has no payload any more, where it has none.
    pub payload_gone: Option<PayloadGone>,
}
