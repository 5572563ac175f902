//! Erasing content on request: of one event, or of everything that a tenant has published so far. Content is the payload, and
//! receivers' answers, which may repeat it. What says that there was a delivery stays.
//!
//! An erasure's states, and the failure at each step:
//! 1. wished: committed with its audit row. From this moment nobody is shown the content, and nothing of it is sent but what is
//!    on its way; `payload_gone` and [`Config::content_is_erased`](crate::Config::content_is_erased) see to that. The process dies
//!    before - nothing has happened, and nobody was told otherwise; after - the next start goes on;
//! 2. walked: unfinished deliveries end, those in flight with their attempt; again until none is found, so that the answer of
//!    the last attempt is on record before records are swept. The process dies - it is walked again;
//! 3. swept: event after event loses payload and answers, and the erasure notes how far it has come in the same transaction. The
//!    process dies - it goes on behind the last slice;
//! 4. done: the row goes, and the audit log says so.
//!
//! What is deleted is overwritten with zeros in SQLite's file (`secure_delete`). Its write-ahead log, a server's dead rows, and
//! backups hold it until they are used anew; docs/operations.md says how long.

use super::unfinished::end_in_memory;
use super::{Budget, Slice};
use crate::change::{Audit, By, record, tick};
use crate::error::{Result, StoreError};
use crate::exchange;
use crate::of_owner::of_owner;
use crate::period::columns;
use crate::tx::{PerEngine, Tx, values};
use crate::{Store, tenants};
use std::sync::Arc;
use stentor_domain::Timestamp;
use stentor_domain::delivery::Reason;
use stentor_domain::id::{DeliveryId, EventId, ProjectId, TenantId};
use stentor_domain::key::Scope;

/// Deliveries that are swept between two looks at the clock.
const BATCH_ROWS: i64 = 50;

/// Why content could not be erased.
#[derive(Debug, thiserror::Error)]
pub enum ErasureError {
    /// There is no such event, or tenant.
    #[error("there is nothing of that name")]
    NotFound,
    /// The store's own fault.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A wish that has not been carried out in full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Erasure {
    /// Its key.
    pub n: i64,
    /// The tenant's key.
    pub tenant: i64,
    /// The event's key, where it is of one only.
    pub event: Option<i64>,
    /// It is of events below this key.
    pub below: i64,
}

impl Store {
    /// Erases an event's content. What has been erased before stays so.
    pub async fn erase_event(&self, by: By, scope: Scope, id: EventId) -> Result<(), ErasureError> {
        let in_memory = self.change_and(
            move |tx| Box::pin(wish_for_event(tx, by, scope, id)),
            |in_memory, effects| {
                let wishes = in_memory.iter().map(|id| (*id, Reason::PayloadExpired));
                effects.cancel_requested.extend(wishes);
            },
        );
        in_memory.await.map(drop)
    }

    /// Erases the content of all events that a tenant has published so far.
    pub async fn erase_tenant(&self, by: By, id: TenantId) -> Result<(), ErasureError> {
        self.change(move |tx| Box::pin(wish_for_tenant(tx, by, id))).await
    }

    /// The oldest erasure that is not done.
    pub async fn next_erasure(&self) -> Result<Option<Erasure>> {
        self.ask(|tx| {
            Box::pin(async move {
                tx.row(
                    "SELECT n, tenant, event, below FROM erasures ORDER BY n LIMIT 1",
                    values![],
                    |row| {
                        Ok(Erasure {
                            n: row.int(0)?,
                            tenant: row.int(1)?,
                            event: row.int_or_null(2)?,
                            below: row.int(3)?,
                        })
                    },
                )
                .await
            })
        })
        .await
    }

    /// Sweeps a slice of what is to be erased; at the end the erasure is done, which `by` puts on record.
    pub async fn sweep_erased(&self, by: By, erasure: Erasure) -> Result<Slice> {
        let clock = Arc::clone(&self.0.common.clock);
        self.in_background(move |tx| {
            Box::pin(async move {
                overwrite(tx, true)?;
                let swept = sweep(tx, &Budget::new(&clock), &by, erasure).await;
                overwrite(tx, false)?;
                swept
            })
        })
        .await
    }
}

/// Whether what is deleted is overwritten wherever it was. Otherwise only where that costs no further page.
fn overwrite(tx: &mut Tx<'_>, everywhere: bool) -> Result<()> {
    if let Tx::Sqlite(connection) = tx {
        let how = if everywhere { "ON" } else { "FAST" };
        connection.pragma_update(None, "secure_delete", how)?;
    }
    Ok(())
}

