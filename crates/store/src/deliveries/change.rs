//! Retrying and cancelling deliveries.

use super::DeliveryError;
use super::read::{Found, Place, find};
use crate::change::{Audit, By, record, tick};
use crate::effects::Effects;
use crate::error::Result;
use crate::fresh::Waiting;
use crate::once::{self, Done, Once};
use crate::ordering;
use crate::tally::{Change, Tally};
use crate::tx::{Tx, values};
use stentor_domain::Timestamp;
use stentor_domain::attempt::Trigger;
use stentor_domain::delivery::{Delivery, Reason, State};
use stentor_domain::id::DeliveryId;
use stentor_domain::key::Scope;

/// What the dispatcher should know of a change.
#[derive(Default)]
pub(super) struct Told {
    waiting: Option<Waiting>,
    /// An ordered endpoint, at which it may be another one's turn now.
    reordered: Option<i64>,
}

impl Told {
    pub(super) fn note(&self, effects: &mut Effects) {
        effects.waiting.extend(self.waiting);
        effects.reordered.extend(self.reordered);
    }
}

/// Makes a delivery due now; tells what the dispatcher should know.
pub(super) async fn retry(
    tx: &mut Tx<'_>,
    by: By,
    scope: Scope,
    id: DeliveryId,
    once: Option<Once<Delivery>>,
) -> Result<(Done<Delivery>, Told), DeliveryError> {
    // Nobody can disable or delete the endpoint between the look and the deed.
    tick(tx).await?;
    hold(tx, id).await?;
    let found = find(tx, scope, id).await?.ok_or(DeliveryError::NotFound)?;
    if let Some(done) = once::before(tx, once.as_ref(), by.at).await? {
        return Ok((done, Told::default()));
    }
    check_retry(&found)?;
    let waits = match found.place {
        Place::Owned { .. } => false,
        Place::Waiting { .. } => {
            hasten(tx, id, by.at).await?;
            true
        }
        Place::Finished => {
            reopen(tx, &found, by.at).await?;
            true
        }
    };
    audit(tx, &by, "delivery.retried", &found).await?;
    let now = find(tx, scope, id).await?.ok_or(DeliveryError::NotFound)?;
    once::keep(tx, once, &now.delivery).await?;
    let told = Told {
        waiting: waits.then(|| waiting(&now, by.at)),
        reordered: reordered(tx, &now).await?,
    };
    Ok((Done::Now(now.delivery), told))
}

fn waiting(found: &Found, due_at: Timestamp) -> Waiting {
    Waiting {
        endpoint: found.delivery.endpoint.n(),
        shard: found.shard,
        due_at,
    }
}

async fn reordered(tx: &mut Tx<'_>, found: &Found) -> Result<Option<i64>> {
    let endpoint = found.delivery.endpoint.n();
    Ok(ordering::is_ordered(tx, endpoint).await?.then_some(endpoint))
}

/// Nor can a node claim it, give it back or record its attempt until this change is made: what is in the midst of that is
/// waited for. On SQLite whoever writes is alone in any case.
async fn hold(tx: &mut Tx<'_>, id: DeliveryId) -> Result<()> {
    if let Tx::Postgres(_) = tx {
        let sql = "SELECT n FROM work WHERE n = ?1 FOR UPDATE";
        tx.row(sql, values![id.n()], |row| row.int(0)).await?;
    }
    Ok(())
}

fn check_retry(found: &Found) -> Result<(), DeliveryError> {
    if found.delivery.trigger == Trigger::Test {
        return Err(DeliveryError::Test);
    }
    match found.standing {
        Some(Reason::EndpointDisabled) => return Err(DeliveryError::EndpointDisabled),
        Some(Reason::EndpointDeleted | Reason::TenantDeleted) => return Err(DeliveryError::EndpointDeleted),
        _ => {}
    }
    if found.delivery.payload_gone.is_some() {
        return Err(DeliveryError::PayloadExpired);
    }
    match found.place {
        Place::Owned { cancel_requested } | Place::Waiting { cancel_requested } if cancel_requested => {
            Err(DeliveryError::BeingCancelled)
        }
        _ => Ok(()),
    }
}

/// What waits for a later time is due now; what is due already keeps its place.
async fn hasten(tx: &mut Tx<'_>, id: DeliveryId, now: Timestamp) -> Result<()> {
    tx.execute_one(
        "UPDATE work SET due_at = CASE WHEN due_at > ?1 THEN ?1 ELSE due_at END WHERE n = ?2 AND owner IS NULL",
        values![now, id.n()],
    )
    .await
}

