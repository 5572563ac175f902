//! Accepting events: the event, its deliveries and its keys, in the group's transaction.

use super::writer::Writer;
use crate::channels::channels_text;
use crate::effects::Effects;
use crate::error::Result;
use crate::fresh::Waiting;
use crate::hot::{
    Accept, Accepted, Claimed, ClaimedEvent, EventKey, ExistingEvent, KeptAnswer, NewDelivery, NewEvent,
};
use crate::ordering;
use crate::tx::Tx;
use rusqlite::{OptionalExtension, params};
use std::collections::HashMap;
use std::sync::Arc;
use stentor_domain::id::{EventId, Id, TenantId};

impl Writer {
    /// Checks everything before it writes anything, so that a refusal leaves no trace in the group.
    pub(crate) fn accept(&mut self, accept: &Accept, effects: &mut Effects) -> Result<Accepted> {
        for event in &accept.events {
            if self.tenant_version(event.tenant)? != Some(event.tenant_version) {
                return Ok(Accepted::Stale);
            }
        }
        if let Some(answer) = accept
            .once
            .as_ref()
            .map(|once| self.answered_before(once, accept))
            .transpose()?
            .flatten()
        {
            return Ok(answer);
        }
        let existing = match self.existing(&accept.events)? {
            Ok(existing) => existing,
            Err(place) => return Ok(Accepted::EventIdConflict(place)),
        };
        if accept.once.is_some() && existing != accept.known {
            return Ok(Accepted::Known { existing });
        }
        // They are in the order of their places.
        let is_new = |place: usize| {
            existing
                .binary_search_by_key(&place, |(known, _)| *known)
                .is_err()
        };
        for (_, event) in accept
            .events
            .iter()
            .enumerate()
            .filter(|(place, _)| is_new(*place))
        {
            self.write_event(event, effects)?;
        }
        if let Some(once) = &accept.once {
            self.keep_answer(once)?;
        }
        Ok(Accepted::Written { existing })
    }

    fn tenant_version(&mut self, tenant: TenantId) -> Result<Option<i64>> {
        if let Some(version) = self.tenant_versions.get(&tenant.n()) {
            return Ok(*version);
        }
        let mut statement = self
            .connection
            .prepare_cached("SELECT config_version FROM tenants WHERE n = ?1 AND deleted_at IS NULL")?;
        let version = statement.query_row([tenant.n()], |row| row.get(0)).optional()?;
        self.tenant_versions.insert(tenant.n(), version);
        Ok(version)
    }

    fn answered_before(&mut self, once: &KeptAnswer, accept: &Accept) -> Result<Option<Accepted>> {
        let now = accept
            .events
            .first()
            .map_or(0, |event| event.accepted_at.micros());
        let mut statement = self.connection.prepare_cached(
            "SELECT body_hash, status, answer FROM idempotency_keys WHERE hash = ?1 AND expires_at > ?2",
        )?;
        let known = statement
            .query_row(params![once.hash, now], |row| {
                Ok((row.get::<_, Vec<u8>>(0)?, row.get(1)?, row.get::<_, Vec<u8>>(2)?))
            })
            .optional()?;
        Ok(known.map(|(body_hash, status, answer)| {
            if body_hash == once.body_hash {
                Accepted::Repeated {
                    status,
                    answer: answer.into(),
                }
            } else {
                Accepted::OnceConflict
            }
        }))
    }

    fn keep_answer(&mut self, once: &KeptAnswer) -> Result<()> {
        let mut statement = self.connection.prepare_cached(
            "INSERT OR REPLACE INTO idempotency_keys (hash, body_hash, status, answer, expires_at)
             VALUES (?1, ?2, ?3, ?4, ?5)",
        )?;
        let answer: &[u8] = &once.answer;
        statement.execute(params![
            once.hash,
            once.body_hash,
            once.status,
            answer,
            once.expires_at.micros()
        ])?;
        Ok(())
    }

    /// Which of the events are there already: their places and what is there; or the place of one whose id is taken. The
    /// same id twice within one request is judged the same way.
    fn existing(
        &mut self,
        events: &[NewEvent],
    ) -> Result<std::result::Result<Vec<(usize, ExistingEvent)>, usize>> {
        let mut existing = Vec::new();
        let mut within: HashMap<[u8; 16], (ExistingEvent, [u8; 16])> = HashMap::new();
        for (place, event) in events.iter().enumerate() {
            let Some(key) = &event.event_id else { continue };
            match self.stored(key)?.or_else(|| within.get(&key.hash).copied()) {
                Some((_, body_hash)) if body_hash != key.body_hash => return Ok(Err(place)),
                Some((known, _)) => existing.push((place, known)),
                None => {
                    let this = ExistingEvent {
                        id: event.id,
                        matched: event.matched,
                    };
                    within.insert(key.hash, (this, key.body_hash));
                }
            }
        }
        Ok(Ok(existing))
    }