/// Tells which of the event's deliveries are in a node's memory, from where they could be sent yet.
async fn wish_for_event(
    tx: &mut Tx<'_>,
    by: By,
    scope: Scope,
    id: EventId,
) -> Result<Vec<DeliveryId>, ErasureError> {
    // Nobody reopens a delivery between the look and the deed.
    tick(tx).await?;
    let (tenant, project) = columns(scope);
    let found = tx
        .row(
            "SELECT t.n, t.tag, t.project, (SELECT tag FROM projects WHERE n = t.project),
                    v.erased_at IS NOT NULL OR v.n < t.content_erased_below
             FROM events v JOIN tenants t ON t.n = v.tenant
             WHERE v.n = ?1 AND v.tag = ?2 AND (?3 IS NULL OR v.tenant = ?3) AND (?4 IS NULL OR t.project = ?4)",
            values![id.n(), id.0.tag, tenant, project],
            |row| Ok((TenantId(row.id(0)?), ProjectId(row.id(2)?), row.flag(4)?)),
        )
        .await?;
    let (tenant, project, is_erased) = found.ok_or(ErasureError::NotFound)?;
    if is_erased {
        return Ok(Vec::new());
    }
    tx.execute_one(
        "UPDATE events SET erased_at = ?1 WHERE n = ?2",
        values![by.at, id.n()],
    )
    .await?;
    let erasure = Erasure {
        n: by.audit.n(),
        tenant: tenant.n(),
        event: Some(id.n()),
        below: id.n().saturating_add(1),
    };
    wish(tx, erasure).await?;
    let audit = Audit {
        action: "event.content_erased",
        object: &id.to_string(),
        project: Some(project),
        tenant: Some(tenant),
        detail: None,
    };
    record(tx, &by, audit).await?;
    Ok(end_in_memory(tx, id).await?)
}

async fn wish_for_tenant(tx: &mut Tx<'_>, by: By, id: TenantId) -> Result<(), ErasureError> {
    let version = tick(tx).await?;
    let tenant = tenants::find(tx, id).await?.ok_or(ErasureError::NotFound)?;
    // Whatever is accepted after this has a greater key, and is matched against the tenant as it is then.
    let below = by.audit.n();
    tx.execute_one(
        "UPDATE tenants SET content_erased_below = ?1, content_erased_at = ?2, config_version = ?3 WHERE n = ?4",
        values![below, by.at, version, id.n()],
    )
    .await?;
    let erasure = Erasure {
        n: by.audit.n(),
        tenant: id.n(),
        event: None,
        below,
    };
    wish(tx, erasure).await?;
    let audit = Audit {
        action: "tenant.content_erased",
        object: &id.to_string(),
        project: Some(tenant.project),
        tenant: Some(id),
        detail: None,
    };
    Ok(record(tx, &by, audit).await?)
}

async fn wish(tx: &mut Tx<'_>, erasure: Erasure) -> Result<()> {
    tx.execute_one(
        "INSERT INTO erasures (n, tenant, event, below) VALUES (?1, ?2, ?3, ?4)",
        values![erasure.n, erasure.tenant, erasure.event, erasure.below],
    )
    .await
}

/// How far an erasure has come: every event up to the first key is done, and of the next one every delivery up to the second.
#[derive(Clone, Copy)]
struct Place {
    event: i64,
    delivery: i64,
}

async fn sweep(tx: &mut Tx<'_>, budget: &Budget, by: &By, erasure: Erasure) -> Result<Slice> {
    let place = tx
        .row(
            "SELECT swept_event, swept_delivery FROM erasures WHERE n = ?1",
            values![erasure.n],
            |row| {
                Ok(Place {
                    event: row.int(0)?,
                    delivery: row.int(1)?,
                })
            },
        )
        .await?;
    let Some(mut place) = place else {
        return Ok(Slice::of(0, None));
    };
    let mut rows = 0;
    while budget.allows(rows) {
        let Some(event) = next_event(tx, erasure, place).await? else {
            finish(tx, by, erasure).await?;
            return Ok(Slice::of(rows, None));
        };
        let (swept, last) = sweep_deliveries(tx, event, place.delivery).await?;
        rows += swept.max(1);
        place = match last {
            Some(delivery) => Place { delivery, ..place },
            None => {
                sweep_event(tx, event, by.at).await?;
                Place { event, delivery: 0 }
            }
        };
    }
    tx.execute_one(
        "UPDATE erasures SET swept_event = ?1, swept_delivery = ?2 WHERE n = ?3",
        values![place.event, place.delivery, erasure.n],
    )
    .await?;
    Ok(Slice::of(rows, Some(place.event)))
}

/// The least of a tenant's events above a key and below another; on SQLite perhaps one that a purge has just taken.
const NEXT_EVENT: PerEngine = PerEngine {
    sqlite: concat!(
        "SELECT n FROM (",
        of_owner!("events", "tenant", "ORDER BY n LIMIT 1"),
        ") ORDER BY n LIMIT 1"
    ),
    postgres: "SELECT n FROM events WHERE tenant = ?1 AND n > ?2 AND n < ?3 ORDER BY n LIMIT 1",
};