/// Takes the row back to `work`, the attempt inside it to `attempts`. At an ordered endpoint it comes last.
async fn reopen(tx: &mut Tx<'_>, found: &Found, now: Timestamp) -> Result<()> {
    let id = found.delivery.id;
    let seq = ordering::draw(tx, found.delivery.endpoint.n(), 1).await?;
    tx.execute(
        "INSERT INTO attempts (delivery, no, started_at, cause, status, error, micros, exchange)
         SELECT n, attempts, started_at, cause, status, error, micros, exchange
         FROM deliveries WHERE n = ?1 AND exchange IS NOT NULL ON CONFLICT DO NOTHING",
        values![id.n()],
    )
    .await?;
    tx.execute_one(
        "INSERT INTO work (n, tag, event, endpoint, tenant, shard, attempt, due_at, cause, seq)
         SELECT n, tag, event, endpoint, tenant, ?2, attempts + 1, ?3, ?4, ?5 FROM deliveries WHERE n = ?1",
        values![id.n(), i64::from(found.shard), now, Trigger::Retry.as_str(), seq],
    )
    .await?;
    tx.execute_one("DELETE FROM deliveries WHERE n = ?1", values![id.n()])
        .await?;
    tally(tx, found, Change::Reopened(found.delivery.state), now).await
}

async fn tally(tx: &mut Tx<'_>, found: &Found, change: Change, now: Timestamp) -> Result<()> {
    let mut tally = Tally::default();
    if found.delivery.trigger != Trigger::Test {
        tally.note(found.delivery.endpoint.n(), found.delivery.id.n(), change);
    }
    tally.keep(tx, now).await
}

/// Ends a delivery that waits; asks for the end of one that a node owns. Tells what the dispatcher should know: at an ordered
/// endpoint it may be the next one's turn.
pub(super) async fn cancel(
    tx: &mut Tx<'_>,
    by: By,
    scope: Scope,
    id: DeliveryId,
    once: Option<Once<Delivery>>,
) -> Result<(Done<Delivery>, Told), DeliveryError> {
    tick(tx).await?;
    hold(tx, id).await?;
    let found = find(tx, scope, id).await?.ok_or(DeliveryError::NotFound)?;
    if let Some(done) = once::before(tx, once.as_ref(), by.at).await? {
        return Ok((done, Told::default()));
    }
    if found.delivery.state.finished() {
        return Err(DeliveryError::Finished);
    }
    match found.place {
        Place::Owned { .. } => {
            let sql = "UPDATE work SET cancel_requested = CASE cancel_requested WHEN 0 THEN 1 ELSE cancel_requested END
                       WHERE n = ?1 AND owner IS NOT NULL";
            tx.execute_one(sql, values![id.n()]).await?;
        }
        Place::Waiting { .. } | Place::Finished => end(tx, &found, by.at).await?,
    }
    audit(tx, &by, "delivery.cancelled", &found).await?;
    let now = find(tx, scope, id).await?.ok_or(DeliveryError::NotFound)?;
    once::keep(tx, once, &now.delivery).await?;
    let reordered = reordered(tx, &now).await?;
    let told = Told {
        waiting: reordered.map(|_| waiting(&now, by.at)),
        reordered,
    };
    Ok((Done::Now(now.delivery), told))
}

async fn end(tx: &mut Tx<'_>, found: &Found, now: Timestamp) -> Result<()> {
    let id = found.delivery.id;
    tx.execute_one(
        "INSERT INTO deliveries (n, tag, event, endpoint, tenant, state, reason, cause, attempts, finished_at)
         SELECT n, tag, event, endpoint, tenant, 'cancelled', ?2, cause, attempt - 1, ?3
         FROM work WHERE n = ?1 AND owner IS NULL",
        values![id.n(), Reason::Requested.as_str(), now],
    )
    .await?;
    tx.execute_one("DELETE FROM work WHERE n = ?1", values![id.n()])
        .await?;
    tally(tx, found, Change::Ended(State::Cancelled), now).await
}

async fn audit(tx: &mut Tx<'_>, by: &By, action: &'static str, found: &Found) -> Result<()> {
    let object = found.delivery.id.to_string();
    record(
        tx,
        by,
        Audit {
            action,
            object: &object,
            project: Some(found.project),
            tenant: Some(found.delivery.tenant),
            detail: None,
        },
    )
    .await
}