    fn stored(&mut self, key: &EventKey) -> Result<Option<(ExistingEvent, [u8; 16])>> {
        let mut statement = self.connection.prepare_cached(
            "SELECT events.n, events.tag, events.deliveries, event_keys.body_hash
             FROM event_keys JOIN events ON events.n = event_keys.event WHERE event_keys.hash = ?1",
        )?;
        let stored = statement.query_row([key.hash], |row| {
            let id = EventId(Id {
                n: row.get(0)?,
                tag: row.get(1)?,
            });
            Ok((
                ExistingEvent {
                    id,
                    matched: row.get(2)?,
                },
                row.get(3)?,
            ))
        });
        Ok(stored.optional()?)
    }

    fn write_event(&mut self, event: &NewEvent, effects: &mut Effects) -> Result<()> {
        let payload: &[u8] = &event.payload;
        let mut statement = self.connection.prepare_cached(
            "INSERT INTO events (n, tag, tenant, type, event_id, channels, occurred_at, payload, deliveries, meta)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
        )?;
        statement.execute(params![
            event.id.n(),
            event.id.0.tag,
            event.tenant.n(),
            event.event_type.as_str(),
            event.event_id.as_ref().map(|key| &key.text),
            channels_text(&event.channels),
            event.occurred_at.map(|at| at.micros()),
            payload,
            event.matched,
            event.meta(),
        ])?;
        drop(statement);
        if let Some(key) = &event.event_id {
            let mut statement = self
                .connection
                .prepare_cached("INSERT INTO event_keys (hash, event, body_hash) VALUES (?1, ?2, ?3)")?;
            statement.execute(params![key.hash, event.id.n(), key.body_hash])?;
        }
        self.write_deliveries(event, effects)
    }

    fn write_deliveries(&mut self, event: &NewEvent, effects: &mut Effects) -> Result<()> {
        let shared = Arc::new(ClaimedEvent {
            id: event.id,
            tenant: event.tenant.n(),
            event_type: event.event_type.clone(),
            payload: event.payload.clone(),
            occurred_at: event.occurred_at,
            loops: event.loops,
            trace: event.trace.clone(),
        });
        for delivery in &event.deliveries {
            let seat = self.outside.seat_for(event, delivery);
            let owner = seat.room.is_some().then_some(self.epoch);
            let seq = if seat.ordered {
                super::at_once(ordering::draw(
                    &mut Tx::Sqlite(&mut self.connection),
                    delivery.endpoint,
                    1,
                ))?
            } else {
                None
            };
            self.insert_work(event, delivery, (owner, seq))?;
            effects
                .tally
                .note_accepted(delivery.endpoint, delivery.id.n(), event.trigger);
            match seat.room {
                Some(ticket) => effects
                    .claimed
                    .push(Claimed::first(event, &shared, delivery, ticket)),
                None => effects.waiting.push(Waiting {
                    endpoint: delivery.endpoint,
                    shard: delivery.shard,
                    due_at: event.accepted_at,
                }),
            }
        }
        if let Some(last) = event.last_before_fanout() {
            let mut statement = self
                .connection
                .prepare_cached("INSERT INTO fanout (event, tenant, after_endpoint) VALUES (?1, ?2, ?3)")?;
            statement.execute(params![event.id.n(), event.tenant.n(), last.endpoint])?;
        }
        Ok(())
    }

    fn insert_work(
        &mut self,
        event: &NewEvent,
        delivery: &NewDelivery,
        (owner, seq): (Option<i64>, Option<i64>),
    ) -> Result<()> {
        let mut statement = self.connection.prepare_cached(
            "INSERT INTO work (n, tag, event, endpoint, tenant, shard, attempt, due_at, owner, cause, seq)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, 1, ?7, ?8, ?9, ?10)",
        )?;
        statement.execute(params![
            delivery.id.n(),
            delivery.id.0.tag,
            event.id.n(),
            delivery.endpoint,
            event.tenant.n(),
            delivery.shard,
            event.accepted_at.micros(),
            owner,
            event.trigger.as_str(),
            seq,
        ])?;
        Ok(())
    }
}
