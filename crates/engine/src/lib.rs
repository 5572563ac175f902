//! What a caller may do: authorize, match, publish, manage, test, retry, inspect. Knows no HTTP and no SQL.
//!
//! In reading order:
//! - [`caller`]: who asks, and on whose behalf;
//! - [`error`]: every way to say no, once, for all contracts to render;
//! - [`prepare`]: what a start finds or makes;
//! - [`projects`], [`keys`], [`tenants`], [`event_types`], [`endpoints`]: managing them, a file and an `impl Engine` for each
//!   resource;
//! - `schema`: what event types ask of payloads;
//! - `filter`: what endpoints ask of them;
//! - `matching`: which endpoints an event goes to; [`dry_run`]: whether and why, in words;
//! - [`publish`], [`test_send`]: what makes deliveries;
//! - [`fingerprint`]: the short hashes that repeated requests are known by;
//! - [`events`], [`deliveries`], [`audit`]: reading what happened, retrying and cancelling;
//! - [`stats`]: what became of deliveries, in numbers;
//! - [`replays`]: sending again, many at once;
//! - [`jobs`]: the background work.

pub mod audit;
pub mod caller;
pub mod deliveries;
pub mod dry_run;
pub mod endpoints;
pub mod error;
pub mod event_types;
pub mod events;
mod filter;
pub mod fingerprint;
pub mod jobs;
pub mod keys;
mod matching;
pub mod prepare;
pub mod projects;
pub mod publish;
pub mod replays;
mod schema;
pub mod stats;
pub mod tenants;
pub mod test_send;

pub use caller::Caller;
pub use error::{Error, Result};

use jobs::retention::{Purge, Retention};
use std::sync::Arc;
use std::sync::atomic::AtomicI64;
use stentor_domain::Timestamp;
use stentor_domain::address::AllowList;
use stentor_domain::id::AuditId;
use stentor_domain::key::Actor;
use stentor_domain::limits;
use stentor_store::Store;
use stentor_store::authenticator::Authenticator;
use stentor_store::change::By;
use tokio::sync::{Mutex, Notify};

/// The name of the project that a first start makes.
pub const DEFAULT_PROJECT: &str = "default";

/// What an operator may set about the engine.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Destinations that the address guard lets through.
    pub allow: AllowList,
    /// The size limit of an event's payload.
    pub payload_bytes_max: usize,
    /// The most endpoints of a tenant.
    pub endpoints_per_tenant_max: u32,
    /// With how many endpoints of its tenant the organization contract makes no more.
    pub organization_endpoints_max: u32,
    /// How long things are kept.
    pub retention: Retention,
    /// Is the trace of a publish sent on with its deliveries?
    pub forwards_traces: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            allow: AllowList::default(),
            payload_bytes_max: limits::PAYLOAD_BYTES_MAX,
            endpoints_per_tenant_max: limits::ENDPOINTS_PER_TENANT_MAX,
            organization_endpoints_max: limits::ORGANIZATION_ENDPOINTS_MAX,
            retention: Retention {
                payload_days: limits::KEPT_DAYS,
                attempt_days: limits::KEPT_DAYS,
            },
            forwards_traces: false,
        }
    }
}

/// The engine. Cheap to clone; every clone is the same engine.
#[derive(Clone, Debug)]
pub struct Engine {
    store: Store,
    settings: Arc<Settings>,
    /// The key of the replay that had its turn last.
    replay_turn: Arc<AtomicI64>,
    /// Somebody has asked for background work that should begin at once.
    jobs_woken: Arc<Notify>,
    purge: Arc<Mutex<Purge>>,
}

/// A page of a list, and where the next one begins.
#[derive(Clone, Debug)]
pub struct Page<T> {
    /// The items, newest first.
    pub items: Vec<T>,
    /// The key of the last item, where there are more after it.
    pub next: Option<i64>,
}

impl Engine {
    /// An engine over an open store.
    pub fn new(store: Store, settings: Settings) -> Self {
        Self {
            store,
            settings: Arc::new(settings),
            replay_turn: Arc::default(),
            jobs_woken: Arc::default(),
            purge: Arc::default(),
        }
    }

    /// What it works on: for its metrics, and what is behind.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// What an operator set.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Knows again what this server has given out for `purpose`, on whichever node and before whichever start.
    pub fn authenticator(&self, purpose: &str) -> Authenticator {
        self.store.authenticator(purpose)
    }

    /// The present instant.
    pub fn now(&self) -> Timestamp {
        self.store.clock().now()
    }

    /// Who changes something, for the audit log.
    fn by(&self, caller: &Caller) -> By {
        self.done_by(caller.actor())
    }

    /// Stentor itself, for the audit log.
    fn by_server(&self) -> By {
        self.done_by(Actor::SERVER)
    }

    fn done_by(&self, actor: Actor) -> By {
        By {
            actor,
            at: self.now(),
            audit: AuditId(self.store.next_id()),
        }
    }
}

/// Makes a page of `limit` items from up to one more than that, which is how a list knows that there are more.
fn page<T>(mut items: Vec<T>, limit: u32, key: impl FnOnce(&T) -> i64) -> Page<T> {
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let more = items.len() > limit;
    items.truncate(limit);
    let next = items.last().filter(|_| more).map(key);
    Page { items, next }
}
