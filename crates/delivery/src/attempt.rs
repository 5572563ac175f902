//! One attempt, from the claimed delivery to its record: send, judge, record. The only way to send: tests, retries and
//! replays come through here as first attempts do.

use crate::request::Prepared;
use crate::transport::{Outgoing, Permission, Sent, Transport};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use stentor_domain::address::AllowList;
use stentor_domain::attempt::{Attempt, ErrorClass, Exchange, Outcome, Trigger};
use stentor_domain::delivery::Reason;
use stentor_domain::judge::{Policy, Step, Tried, judge};
use stentor_domain::retry_after;
use stentor_domain::{Chance, Clock, Timestamp};
use stentor_store::config::{EndpointConfig, ProjectConfig};
use stentor_store::hot::{Claimed, Finish, Next};
use stentor_store::{Recorded, Store, StoreError};
use tokio::sync::watch;

/// The wait before a record that the store could not take is tried again.
const RECORD_AGAIN: Duration = Duration::from_millis(500);

/// Endpoints whose requests are kept prepared, about 2 KiB each. Beyond it all are forgotten, those of deleted endpoints with
/// their keys too, and made anew when they are needed.
const PREPARED_MAX: usize = 10_000;

/// Makes attempts.
pub struct Attempting {
    transport: Arc<dyn Transport>,
    clock: Arc<dyn Clock>,
    chance: Arc<dyn Chance>,
    allow: AllowList,
    patience: Option<Duration>,
    prepared: Mutex<HashMap<i64, Arc<Prepared>>>,
    broken_off: watch::Sender<bool>,
}

impl std::fmt::Debug for Attempting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Attempting").finish_non_exhaustive()
    }
}

/// Notes how long an event has waited for one of its first attempts. What somebody tries again by hand, or replays, has waited for
/// that.
fn note_lag(store: &Store, claimed: &Claimed, now: Timestamp) {
    if claimed.attempt == 1 && claimed.trigger == Trigger::Event {
        let waited = now.since(claimed.event.id.0.made_at());
        store.metrics().first_attempt_lag.note_duration(waited);
    }
}

impl Attempting {
    /// Attempts through `transport`, to destinations that are public or in `allow`. An endpoint that fails without one
    /// success for `patience` is disabled; with `None` it never is.
    pub fn new(
        transport: Arc<dyn Transport>,
        clock: Arc<dyn Clock>,
        chance: Arc<dyn Chance>,
        allow: AllowList,
        patience: Option<Duration>,
    ) -> Self {
        Self {
            transport,
            clock,
            chance,
            allow,
            patience,
            prepared: Mutex::default(),
            broken_off: watch::Sender::new(false),
        }
    }

    /// Breaks off every exchange: each is recorded as `shutdown`, costs no place in its schedule, and is due again at once.
    pub(crate) fn break_off(&self) {
        self.broken_off.send_replace(true);
    }

    /// Makes the attempt that a delivery was claimed for, unless its endpoint is gone or does not send now. Returns when
    /// what became of it is recorded.
    ///
    /// Nothing is sent while this node's lease has run out: somebody else may be about to send it.
    pub(crate) async fn attempt(&self, store: &Store, permission: &Permission, claimed: Claimed) {
        let Some((configured, project)) = store.config().endpoint_with_project(claimed.endpoint) else {
            let cancel = claimed.cancel(Reason::EndpointDeleted);
            return self.insist("cancelled", || store.cancel_claimed(cancel)).await;
        };
        if store
            .config()
            .content_is_erased(claimed.event.tenant, claimed.event.id.n())
        {
            let cancel = claimed.cancel(Reason::PayloadExpired);
            return self.insist("cancelled", || store.cancel_claimed(cancel)).await;
        }
        if claimed.trigger != Trigger::Test && !configured.endpoint.status.sends() {
            return self.give_back(store, &claimed).await;
        }
        if !store.holds_lease() {
            self.unless_broken_off(store.leased()).await;
        }
        note_lag(store, &claimed, self.clock.now());
        let finish = Arc::new(self.exchange(&claimed, &configured, &project, permission).await);
        let attempt = &finish.attempt;
        store
            .metrics()
            .note_attempt(attempt.outcome, attempt.exchange.timing.total_micros);
        let recorded = async || match store.finish_attempt(Arc::clone(&finish)).await {
            Ok(Recorded::Fenced) => {
                tracing::warn!(delivery = %claimed.delivery, "an attempt was recorded after its lease was lost");
                Ok(())
            }
            other => other.map(drop),
        };
        self.insist("recorded", recorded).await;
    }

    /// Gives a delivery back without an attempt: it waits again, due when it was.
    pub(crate) async fn give_back(&self, store: &Store, claimed: &Claimed) {
        let release = claimed.release();
        self.insist("given back", || store.release(vec![release])).await;
    }

