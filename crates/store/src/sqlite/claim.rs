//! Claiming what is due, and giving back what will not be sent now.

use super::writer::Writer;
use crate::effects::Effects;
use crate::error::{Result, StoreError};
use crate::hot::{CLAIM_BYTES_MAX, Cancel, Claim, Claimed, ClaimedDue, ClaimedEvent, Release};
use rusqlite::{OptionalExtension, params};
use std::collections::HashMap;
use std::sync::Arc;
use stentor_domain::Timestamp;
use stentor_domain::attempt::Trigger;
use stentor_domain::delivery::{Reason, State};
use stentor_domain::id::{DeliveryId, EventId, Id};
use stentor_domain::name::EventTypeName;

/// A row of `work`, as a claim reads it.
struct Row {
    delivery: DeliveryId,
    event: i64,
    attempt: u32,
    failed: u32,
    first_at: Option<Timestamp>,
    due_at: Timestamp,
    trigger: Trigger,
}

/// What giving back a delivery depends on.
struct Owned {
    endpoint: i64,
    cancel_requested: bool,
    test: bool,
}

impl Writer {
    /// Makes this node the owner of what is due for an endpoint, as far as its payloads have room in memory.
    pub(crate) fn claim(&mut self, claim: Claim, effects: &mut Effects) -> Result<ClaimedDue> {
        let mut events: HashMap<i64, Arc<ClaimedEvent>> = HashMap::new();
        let mut deliveries = Vec::new();
        let (mut bytes, mut ended) = (0, 0);
        for row in self.own(claim)? {
            if bytes >= CLAIM_BYTES_MAX {
                self.disown(row.delivery.n())?;
                continue;
            }
            let event = match events.get(&row.event) {
                Some(event) => Arc::clone(event),
                None => match self.event(row.event)? {
                    Some(event) => Arc::clone(events.entry(row.event).or_insert(Arc::new(event))),
                    // Never an empty body: what has no payload any more ends with that reason.
                    None => {
                        let gone = Cancel {
                            delivery: row.delivery.n(),
                            attempt: row.attempt,
                            reason: Reason::PayloadExpired,
                        };
                        self.cancel(gone, effects)?;
                        ended += 1;
                        continue;
                    }
                },
            };
            bytes += event.payload.len();
            deliveries.push(Claimed {
                delivery: row.delivery,
                event,
                endpoint: claim.endpoint,
                shard: claim.shard,
                attempt: row.attempt,
                failed: row.failed,
                first_at: row.first_at,
                due_at: row.due_at,
                trigger: row.trigger,
                room: None,
            });
        }
        Ok(ClaimedDue {
            deliveries,
            ended,
            next_due_at: self.next_due(claim)?,
        })
    }

    /// Takes the rows of a claim, those due first in front.
    fn own(&mut self, claim: Claim) -> Result<Vec<Row>> {
        let epoch = self.epoch;
        let mut statement = self.connection.prepare_cached(
            "UPDATE work SET owner = ?1 WHERE n IN
               (SELECT n FROM work WHERE shard = ?2 AND endpoint = ?3 AND owner IS NULL AND due_at <= ?4
                ORDER BY due_at, n LIMIT ?5)
             RETURNING n, tag, event, attempt, failed, first_at, due_at, cause",
        )?;
        let rows = statement.query_map(
            params![
                epoch,
                claim.shard,
                claim.endpoint,
                claim.now.micros(),
                claim.limit
            ],
            |row| {
                let cause: String = row.get(7)?;
                Ok((
                    Row {
                        delivery: DeliveryId(Id {
                            n: row.get(0)?,
                            tag: row.get(1)?,
                        }),
                        event: row.get(2)?,
                        attempt: row.get(3)?,
                        failed: row.get(4)?,
                        first_at: row.get::<_, Option<i64>>(5)?.map(Timestamp::from_micros),
                        due_at: Timestamp::from_micros(row.get(6)?),
                        trigger: Trigger::Event,
                    },
                    cause,
                ))
            },
        )?;
        let rows = rows.map(|row| {
            let (row, cause) = row?;
            let trigger = Trigger::parse(&cause).ok_or_else(|| unknown(&cause))?;
            Ok(Row { trigger, ..row })
        });
        // RETURNING promises no order.
        let mut rows = rows.collect::<Result<Vec<Row>>>()?;
        rows.sort_unstable_by_key(|row| (row.due_at, row.delivery));
        Ok(rows)
    }

    fn disown(&mut self, delivery: i64) -> Result<()> {
        self.connection
            .prepare_cached("UPDATE work SET owner = NULL WHERE n = ?1")?
            .execute([delivery])?;
        Ok(())
    }

