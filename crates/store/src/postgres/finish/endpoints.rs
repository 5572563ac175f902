//! What a group of attempts says of their endpoints, and what there is to tell of it.

use crate::endpoints::disable;
use crate::error::Result;
use crate::health::{self, Columns, Left, Trust};
use crate::hot::{Finish, Next};
use crate::notices::{self, News};
use crate::postgres::Core;
use crate::postgres::lane::Trouble;
use crate::postgres::session::Session;
use crate::tx::{Row, Tx};
use std::collections::{BTreeMap, BTreeSet, HashSet};
use stentor_domain::endpoint::DisabledReason;
use stentor_domain::health::{Asked, Health};
use stentor_domain::judge::Effect;

/// What is known of endpoints, held so that nobody else changes it meanwhile.
const KNOWN_HEALTH: &str = concat!(
    "SELECT o.endpoint, ",
    health::columns!(),
    " FROM endpoint_health o WHERE o.endpoint = ANY($1::bigint[]) ORDER BY o.endpoint FOR UPDATE"
);

const HEALTH: &str = "
INSERT INTO endpoint_health (endpoint, consecutive_failures, unanswered, failing_since, last_success_at, last_attempt_at,
                             parked_until, at_once, breaker_wait, throttle_wait, status, error)
SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[],
                     $8::bigint[], $9::bigint[], $10::bigint[], $11::bigint[], $12::text[])
ON CONFLICT (endpoint) DO UPDATE SET
  consecutive_failures = excluded.consecutive_failures, unanswered = excluded.unanswered,
  failing_since = excluded.failing_since, last_success_at = excluded.last_success_at,
  last_attempt_at = excluded.last_attempt_at, parked_until = excluded.parked_until, at_once = excluded.at_once,
  breaker_wait = excluded.breaker_wait, throttle_wait = excluded.throttle_wait, status = excluded.status,
  error = excluded.error";

/// An attempt after which its endpoint is to be disabled.
pub(super) struct LastStraw<'f> {
    finish: &'f Finish,
    reason: DisabledReason,
    /// What the attempt made of its health.
    health: Health,
}

/// May the endpoint of this attempt have to be disabled? Told before anything is locked, by what was known before.
pub(super) fn may_disable(core: &Core, finish: &Finish) -> bool {
    let Some(asked) = health::asked(finish) else {
        return false;
    };
    let known = core.outside.healths.get(finish.endpoint).health;
    health::disables(finish, known.after(asked)).is_some()
}

/// Disables endpoints; tells whether there were any. Their tenants are locked in the order of their keys, as those who
/// publish lock them.
pub(super) async fn disable_all(
    core: &Core,
    session: &mut Session,
    mut straws: Vec<LastStraw<'_>>,
) -> Result<bool, Trouble> {
    straws.sort_by_key(|straw| (straw.finish.tenant, straw.finish.delivery.n()));
    let mut any = false;
    for straw in straws {
        let disabled = disable_by(core, &mut Tx::Postgres(session), straw).await;
        any |= disabled.map_err(Trouble::Unable)?;
    }
    Ok(any)
}

async fn disable_by(core: &Core, tx: &mut Tx<'_>, straw: LastStraw<'_>) -> Result<bool> {
    let LastStraw {
        finish,
        reason,
        health,
    } = straw;
    let disabled = disable::disable(tx, finish, reason).await?;
    if disabled {
        let news = News::Disabled(reason, health);
        notices::leave(tx, &core.outside.config, finish, news).await?;
    }
    Ok(disabled)
}

/// Endpoints that answered for the first time in this life, of successes that say nothing else.
pub(super) fn first_answers(core: &Core, finishes: &[&Finish]) -> Vec<i64> {
    let succeeded = finishes
        .iter()
        .filter(|finish| finish.effect == Effect::Succeeded);
    succeeded
        .map(|finish| finish.endpoint)
        .filter(|endpoint| core.outside.healths.get(*endpoint).trust() != Trust::Answers)
        .collect()
}