    async fn exchange(
        &self,
        claimed: &Claimed,
        configured: &EndpointConfig,
        project: &ProjectConfig,
        permission: &Permission,
    ) -> Finish {
        let started_at = self.clock.now();
        let prepared = self.prepare(configured, project);
        let built = prepared.build(claimed, started_at, permission.clone());
        let sent = self.send(built.outgoing, project).await;
        let ended_at = self.clock.now();
        let wait = sent
            .retry_after
            .as_deref()
            .and_then(|value| retry_after::parse(value, ended_at));
        let tried = Tried {
            trigger: claimed.trigger,
            outcome: sent.outcome,
            retry_after: wait,
            failed_before: claimed.failed,
            unplaced_before: claimed.attempt.saturating_sub(1).saturating_sub(claimed.failed),
            first_started_at: claimed.first_at.unwrap_or(started_at),
        };
        let settings = &configured.endpoint.settings;
        let policy = Policy {
            schedule: &settings.schedule,
            anchor: settings.anchor,
        };
        let verdict = judge(policy, tried, ended_at, &*self.chance);
        let mut exchange = Exchange {
            sent_headers: built.sent_headers,
            header_set: built.header_set,
            ..sent.exchange
        };
        if let Some(answer) = &mut exchange.answer {
            prepared.hide_secrets(answer);
        }
        log(claimed, sent.outcome, &exchange, verdict.delivery);
        Finish {
            delivery: claimed.delivery,
            event: claimed.event.id.n(),
            endpoint: claimed.endpoint,
            endpoint_version: configured.version,
            shard: claimed.shard,
            tenant: claimed.event.tenant,
            attempt: Attempt {
                no: claimed.attempt,
                trigger: claimed.trigger,
                started_at,
                outcome: sent.outcome,
                exchange,
            },
            next: next(verdict.delivery, tried, claimed.first_at),
            effect: verdict.endpoint,
            patience: self.patience,
            ended_at,
        }
    }

    /// Sends a request where it may be sent. A sandbox reaches only what the operator allows: for anything else not even a
    /// name is looked up.
    async fn send(&self, outgoing: Outgoing, project: &ProjectConfig) -> Sent {
        if project.sandbox && !outgoing.destination.url().is_excepted(&self.allow) {
            return unsent(Outcome::Simulated, None);
        }
        // The allow list may have become shorter since the URL was saved.
        if let Err(refusal) = outgoing.destination.url().judge(&self.allow) {
            let blocked = Outcome::Failed(ErrorClass::BlockedAddress);
            return unsent(blocked, Some(refusal.to_string()));
        }
        let sent = self.unless_broken_off(self.transport.send(outgoing)).await;
        sent.unwrap_or_else(|| unsent(Outcome::Failed(ErrorClass::Shutdown), None))
    }

    /// What `future` gives; `None` where everything is broken off before.
    async fn unless_broken_off<T>(&self, future: impl Future<Output = T>) -> Option<T> {
        let mut broken_off = self.broken_off.subscribe();
        tokio::select! {
            biased;
            _ = broken_off.wait_for(|broken_off| *broken_off) => None,
            given = future => Some(given),
        }
    }

    /// What all requests to this version of the endpoint, in this version of its project, have in common.
    fn prepare(&self, configured: &EndpointConfig, project: &ProjectConfig) -> Arc<Prepared> {
        let mut prepared = self.prepared.lock();
        let n = configured.endpoint.id.n();
        if let Some(known) = prepared.get(&n).filter(|known| known.is_for(configured, project)) {
            return Arc::clone(known);
        }
        if prepared.len() >= PREPARED_MAX {
            prepared.clear();
        }
        let fresh = Arc::new(Prepared::new(configured, project));
        prepared.insert(n, Arc::clone(&fresh));
        fresh
    }

    /// Repeats a record until the store takes it: what happened must not be forgotten, and as long as it cannot be written
    /// down nothing more should be sent. Only a closed store ends it; the next start then repeats the attempt.
    async fn insist<F: Future<Output = Result<(), StoreError>>>(&self, what: &str, record: impl Fn() -> F) {
        let mut told = false;
        loop {
            match record().await {
                Ok(()) | Err(StoreError::Closed) => return,
                Err(error) if !told => {
                    tracing::error!(%error, "a delivery could not be {what}; it is tried again");
                }
                Err(_) => {}
            }
            told = true;
            #[expect(
                clippy::disallowed_methods,
                reason = "waits for a store that is in trouble, not for time to pass"
            )]
            tokio::time::sleep(RECORD_AGAIN).await;
        }
    }
}

/// What becomes of a request that does not leave, or did not come to its end.
fn unsent(outcome: Outcome, detail: Option<String>) -> Sent {
    Sent {
        outcome,
        exchange: Exchange {
            detail,
            ..Exchange::default()
        },
        retry_after: None,
    }
}

/// What follows; `first_at` is when the first attempt of the schedule started, if there was one before this.
fn next(step: Step, tried: Tried, first_at: Option<Timestamp>) -> Next {
    let ours = matches!(tried.outcome, Outcome::Failed(class) if class.ours());
    match step {
        Step::Done if tried.outcome == Outcome::Simulated => Next::Simulated,
        Step::Done => Next::Delivered,
        Step::GiveUp if tried.trigger == Trigger::Test => Next::Exhausted(Reason::TestFailed),
        Step::GiveUp => Next::Exhausted(Reason::ScheduleEnded),
        Step::RetryAt(due_at) => Next::Retry {
            due_at,
            failed: tried.failed_before.saturating_add(u32::from(!ours)),
            // A fault of ours does not start a schedule either.
            first_at: first_at.or((!ours).then_some(tried.first_started_at)),
        },
    }
}

/// One wide line for each attempt.
fn log(claimed: &Claimed, outcome: Outcome, exchange: &Exchange, step: Step) {
    tracing::debug!(
        delivery = %claimed.delivery,
        event = %claimed.event.id,
        event_type = %claimed.event.event_type,
        attempt = claimed.attempt,
        trigger = claimed.trigger.as_str(),
        status = outcome.status(),
        error = outcome.error_class().map(ErrorClass::as_str),
        simulated = outcome == Outcome::Simulated,
        micros = exchange.timing.total_micros,
        step = ?step,
        "attempt"
    );
}
