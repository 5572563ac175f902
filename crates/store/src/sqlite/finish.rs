//! Recording attempts. The record is the completion: an attempt whose record is lost before its commit is repeated, with
//! the same id.

use super::writer::Writer;
use crate::change;
use crate::effects::Effects;
use crate::endpoints::disable;
use crate::error::Result;
use crate::exchange;
use crate::fresh::Waiting;
use crate::health::{self, Trust};
use crate::hot::{Finish, Next};
use crate::member::Recorded;
use crate::notices::{self, News};
use crate::ordering;
use crate::outcome;
use crate::tally::Change;
use crate::tx::Tx;
use crate::wish;
use rusqlite::{OptionalExtension, params};
use stentor_domain::attempt::Trigger;
use stentor_domain::delivery::{Reason, State};
use stentor_domain::endpoint::DisabledReason;

/// An attempt's columns.
struct Columns {
    status: Option<u16>,
    error: Option<&'static str>,
    exchange: Vec<u8>,
}

impl Writer {
    pub(crate) fn finish(&mut self, finish: &Finish, effects: &mut Effects) -> Result<Recorded> {
        let outcome = finish.attempt.outcome;
        let columns = Columns {
            status: outcome.status(),
            error: outcome::error(outcome),
            exchange: exchange::encode(&finish.attempt.exchange)?,
        };
        let recorded = match finish.next {
            Next::Delivered => self.end(finish, &columns, (State::Delivered, None), effects)?,
            Next::Simulated => {
                let end = (State::Delivered, Some(Reason::Sandbox));
                self.end(finish, &columns, end, effects)?
            }
            Next::Exhausted(reason) => {
                self.end(finish, &columns, (State::Exhausted, Some(reason)), effects)?
            }
            Next::Retry { .. } => self.wait(finish, &columns, effects)?,
        };
        if finish.attempt.trigger == Trigger::Test {
            effects.ended.push(finish.delivery.n());
        }
        if recorded == Recorded::Counted {
            self.follow(finish, effects)?;
        }
        Ok(recorded)
    }

    /// Takes the delivery out of `work` and writes it to `deliveries`, the attempt inside.
    fn end(
        &mut self,
        finish: &Finish,
        columns: &Columns,
        (state, reason): (State, Option<Reason>),
        effects: &mut Effects,
    ) -> Result<Recorded> {
        let Some(to_end) = self.take_out(finish)? else {
            self.insert_attempt(finish, columns, effects)?;
            return Ok(Recorded::Fenced);
        };
        let (state, reason) = match (state, to_end) {
            (State::Exhausted, Some(to_end)) => (State::Cancelled, Some(to_end)),
            (state, _) => (state, reason),
        };
        self.insert_delivery(finish, columns, state, reason)?;
        if let (State::Exhausted, Some(reason)) = (state, reason) {
            self.tell(finish, News::Exhausted(reason))?;
        }
        effects.tally.note_attempt(finish, Change::Ended(state));
        Ok(Recorded::Counted)
    }

    /// Takes the delivery out of `work`: where it was this attempt's, with why it was to be ended, if anybody wanted that.
    /// Hardly anybody does, and a statement that returns what it deletes makes a table for that each time.
    fn take_out(&mut self, finish: &Finish) -> Result<Option<Option<Reason>>> {
        let this = [finish.delivery.n(), self.epoch, i64::from(finish.attempt.no)];
        let mut statement = self.connection.prepare_cached(
            "DELETE FROM work WHERE n = ?1 AND owner = ?2 AND attempt = ?3 AND cancel_requested = 0",
        )?;
        if statement.execute(this)? == 1 {
            return Ok(Some(None));
        }
        drop(statement);
        let mut statement = self.connection.prepare_cached(
            "DELETE FROM work WHERE n = ?1 AND owner = ?2 AND attempt = ?3 RETURNING cancel_requested",
        )?;
        let to_end = statement
            .query_row(this, |row| row.get(0).map(wish::read))
            .optional()?;
        Ok(to_end)
    }

    fn tell(&mut self, finish: &Finish, news: News) -> Result<()> {
        let mut tx = Tx::Sqlite(&mut self.connection);
        super::at_once(notices::leave(&mut tx, &self.outside.config, finish, news))
    }

    /// Leaves the delivery in `work`, due again later, and keeps the attempt apart; or ends it, where somebody asked for
    /// that, or its endpoint was deleted, while it was in flight: the sweeper may have been there already.
    fn wait(&mut self, finish: &Finish, columns: &Columns, effects: &mut Effects) -> Result<Recorded> {
        let Next::Retry {
            due_at,
            failed,
            first_at,
        } = finish.next
        else {
            return Ok(Recorded::Fenced);
        };
        if let Some(reason) = self.deleted(finish)? {
            return self.end(finish, columns, (State::Cancelled, Some(reason)), effects);
        }
        let epoch = self.epoch;
        let mut statement = self.connection.prepare_cached(concat!(
            "UPDATE work SET owner = NULL, attempt = attempt + 1, failed = ?1, first_at = ?2, due_at = ?3, seq = ",
            ordering::place!(),
            " WHERE n = ?4 AND owner = ?5 AND attempt = ?6 AND cancel_requested = 0",
        ))?;
        let no = finish.attempt.no;
        let values = params![
            failed,
            first_at.map(|first| first.micros()),
            due_at.micros(),
            finish.delivery.n(),
            epoch,
            no
        ];
        let waits = statement.execute(values)? == 1;
        drop(statement);
        if !waits {
            // Cancelled while in flight, or fenced: `end` tells which.
            return self.end(finish, columns, (State::Exhausted, None), effects);
        }
        self.insert_attempt(finish, columns, effects)?;
        effects.waiting.push(Waiting {
            endpoint: finish.endpoint,
            shard: finish.shard,
            due_at,
        });
        Ok(Recorded::Counted)
    }