/// Writes what the attempts say of their endpoints, in the order in which they ended, and leaves notices of the turns. Tells
/// which of them are the last straw.
pub(super) async fn follow<'f>(
    core: &Core,
    session: &mut Session,
    finishes: &[&'f Finish],
    left: &mut Left,
) -> Result<Vec<LastStraw<'f>>, Trouble> {
    left.answered = first_answers(core, finishes);
    let mut news: Vec<(&Finish, Asked)> = finishes
        .iter()
        .filter_map(|finish| Some((*finish, health::asked(finish)?)))
        .collect();
    // Of an endpoint that was and is healthy there is nothing to write.
    let failing: HashSet<i64> = news
        .iter()
        .filter(|(_, asked)| !asked.outcome.succeeded())
        .map(|(finish, _)| finish.endpoint)
        .collect();
    news.retain(|(finish, _)| {
        let n = finish.endpoint;
        failing.contains(&n) || !core.outside.healths.get(n).health.is_sound()
    });
    if news.is_empty() {
        return Ok(Vec::new());
    }
    news.sort_by_key(|(finish, asked)| (asked.ended_at, finish.delivery.n()));
    // In the order of keys, as rows are locked.
    let endpoints: BTreeSet<i64> = news.iter().map(|(finish, _)| finish.endpoint).collect();
    let mut healths = known_healths(session, endpoints).await?;
    let mut straws = Vec::new();
    for (finish, asked) in news {
        let health = healths.entry(finish.endpoint).or_default();
        let before = std::mem::replace(health, health.after(asked));
        straws.extend(health::disables(finish, *health).map(|reason| LastStraw {
            finish,
            reason,
            health: *health,
        }));
        if let Some(turn) = before.turn(*health) {
            let news = News::Turn(turn, *health);
            let left = notices::leave(&mut Tx::Postgres(session), &core.outside.config, finish, news).await;
            left.map_err(Trouble::Unable)?;
        }
    }
    write_healths(session, &healths).await?;
    left.health = healths.into_iter().collect();
    Ok(straws)
}

/// Leaves notices of the deliveries that are exhausted.
pub(super) async fn tell_exhausted(
    core: &Core,
    session: &mut Session,
    finishes: &[&Finish],
    exhausted: &HashSet<i64>,
) -> Result<(), Trouble> {
    for finish in finishes {
        if let Next::Exhausted(reason) = finish.next
            && exhausted.contains(&finish.delivery.n())
        {
            let tx = &mut Tx::Postgres(session);
            let left = notices::leave(tx, &core.outside.config, finish, News::Exhausted(reason)).await;
            left.map_err(Trouble::Unable)?;
        }
    }
    Ok(())
}

async fn known_healths(
    session: &mut Session,
    endpoints: BTreeSet<i64>,
) -> Result<BTreeMap<i64, Health>, Trouble> {
    let endpoints: Vec<i64> = endpoints.into_iter().collect();
    let statement = session.prepared(KNOWN_HEALTH).await?;
    let rows = session.client().query(&statement, &[&endpoints]).await?;
    let known = rows.iter().map(|row| {
        let row = Row::Postgres(row);
        Ok((row.int(0)?, health::read(&row, 1)?))
    });
    known.collect::<Result<_>>().map_err(Trouble::Unable)
}

async fn write_healths(session: &mut Session, healths: &BTreeMap<i64, Health>) -> Result<(), Trouble> {
    let endpoints: Vec<i64> = healths.keys().copied().collect();
    let rows: Vec<Columns> = healths.values().map(|health| (*health).into()).collect();
    let numbers = |of: fn(&Columns) -> i64| -> Vec<i64> { rows.iter().map(of).collect() };
    let nullable = |of: fn(&Columns) -> Option<i64>| -> Vec<Option<i64>> { rows.iter().map(of).collect() };
    let errors: Vec<Option<&str>> = rows.iter().map(|row| row.error).collect();
    let statement = session.prepared(HEALTH).await?;
    session
        .client()
        .execute(
            &statement,
            &[
                &endpoints,
                &numbers(|row| row.consecutive_failures),
                &numbers(|row| row.unanswered),
                &nullable(|row| row.failing_since),
                &nullable(|row| row.last_success_at),
                &nullable(|row| row.last_attempt_at),
                &nullable(|row| row.parked_until),
                &nullable(|row| row.at_once),
                &numbers(|row| row.breaker_wait),
                &numbers(|row| row.throttle_wait),
                &nullable(|row| row.status),
                &errors,
            ],
        )
        .await?;
    Ok(())
}
