//! Replays: sending again to an endpoint what it was sent before, or never. What they do when is in `jobs::replay`.

use crate::error::{Check, Error, Result};
use crate::filter::payload::Lazy;
use crate::matching;
use crate::{Caller, Engine, Page, page};
use stentor_domain::Timestamp;
use stentor_domain::delivery::State;
use stentor_domain::id::{EndpointId, ReplayId};
use stentor_domain::key::Scope;
use stentor_domain::limits::REPLAY_DRY_RUN_ROWS_MAX;
use stentor_domain::name::EventTypeName;
use stentor_domain::replay::{Replay, ReplaySpec};
use stentor_store::config::EndpointConfig;
use stentor_store::once::{Done, Once};
use stentor_store::replays::{Candidate, Keys, NewReplay, ReplayError};

/// Deliveries that a dry run looks at in one question.
const DRY_RUN_DELIVERIES: u32 = 5_000;
/// Events that a dry run looks at in one question.
const DRY_RUN_EVENTS: u32 = 1_000;

/// What a caller says about a replay.
#[derive(Clone, Debug)]
pub struct ReplayFields {
    /// The endpoint; `None` is what names nobody's.
    pub endpoint: Option<EndpointId>,
    /// Only what was accepted then or later.
    pub since: Timestamp,
    /// Only what was accepted before.
    pub until: Option<Timestamp>,
    /// Only deliveries that have ended so.
    pub status: Option<String>,
    /// Only events of this type.
    pub event_type: Option<String>,
    /// Events that have no delivery, too; without a status only these.
    pub missing: bool,
}

impl ReplayFields {
    fn check(&self, now: Timestamp) -> Result<ReplaySpec> {
        let mut check = Check::default();
        // What is accepted later was not there when the replay was asked for.
        let until = self.until.map_or(now, |until| until.min(now));
        if self.since >= until {
            let rule = match self.until {
                Some(given) if given <= now => "must be before `until`",
                _ => "must be in the past",
            };
            check.broken("since", rule);
        }
        let state = self.status.as_deref().and_then(|word| {
            let ended = State::parse(word).filter(|state| state.finished());
            check.take("status", ended.ok_or("must be delivered, exhausted or cancelled"))
        });
        let event_type = self
            .event_type
            .as_deref()
            .and_then(|name| check.take("type", EventTypeName::parse(name)));
        check.done()?;
        Ok(ReplaySpec {
            since: self.since,
            until,
            state,
            event_type,
            missing: self.missing,
        })
    }
}

impl Engine {
    /// Asks for a replay, which the background carries out.
    pub async fn create_replay(
        &self,
        caller: &Caller,
        fields: ReplayFields,
        once: Option<Once<Replay>>,
    ) -> Result<Done<Replay>> {
        caller.may_change()?;
        let configured = self.endpoint_to_replay(caller, &fields)?;
        let by = self.by(caller);
        let new = NewReplay {
            spec: fields.check(by.at)?,
            // Drawn after everything that it is to look at.
            id: ReplayId(self.store.next_id()),
            endpoint: configured.endpoint.id,
        };
        let done = self.store.create_replay(by, new, once).await?;
        self.jobs_woken.notify_one();
        Ok(done)
    }

    /// How many deliveries a replay would make due at this moment.
    pub async fn count_replay(
        &self,
        caller: &Caller,
        fields: ReplayFields,
        once: Option<Once<u64>>,
    ) -> Result<Done<u64>> {
        caller.may_change()?;
        let configured = self.endpoint_to_replay(caller, &fields)?;
        if let Some(before) = self.store.answered_before(&once, self.now()).await? {
            return Ok(before);
        }
        if !configured.endpoint.status.matches_events() {
            return Err(ReplayError::EndpointDisabled.into());
        }
        let now = self.now();
        let spec = fields.check(now)?;
        let keys = Keys::of(&spec, self.store.next_id().n, now);
        let mut looks_left = REPLAY_DRY_RUN_ROWS_MAX;
        let mut count = 0;
        if spec.reopens() {
            count += self
                .count_finished(&configured, &spec, keys, &mut looks_left)
                .await?;
        }
        if spec.missing {
            count += self
                .count_missing(&configured, &spec, keys, &mut looks_left)
                .await?;
        }
        self.store.keep_answer(once, count).await?;
        Ok(Done::Now(count))
    }

    async fn count_finished(
        &self,
        configured: &EndpointConfig,
        spec: &ReplaySpec,
        mut keys: Keys,
        looks_left: &mut u32,
    ) -> Result<u64> {
        let mut count = 0;
        loop {
            let looked = self
                .store
                .look_at_finished(configured.endpoint.id, spec.clone(), keys, DRY_RUN_DELIVERIES)
                .await?;
            count += u64::from(looked.replayable);
            match looked.last {
                Some(last) if looked.considered == DRY_RUN_DELIVERIES => keys.after = last,
                _ => return Ok(count),
            }
            spend(looks_left, looked.considered)?;
        }
    }