async fn next_event(tx: &mut Tx<'_>, erasure: Erasure, place: Place) -> Result<Option<i64>> {
    match erasure.event {
        Some(event) => Ok(Some(event).filter(|event| *event > place.event)),
        None => {
            let range = values![erasure.tenant, place.event, erasure.below];
            tx.row(NEXT_EVENT.of(tx), range, |row| row.int(0)).await
        }
    }
}

async fn sweep_event(tx: &mut Tx<'_>, event: i64, now: Timestamp) -> Result<()> {
    tx.execute(
        "UPDATE events SET payload = NULL, erased_at = coalesce(erased_at, ?1) WHERE n = ?2",
        values![now, event],
    )
    .await?;
    Ok(())
}

/// An event's deliveries after a key, by the index of events.
const DELIVERIES: &str = "SELECT n, exchange FROM deliveries WHERE event = ?1 AND n > ?2 ORDER BY n LIMIT ?3";
/// The same in PostgreSQL's words: in the order of the key it would go through all of the table by it.
const DELIVERIES_ON_POSTGRES: &str =
    "SELECT n, exchange FROM deliveries WHERE event = ?1 AND n > ?2 ORDER BY n + 0 LIMIT ?3";

/// Takes the answers out of a few of an event's deliveries. Tells how many rows it changed, and the last delivery where there are
/// more.
async fn sweep_deliveries(tx: &mut Tx<'_>, event: i64, after: i64) -> Result<(usize, Option<i64>)> {
    let sql = match tx {
        Tx::Sqlite(_) => DELIVERIES,
        Tx::Postgres(_) => DELIVERIES_ON_POSTGRES,
    };
    let deliveries = tx
        .rows(sql, values![event, after, BATCH_ROWS], |row| {
            Ok((row.int(0)?, row.bytes_or_null(1)?))
        })
        .await?;
    let mut rows = 0;
    for (n, kept) in &deliveries {
        if let Some(bare) = kept
            .as_deref()
            .map(exchange::without_answer)
            .transpose()?
            .flatten()
        {
            let sql = "UPDATE deliveries SET exchange = ?1 WHERE n = ?2";
            rows += tx.execute(sql, values![&bare[..], *n]).await?;
        }
        rows += sweep_attempts(tx, *n).await?;
    }
    let full = i64::try_from(deliveries.len()).is_ok_and(|rows| rows == BATCH_ROWS);
    let last = deliveries.last().map(|(n, _)| *n);
    Ok((rows, last.filter(|_| full)))
}

async fn sweep_attempts(tx: &mut Tx<'_>, delivery: i64) -> Result<usize> {
    let attempts = tx
        .rows(
            "SELECT no, started_at, exchange FROM attempts WHERE delivery = ?1",
            values![delivery],
            |row| Ok((row.int(0)?, row.int(1)?, row.bytes(2)?)),
        )
        .await?;
    let mut rows = 0;
    for (no, started_at, kept) in attempts {
        if let Some(bare) = exchange::without_answer(&kept)? {
            rows += tx
                .execute(
                    "UPDATE attempts SET exchange = ?1 WHERE delivery = ?2 AND no = ?3 AND started_at = ?4",
                    values![&bare[..], delivery, no, started_at],
                )
                .await?;
        }
    }
    Ok(rows)
}

async fn finish(tx: &mut Tx<'_>, by: &By, erasure: Erasure) -> Result<()> {
    tx.execute_one("DELETE FROM erasures WHERE n = ?1", values![erasure.n])
        .await?;
    let tenant = tx
        .row(
            "SELECT n, tag, project, (SELECT tag FROM projects WHERE n = tenants.project) FROM tenants WHERE n = ?1",
            values![erasure.tenant],
            |row| Ok((TenantId(row.id(0)?), ProjectId(row.id(2)?))),
        )
        .await?;
    let Some((tenant, project)) = tenant else {
        return Ok(());
    };
    let event = match erasure.event {
        None => None,
        Some(n) => {
            tx.row("SELECT n, tag FROM events WHERE n = ?1", values![n], |row| {
                Ok(EventId(row.id(0)?))
            })
            .await?
        }
    };
    let (action, object) = match (erasure.event, event) {
        (None, _) => ("tenant.content_erasure_finished", tenant.to_string()),
        (Some(_), Some(event)) => ("event.content_erasure_finished", event.to_string()),
        // It has expired as a whole meanwhile.
        (Some(_), None) => return Ok(()),
    };
    let audit = Audit {
        action,
        object: &object,
        project: Some(project),
        tenant: Some(tenant),
        detail: None,
    };
    record(tx, by, audit).await
}
