//! Claiming what is due, and giving back what will not be sent now.

use super::writer::Writer;
use crate::effects::Effects;
use crate::error::{Result, StoreError};
use crate::hot::{CLAIM_BYTES_MAX, Cancel, Claim, Claimed, ClaimedDue, ClaimedEvent, Release, loops, trace};
use crate::ordering;
use crate::tally::Change;
use crate::wish;
use rusqlite::{OptionalExtension, params};
use std::collections::HashMap;
use std::sync::Arc;
use stentor_domain::Timestamp;
use stentor_domain::attempt::Trigger;
use stentor_domain::delivery::{Reason, State};
use stentor_domain::id::{DeliveryId, EventId, Id};
use stentor_domain::limits::UNORDERED_MAX;
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
    to_end: Option<Reason>,
    test: bool,
}

impl Writer {
    /// Makes this node the owner of what is due for an endpoint, as far as its payloads have room in memory.
    pub(crate) fn claim(&mut self, claim: Claim, effects: &mut Effects) -> Result<ClaimedDue> {
        let mut events: HashMap<i64, Arc<ClaimedEvent>> = HashMap::new();
        let mut deliveries = Vec::new();
        let (mut bytes, mut ended) = (0, 0);
        let rows = if claim.in_order {
            self.first_in_order(claim)?
        } else {
            self.due(claim)?
        };
        for row in rows {
            if bytes >= CLAIM_BYTES_MAX {
                break;
            }
            self.own(row.delivery)?;
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
                in_order: claim.in_order,
                room: None,
            });
        }
        let next_due_at = match (claim.in_order, deliveries.first()) {
            (false, _) => self.next_due(claim)?,
            (true, None) => self.next_in_order(claim)?,
            (true, Some(first)) => self.more_in_order(first)?.then_some(claim.now),
        };
        Ok(ClaimedDue {
            deliveries,
            ended,
            next_due_at,
        })
    }

    /// The rows that a claim may take, those due first in front.
    fn due(&mut self, claim: Claim) -> Result<Vec<Row>> {
        let mut statement = self.connection.prepare_cached(
            "SELECT n, tag, event, attempt, failed, first_at, due_at, cause FROM work
             WHERE shard = ?1 AND endpoint = ?2 AND owner IS NULL AND due_at <= ?3 ORDER BY due_at, n LIMIT ?4",
        )?;
        let now = claim.now.micros();
        read_rows(statement.query(params![claim.shard, claim.endpoint, now, claim.limit])?)
    }

    /// The first in the endpoint's order, if it is due and nobody has it.
    fn first_in_order(&mut self, claim: Claim) -> Result<Vec<Row>> {
        let mut statement = self.connection.prepare_cached(
            "SELECT n, tag, event, attempt, failed, first_at, due_at, cause FROM work
             WHERE owner IS NULL AND due_at <= ?2 AND n =
               (SELECT n FROM work WHERE endpoint = ?1 AND seq IS NOT NULL ORDER BY seq LIMIT 1)",
        )?;
        read_rows(statement.query(params![claim.endpoint, claim.now.micros()])?)
    }

    /// Makes this node the owner. A statement of its own: one that takes rows and returns them makes a table for that each time.
    fn own(&mut self, delivery: DeliveryId) -> Result<()> {
        self.connection
            .prepare_cached("UPDATE work SET owner = ?1 WHERE n = ?2")?
            .execute([self.epoch, delivery.n()])?;
        Ok(())
    }

    /// When the first in the endpoint's order is due, as far as nobody has it.
    fn next_in_order(&mut self, claim: Claim) -> Result<Option<Timestamp>> {
        let first = "SELECT CASE WHEN owner IS NULL THEN due_at END FROM work
                     WHERE endpoint = ?1 AND seq IS NOT NULL ORDER BY seq LIMIT 1";
        let mut statement = self.connection.prepare_cached(first)?;
        let first: Option<Option<i64>> = statement
            .query_row([claim.endpoint], |row| row.get(0))
            .optional()?;
        drop(statement);
        match first {
            Some(due_at) => Ok(due_at.map(Timestamp::from_micros)),
            // Whatever has been left without a place must not wait for ever: it is placed, and claimed next.
            None => {
                let mut place = self.connection.prepare_cached(ordering::PLACE_SOME)?;
                let placed = place.execute(params![claim.shard, claim.endpoint, UNORDERED_MAX])?;
                Ok((placed > 0).then_some(claim.now))
            }
        }
    }

    /// Does anything wait behind the first in its endpoint's order?
    fn more_in_order(&mut self, first: &Claimed) -> Result<bool> {
        let second =
            "SELECT n FROM work WHERE endpoint = ?1 AND seq IS NOT NULL ORDER BY seq LIMIT 1 OFFSET 1";
        let mut statement = self.connection.prepare_cached(second)?;
        Ok(statement.exists([first.endpoint])?)
    }

    fn event(&mut self, n: i64) -> Result<Option<ClaimedEvent>> {
        let mut statement = self.connection.prepare_cached(
            "SELECT tag, tenant, type, payload, occurred_at, meta FROM events
             WHERE n = ?1 AND payload IS NOT NULL AND erased_at IS NULL
               AND n >= (SELECT payloads_below FROM retention WHERE one = 1)
               AND n >= (SELECT content_erased_below FROM tenants WHERE tenants.n = events.tenant)",
        )?;
        let event = statement
            .query_row([n], |row| {
                Ok((
                    row.get(0)?,
                    row.get(1)?,
                    row.get::<_, String>(2)?,
                    row.get::<_, Vec<u8>>(3)?,
                    row.get::<_, Option<i64>>(4)?,
                    row.get::<_, Option<String>>(5)?,
                ))
            })
            .optional()?;
        let Some((tag, tenant, event_type, payload, occurred_at, meta)) = event else {
            return Ok(None);
        };
        let event_type = EventTypeName::parse(&event_type).map_err(|_| unknown(&event_type))?;
        Ok(Some(ClaimedEvent {
            id: EventId(Id { n, tag }),
            tenant,
            event_type,
            payload: payload.into(),
            occurred_at: occurred_at.map(Timestamp::from_micros),
            loops: loops(meta.as_deref()),
            trace: trace(meta.as_deref()),
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
            if let Some(reason) = owned.to_end {
                self.end_unattempted(release.delivery, reason, effects)?;
            } else if self.outside.config.endpoint(owned.endpoint).is_none() {
                self.end_unattempted(release.delivery, Reason::EndpointDeleted, effects)?;
            } else if owned.test {
                self.end_unattempted(release.delivery, Reason::TestFailed, effects)?;
            } else {
                self.put_back(release.delivery)?;
            }
        }
        Ok(())
    }

    fn put_back(&mut self, delivery: i64) -> Result<()> {
        let sql = concat!(
            "UPDATE work SET owner = NULL, seq = ",
            ordering::place!(),
            " WHERE n = ?1"
        );
        self.connection.prepare_cached(sql)?.execute([delivery])?;
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
                to_end: wish::read(row.get(1)?),
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
             FROM work WHERE n = ?3 RETURNING endpoint, cause = 'test'",
        )?;
        let values = params![reason.as_str(), at, delivery, state.as_str()];
        let (endpoint, test): (i64, bool) =
            statement.query_row(values, |row| Ok((row.get(0)?, row.get(1)?)))?;
        drop(statement);
        if !test {
            effects.tally.note(endpoint, delivery, Change::Ended(state));
        }
        self.connection
            .prepare_cached("DELETE FROM work WHERE n = ?1")?
            .execute([delivery])?;
        effects.ended.push(delivery);
        Ok(())
    }
}

fn read_rows(mut rows: rusqlite::Rows<'_>) -> Result<Vec<Row>> {
    let mut read = Vec::new();
    while let Some(row) = rows.next()? {
        let cause: String = row.get(7)?;
        read.push(Row {
            delivery: DeliveryId(Id {
                n: row.get(0)?,
                tag: row.get(1)?,
            }),
            event: row.get(2)?,
            attempt: row.get(3)?,
            failed: row.get(4)?,
            first_at: row.get::<_, Option<i64>>(5)?.map(Timestamp::from_micros),
            due_at: Timestamp::from_micros(row.get(6)?),
            trigger: Trigger::parse(&cause).ok_or_else(|| unknown(&cause))?,
        });
    }
    Ok(read)
}

fn unknown(word: &str) -> StoreError {
    StoreError::Unreadable(format!("{word:?} is not a known word"))
}