    async fn count_missing(
        &self,
        configured: &EndpointConfig,
        spec: &ReplaySpec,
        mut keys: Keys,
        looks_left: &mut u32,
    ) -> Result<u64> {
        let (tenant, endpoint) = (configured.endpoint.tenant, configured.endpoint.id);
        let mut count = 0;
        loop {
            let looked = self
                .store
                .look_for_missing(tenant, endpoint, keys, DRY_RUN_EVENTS)
                .await?;
            // A fan-out under way is over in a moment.
            let Some(candidates) = looked else {
                let detail =
                    "Events of this time are still on their way to all endpoints. Ask again in a moment.";
                return Err(Error::conflict("fanning_out", detail));
            };
            for candidate in &candidates {
                let missing = !candidate.payload_gone && self.lacks(configured, spec, candidate).await?;
                count += u64::from(missing);
            }
            let looked = u32::try_from(candidates.len()).unwrap_or(u32::MAX);
            match candidates.last() {
                Some(last) if looked == DRY_RUN_EVENTS => keys.after = last.id.n(),
                _ => return Ok(count),
            }
            spend(looks_left, looked)?;
        }
    }

    /// The replay with this id.
    pub async fn get_replay(&self, caller: &Caller, id: &str) -> Result<Replay> {
        let id = parse(id)?;
        let scope = self.scope_of_named(caller)?;
        let found = self.store.replay(scope, id).await?;
        found.ok_or(Error::NotFound("replay"))
    }

    /// The replays that the caller acts among, newest first.
    pub async fn list_replays(
        &self,
        caller: &Caller,
        before: Option<i64>,
        limit: u32,
    ) -> Result<Page<Replay>> {
        let scope = self.scope(caller)?;
        let replays = self.store.replays(scope, before, limit.saturating_add(1)).await?;
        Ok(page(replays, limit, |replay| replay.id.n()))
    }

    /// Ends a replay, and what it has brought and is unfinished.
    pub async fn cancel_replay(
        &self,
        caller: &Caller,
        id: &str,
        once: Option<Once<Replay>>,
    ) -> Result<Done<Replay>> {
        caller.may_change()?;
        let id = parse(id)?;
        let scope = self.scope_of_named(caller)?;
        let done = self.store.cancel_replay(self.by(caller), scope, id, once).await?;
        self.jobs_woken.notify_one();
        Ok(done)
    }

    fn endpoint_to_replay(
        &self,
        caller: &Caller,
        fields: &ReplayFields,
    ) -> Result<std::sync::Arc<EndpointConfig>> {
        self.endpoint(caller, crate::endpoints::Which::Id(fields.endpoint))
    }

    /// Does the endpoint, as it is now, want an event that it has no delivery for, and the replay names?
    pub(crate) async fn lacks(
        &self,
        configured: &EndpointConfig,
        spec: &ReplaySpec,
        event: &Candidate,
    ) -> Result<bool> {
        let named = spec
            .event_type
            .as_ref()
            .is_none_or(|name| *name == event.event_type);
        if event.delivered || !named {
            return Ok(false);
        }
        let payload = match configured.endpoint.settings.filter {
            // Of one that is gone no filter finds anything: nothing could be delivered of it either.
            Some(_) => self.store.event(Scope::Root, event.id).await?,
            None => None,
        };
        let payload = payload.and_then(|(_, payload)| payload).unwrap_or_default();
        let candidate = matching::Candidate {
            event_type: &event.event_type,
            channels: &event.channels,
            payload: &Lazy::new(&payload),
        };
        Ok(matching::check(configured, candidate).is_ok())
    }
}

fn spend(looks_left: &mut u32, looked: u32) -> Result<()> {
    *looks_left = looks_left.saturating_sub(looked);
    if *looks_left > 0 {
        return Ok(());
    }
    Err(Error::invalid(
        "since",
        format!("must be later: a dry run counts at most {REPLAY_DRY_RUN_ROWS_MAX} deliveries and events"),
    ))
}

fn parse(id: &str) -> Result<ReplayId> {
    ReplayId::parse(id).ok_or(Error::NotFound("replay"))
}

impl From<ReplayError> for Error {
    fn from(error: ReplayError) -> Self {
        let (code, detail) = match error {
            ReplayError::NotFound => return Self::NotFound("replay"),
            ReplayError::NoEndpoint => return Self::NotFound("endpoint"),
            ReplayError::Store(error) => return Self::Store(error),
            ReplayError::EndpointDisabled => (
                "endpoint_disabled",
                "The endpoint is disabled. Make it active, then replay.".to_owned(),
            ),
            ReplayError::TooMany(most) => (
                "replay_limit_reached",
                format!(
                    "The endpoint has {most} replays that have not ended. Wait for them, or cancel some."
                ),
            ),
            ReplayError::Finished => ("replay_finished", "The replay has ended already.".to_owned()),
        };
        Self::conflict(code, detail)
    }
}