    /// Why nothing is sent to the endpoint any more, if it was deleted.
    fn deleted(&mut self, finish: &Finish) -> Result<Option<Reason>> {
        if self.outside.config.endpoint(finish.endpoint).is_some() {
            return Ok(None);
        }
        let mut statement = self
            .connection
            .prepare_cached("SELECT deleted_at IS NOT NULL FROM tenants WHERE n = ?1")?;
        let with_tenant = statement
            .query_row([finish.tenant], |row| row.get(0))
            .optional()?;
        Ok(Some(match with_tenant {
            Some(true) => Reason::TenantDeleted,
            _ => Reason::EndpointDeleted,
        }))
    }

    fn insert_delivery(
        &mut self,
        finish: &Finish,
        columns: &Columns,
        state: State,
        reason: Option<Reason>,
    ) -> Result<()> {
        let attempt = &finish.attempt;
        let mut statement = self.connection.prepare_cached(
            "INSERT INTO deliveries (n, tag, event, endpoint, tenant, state, reason, cause, attempts, finished_at,
                                     started_at, status, error, micros, exchange)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)",
        )?;
        statement.execute(params![
            finish.delivery.n(),
            finish.delivery.0.tag,
            finish.event,
            finish.endpoint,
            finish.tenant,
            state.as_str(),
            reason.map(Reason::as_str),
            attempt.trigger.as_str(),
            attempt.no,
            finish.ended_at.micros(),
            attempt.started_at.micros(),
            columns.status,
            columns.error,
            attempt.exchange.timing.total_micros,
            columns.exchange,
        ])?;
        Ok(())
    }

    fn insert_attempt(&mut self, finish: &Finish, columns: &Columns, effects: &mut Effects) -> Result<()> {
        let attempt = &finish.attempt;
        // A record that is repeated after a commit of unknown outcome finds its own row.
        let mut statement = self.connection.prepare_cached(
            "INSERT INTO attempts (delivery, no, started_at, cause, status, error, micros, exchange)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) ON CONFLICT DO NOTHING",
        )?;
        let kept = statement.execute(params![
            finish.delivery.n(),
            attempt.no,
            attempt.started_at.micros(),
            attempt.trigger.as_str(),
            columns.status,
            columns.error,
            attempt.exchange.timing.total_micros,
            columns.exchange,
        ])?;
        if kept > 0 {
            effects.tally.note_attempt(finish, Change::None);
        }
        Ok(())
    }

    /// What follows for the endpoint. The success of a healthy one, by far the most frequent case, writes nothing.
    fn follow(&mut self, finish: &Finish, effects: &mut Effects) -> Result<()> {
        let Some(asked) = health::asked(finish) else {
            return Ok(());
        };
        let known = self.outside.healths.get(finish.endpoint);
        let before = effects.left.health.get(&finish.endpoint);
        let before = before.copied().unwrap_or(known.health);
        if asked.outcome.succeeded() && before.is_sound() {
            if known.trust() != Trust::Answers {
                effects.left.answered.push(finish.endpoint);
            }
            return Ok(());
        }
        let after = before.after(asked);
        self.write_health(finish.endpoint, &after.into())?;
        effects.left.health.insert(finish.endpoint, after);
        if let Some(turn) = before.turn(after) {
            self.tell(finish, News::Turn(turn, after))?;
        }
        let Some(reason) = health::disables(finish, after) else {
            return Ok(());
        };
        if self.disable(finish, reason, effects)? {
            self.tell(finish, News::Disabled(reason, after))?;
        }
        Ok(())
    }

    fn write_health(&mut self, endpoint: i64, columns: &health::Columns) -> Result<()> {
        let mut statement = self.connection.prepare_cached(
            "INSERT INTO endpoint_health (endpoint, consecutive_failures, unanswered, failing_since, last_success_at,
                                          last_attempt_at, parked_until, at_once, breaker_wait, throttle_wait, status, error)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)
             ON CONFLICT (endpoint) DO UPDATE SET
               consecutive_failures = ?2, unanswered = ?3, failing_since = ?4, last_success_at = ?5, last_attempt_at = ?6,
               parked_until = ?7, at_once = ?8, breaker_wait = ?9, throttle_wait = ?10, status = ?11, error = ?12",
        )?;
        statement.execute(params![
            endpoint,
            columns.consecutive_failures,
            columns.unanswered,
            columns.failing_since,
            columns.last_success_at,
            columns.last_attempt_at,
            columns.parked_until,
            columns.at_once,
            columns.breaker_wait,
            columns.throttle_wait,
            columns.status,
            columns.error,
        ])?;
        Ok(())
    }

    /// Tells whether this attempt was the one that disabled it.
    fn disable(&mut self, finish: &Finish, reason: DisabledReason, effects: &mut Effects) -> Result<bool> {
        let mut tx = Tx::Sqlite(&mut self.connection);
        super::at_once(change::tick(&mut tx))?;
        let disabled = super::at_once(disable::disable(&mut tx, finish, reason))?;
        effects.configured |= disabled;
        self.tenant_versions.remove(&finish.tenant);
        Ok(disabled)
    }
}