    fn event(&mut self, n: i64) -> Result<Option<ClaimedEvent>> {
        let mut statement = self.connection.prepare_cached(
            "SELECT tag, tenant, type, payload, occurred_at FROM events WHERE n = ?1 AND payload IS NOT NULL",
        )?;
        let event = statement
            .query_row([n], |row| {
                Ok((
                    row.get(0)?,
                    row.get(1)?,
                    row.get::<_, String>(2)?,
                    row.get::<_, Vec<u8>>(3)?,
                    row.get::<_, Option<i64>>(4)?,
                ))
            })
            .optional()?;
        let Some((tag, tenant, event_type, payload, occurred_at)) = event else {
            return Ok(None);
        };
        let event_type = EventTypeName::parse(&event_type).map_err(|_| unknown(&event_type))?;
        Ok(Some(ClaimedEvent {
            id: EventId(Id { n, tag }),
            tenant,
            event_type,
            payload: payload.into(),
            occurred_at: occurred_at.map(Timestamp::from_micros),
        }))
    }

    fn next_due(&mut self, claim: Claim) -> Result<Option<Timestamp>> {
        let mut statement = self.connection.prepare_cached(
            "SELECT due_at FROM work WHERE shard = ?1 AND endpoint = ?2 AND owner IS NULL ORDER BY due_at LIMIT 1",
        )?;
        let due = statement
            .query_row(params![claim.shard, claim.endpoint], |row| row.get(0))
            .optional()?;
        Ok(due.map(Timestamp::from_micros))
    }

    /// Gives deliveries back: they wait in the store again, due when they were. One that somebody wants to end, ends; so
    /// does one whose endpoint was deleted, since the sweeper may have been there already, and a test, which is made at
    /// once or not at all.
    pub(crate) fn release(&mut self, releases: &[Release], effects: &mut Effects) -> Result<()> {
        for release in releases {
            let Some(owned) = self.owned(release.delivery, release.attempt)? else {
                continue;
            };
            if owned.cancel_requested {
                self.end_unattempted(release.delivery, Reason::Requested, effects)?;
            } else if self.outside.config.endpoint(owned.endpoint).is_none() {
                self.end_unattempted(release.delivery, Reason::EndpointDeleted, effects)?;
            } else if owned.test {
                self.end_unattempted(release.delivery, Reason::TestFailed, effects)?;
            } else {
                self.disown(release.delivery)?;
            }
        }
        Ok(())
    }

    /// Ends a delivery of this node without an attempt.
    pub(crate) fn cancel(&mut self, cancel: Cancel, effects: &mut Effects) -> Result<()> {
        match self.owned(cancel.delivery, cancel.attempt)? {
            Some(_) => self.end_unattempted(cancel.delivery, cancel.reason, effects),
            None => Ok(()),
        }
    }

    /// The delivery's row, where this node owns it for this attempt.
    fn owned(&mut self, delivery: i64, attempt: u32) -> Result<Option<Owned>> {
        let epoch = self.epoch;
        let mut statement = self.connection.prepare_cached(
            "SELECT endpoint, cancel_requested, cause = 'test' FROM work WHERE n = ?1 AND attempt = ?2 AND owner = ?3",
        )?;
        let owned = statement.query_row(params![delivery, attempt, epoch], |row| {
            Ok(Owned {
                endpoint: row.get(0)?,
                cancel_requested: row.get(1)?,
                test: row.get(2)?,
            })
        });
        Ok(owned.optional()?)
    }

    /// An endpoint that went with its tenant reads so.
    fn end_unattempted(&mut self, delivery: i64, reason: Reason, effects: &mut Effects) -> Result<()> {
        let at = self.clock.now().micros();
        let state = match reason {
            Reason::TestFailed => State::Exhausted,
            _ => State::Cancelled,
        };
        let mut statement = self.connection.prepare_cached(
            "INSERT INTO deliveries (n, tag, event, endpoint, tenant, state, reason, cause, attempts, finished_at)
             SELECT n, tag, event, endpoint, tenant, ?4,
                    CASE WHEN ?1 = 'endpoint_deleted' AND EXISTS
                           (SELECT 1 FROM tenants WHERE tenants.n = work.tenant AND deleted_at IS NOT NULL)
                         THEN 'tenant_deleted' ELSE ?1 END,
                    cause, attempt - 1, ?2
             FROM work WHERE n = ?3",
        )?;
        statement.execute(params![reason.as_str(), at, delivery, state.as_str()])?;
        drop(statement);
        self.connection
            .prepare_cached("DELETE FROM work WHERE n = ?1")?
            .execute([delivery])?;
        effects.ended.push(delivery);
        Ok(())
    }
}

fn unknown(word: &str) -> StoreError {
    StoreError::Unreadable(format!("{word:?} is not a known word"))
}
