//! The replay: sending again to one endpoint what it was sent before, or was never sent.
//!
//! ```text
//!   asked for                 first of its endpoint           all was looked at
//!    (none) ----------> queued --------------------> running -------------------> done
//!                         |                             |
//!                         +-----------------------------+-----> cancelled
//!                             asked for, or the endpoint or tenant was deleted
//! ```
//! One replay of an endpoint runs at a time; the others are queued behind it, in the order in which they were asked for. As with
//! deliveries, `cancelled` for a deleted endpoint is derived when a replay is read.

use crate::Timestamp;
use crate::delivery::{Reason, State};
use crate::id::{EndpointId, ReplayId, TenantId};
use crate::name::EventTypeName;

/// Where a replay is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ReplayState {
    /// It waits for its turn.
    Queued,
    /// It is under way; it may wait for its endpoint.
    Running,
    /// Everything that it was to look at was looked at. What it replayed may still be on its way.
    Done,
    /// It was ended before, for a [`Reason`].
    Cancelled,
}

impl ReplayState {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Queued, Self::Running, Self::Done, Self::Cancelled];

    /// The word that contracts show and the store keeps.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Done => "done",
            Self::Cancelled => "cancelled",
        }
    }

    /// The state that `word` names.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == word)
    }

    /// Is it at an end?
    pub const fn finished(self) -> bool {
        matches!(self, Self::Done | Self::Cancelled)
    }
}

/// What a replay sends again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplaySpec {
    /// Only what was accepted then or later.
    pub since: Timestamp,
    /// Only what was accepted before; at the latest when the replay was asked for.
    pub until: Timestamp,
    /// Only deliveries that have ended so.
    pub state: Option<State>,
    /// Only events of this type.
    pub event_type: Option<EventTypeName>,
    /// Events that have no delivery for the endpoint, too; without a state only these.
    pub missing: bool,
}

impl ReplaySpec {
    /// Are deliveries that have ended sent again? Whoever asks for what is missing, and names no state, wants nothing twice.
    pub const fn reopens(&self) -> bool {
        self.state.is_some() || !self.missing
    }
}

/// How far a replay has come: in deliveries of the endpoint, and, where it looks for missing ones, events of the tenant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReplayProgress {
    /// About how many there are to look at; `None` before it runs, and where there are too many to count.
    pub total: Option<u64>,
    /// Those that it has looked at.
    pub considered: u64,
    /// Those of them that it has made due.
    pub replayed: u64,
    /// Those that it was to replay and could not: unfinished ones, which are on their way in any case, and those whose payload is
    /// gone.
    pub skipped: u64,
}

/// A replay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replay {
    /// Its id.
    pub id: ReplayId,
    /// Whose it is.
    pub tenant: TenantId,
    /// Where it sends to.
    pub endpoint: EndpointId,
    /// Where it is.
    pub state: ReplayState,
    /// Why it was cancelled, or what its endpoint waits for while it has not ended.
    pub reason: Option<Reason>,
    /// What it sends again.
    pub spec: ReplaySpec,
    /// How far it has come.
    pub progress: ReplayProgress,
    /// When it was asked for.
    pub created_at: Timestamp,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
}
