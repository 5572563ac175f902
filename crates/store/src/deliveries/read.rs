//! A row of either table as a delivery, and its attempts.
//!
//! `held`, and `cancelled` for a deleted endpoint or tenant, are stored nowhere: they follow from the endpoint, here and
//! only here, so that pausing or deleting an endpoint with a million deliveries changes one row.

use super::KeptAttempt;
use crate::endpoints::header_sets;
use crate::error::{Result, StoreError};
use crate::exchange;
use crate::outcome;
use crate::period::columns;
use crate::retention;
use crate::seal::MasterKeys;
use crate::tx::{Row, Tx, values};
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use stentor_domain::attempt::{Attempt, Trigger};
use stentor_domain::custom_headers::CustomHeaders;
use stentor_domain::delivery::{Delivery, Reason, State};
use stentor_domain::id::{DeliveryId, EndpointId, EventId, Id, ProjectId, TenantId};
use stentor_domain::key::Scope;
use stentor_domain::name::EventTypeName;

/// What keeps the endpoint from being sent to, as a [`Reason`]'s word.
macro_rules! standing {
    () => {
        "CASE WHEN t.deleted_at IS NOT NULL THEN 'tenant_deleted' WHEN e.deleted_at IS NOT NULL THEN 'endpoint_deleted'
              WHEN e.status = 'paused' THEN 'endpoint_paused' WHEN e.status = 'disabled' THEN 'endpoint_disabled' END"
    };
}

/// The status of the newest attempt of the delivery with the key `$n` that is kept apart from it.
macro_rules! newest_status {
    ($n:literal) => {
        concat!(
            "(SELECT a.status FROM attempts a WHERE a.delivery = ",
            $n,
            " ORDER BY a.no DESC, a.started_at DESC LIMIT 1)"
        )
    };
}

/// Unfinished deliveries, `work` being `w`, with `$more` columns; conditions follow. A test goes past pause and disabled.
macro_rules! unfinished {
    ($more:expr) => {
        concat!(
            "SELECT w.n AS n, w.tag AS tag, w.event AS event, v.tag AS event_tag, v.type AS type,
                    w.endpoint AS endpoint, e.tag AS endpoint_tag, w.tenant AS tenant, t.tag AS tenant_tag,
                    CASE WHEN e.deleted_at IS NOT NULL OR t.deleted_at IS NOT NULL
                           OR (w.owner IS NULL AND ",
            $crate::retention::payload_gone!(),
            " IS NOT NULL) THEN 'cancelled'
                         WHEN e.status = 'active' OR w.cause = 'test' THEN 'pending' ELSE 'held' END AS state,
                    CASE WHEN e.deleted_at IS NULL AND t.deleted_at IS NULL AND w.owner IS NULL AND ",
            $crate::retention::payload_gone!(),
            " IS NOT NULL THEN 'payload_expired'
                         WHEN w.cause <> 'test' OR e.deleted_at IS NOT NULL OR t.deleted_at IS NOT NULL
                         THEN ",
            $crate::deliveries::read::standing!(),
            " END AS reason,
                    w.cause AS cause, w.attempt - 1 AS attempts, w.due_at AS due_at,
                    coalesce(e.deleted_at, t.deleted_at, v.erased_at, t.content_erased_at,
                             (SELECT raised_at FROM retention WHERE one = 1)) AS finished_at, ",
            $crate::deliveries::read::newest_status!("w.n"),
            " AS last_status, ",
            $crate::retention::payload_gone!(),
            " AS payload_gone",
            $more,
            " FROM work w JOIN events v ON v.n = w.event
                          JOIN endpoints e ON e.n = w.endpoint JOIN tenants t ON t.n = w.tenant"
        )
    };
}

/// Finished deliveries, `deliveries` being `d`, with `$more` columns; conditions follow. One that was ended while it waited
/// has no attempt of its own inside, but may have some apart from it.
macro_rules! finished {
    ($more:expr) => {
        concat!(
            "SELECT d.n, d.tag, d.event, v.tag, v.type, d.endpoint, e.tag, d.tenant, t.tag,
                    d.state, d.reason, d.cause, d.attempts, CAST(NULL AS BIGINT), d.finished_at,
                    CASE WHEN d.started_at IS NOT NULL THEN d.status ELSE ",
            $crate::deliveries::read::newest_status!("d.n"),
            " END, ",
            $crate::retention::payload_gone!(),
            $more,
            " FROM deliveries d JOIN events v ON v.n = d.event
                                JOIN endpoints e ON e.n = d.endpoint JOIN tenants t ON t.n = d.tenant"
        )
    };
}
pub(crate) use standing;
pub(super) use {finished, newest_status, unfinished};

/// Reads the columns that both kinds of rows begin with.
pub(super) fn read(row: &Row<'_>) -> Result<Delivery> {
    let id = |at: usize| {
        Ok::<_, StoreError>(Id {
            n: row.int(at)?,
            tag: row.int(at + 1)?,
        })
    };
    let id_of_delivery = DeliveryId(id(0)?);
    let state = row.word(9, State::parse)?;
    let waits = state == State::Pending;
    Ok(Delivery {
        id: id_of_delivery,
        event: EventId(id(2)?),
        event_type: row.word(4, |name| EventTypeName::parse(name).ok())?,
        endpoint: EndpointId(id(5)?),
        tenant: TenantId(id(7)?),
        state,
        reason: reason(row, 10)?,
        trigger: row.word(11, Trigger::parse)?,
        attempts: row.count(12)?,
        last_status: last_status(row, 15)?,
        created_at: id_of_delivery.0.made_at(),
        next_attempt_at: row.time_or_null(13)?.filter(|_| waits),
        finished_at: row.time_or_null(14)?.filter(|_| state.finished()),
        payload_gone: retention::read_gone(row, 16)?,
    })
}

fn last_status(row: &Row<'_>, at: usize) -> Result<Option<u16>> {
    let status = row.int_or_null(at)?.map(u16::try_from).transpose();
    status.map_err(|_| StoreError::Unreadable(format!("column {at} is not a status")))
}

fn reason(row: &Row<'_>, at: usize) -> Result<Option<Reason>> {
    match row.text_or_null(at)? {
        Some(_) => row.word(at, Reason::parse).map(Some),
        None => Ok(None),
    }
}

/// A delivery with what decides whether it can be retried or cancelled.
pub(super) struct Found {
    pub(super) delivery: Delivery,
    pub(super) project: ProjectId,
    /// The endpoint's shard.
    pub(super) shard: u16,
    /// What keeps the endpoint from being sent to.
    pub(super) standing: Option<Reason>,
    pub(super) place: Place,
}

/// Where a delivery's row is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// In `work`, without an owner.
    Waiting {
        /// Somebody has asked for its end.
        cancel_requested: bool,
    },
    /// In `work`, in the memory of the node that owns it.
    Owned {
        /// Somebody has asked for its end.
        cancel_requested: bool,
    },
    /// In `deliveries`.
    Finished,
}

/// The delivery with this id, if it is in `scope`.
pub(super) async fn find(tx: &mut Tx<'_>, scope: Scope, id: DeliveryId) -> Result<Option<Found>> {
    const UNFINISHED: &str = concat!(
        unfinished!(concat!(
            ", t.project, (SELECT tag FROM projects WHERE n = t.project), e.shard, ",
            standing!(),
            ", w.owner, w.cancel_requested"
        )),
        " WHERE w.n = ?1 AND w.tag = ?2 AND (?3 IS NULL OR w.tenant = ?3) AND (?4 IS NULL OR t.project = ?4)"
    );
    const FINISHED: &str = concat!(
        finished!(concat!(
            ", t.project, (SELECT tag FROM projects WHERE n = t.project), e.shard, ",
            standing!()
        )),
        " WHERE d.n = ?1 AND d.tag = ?2 AND (?3 IS NULL OR d.tenant = ?3) AND (?4 IS NULL OR t.project = ?4)"
    );
    let (tenant, project) = columns(scope);
    let values = values![id.n(), id.0.tag, tenant, project];
    let in_work = tx
        .row(UNFINISHED, values, |row| {
            let cancel_requested = row.flag(22)?;
            let place = match row.int_or_null(21)? {
                Some(_) => Place::Owned { cancel_requested },
                None => Place::Waiting { cancel_requested },
            };
            found(row, place)
        })
        .await?;
    match in_work {
        Some(found) => Ok(Some(found)),
        None => tx.row(FINISHED, values, |row| found(row, Place::Finished)).await,
    }
}

fn found(row: &Row<'_>, place: Place) -> Result<Found> {
    let shard = row.int(19)?;
    Ok(Found {
        delivery: read(row)?,
        project: ProjectId(row.id(17)?),
        shard: u16::try_from(shard).map_err(|_| StoreError::Unreadable(format!("{shard} is not a shard")))?,
        standing: reason(row, 20)?,
        place,
    })
}

/// The attempts of a delivery: those kept apart and the last one, which a finished delivery holds itself. Receivers may have
/// repeated what they were sent: where content was `erased`, their answers are as well.
pub(super) async fn attempts(
    tx: &mut Tx<'_>,
    id: DeliveryId,
    erased: bool,
    master: &MasterKeys,
) -> Result<Vec<KeptAttempt>> {
    let mut attempts = tx
        .rows(
            "SELECT no, cause, started_at, status, error, exchange FROM attempts WHERE delivery = ?1
             UNION ALL
             SELECT attempts, cause, started_at, status, error, exchange FROM deliveries
             WHERE n = ?1 AND exchange IS NOT NULL
             ORDER BY 1, 3",
            values![id.n()],
            read_attempt,
        )
        .await?;
    if erased {
        // It leaves the tables a little later.
        for attempt in &mut attempts {
            attempt.exchange.answer = None;
        }
    }
    let mut sets: HashMap<i64, CustomHeaders> = HashMap::new();
    for n in attempts.iter().filter_map(|attempt| attempt.exchange.header_set) {
        if let Entry::Vacant(unread) = sets.entry(n) {
            unread.insert(header_set(tx, n, master).await?);
        }
    }
    let kept = attempts.into_iter().map(|attempt| KeptAttempt {
        custom_headers: attempt
            .exchange
            .header_set
            .and_then(|n| sets.get(&n).cloned())
            .unwrap_or_default(),
        attempt,
    });
    Ok(kept.collect())
}

async fn header_set(tx: &mut Tx<'_>, n: i64, master: &MasterKeys) -> Result<CustomHeaders> {
    let sealed = tx
        .row("SELECT sealed FROM header_sets WHERE n = ?1", values![n], |row| {
            row.bytes(0)
        })
        .await?;
    match sealed {
        Some(sealed) => header_sets::open(n, &sealed, master),
        None => Ok(CustomHeaders::default()),
    }
}

fn read_attempt(row: &Row<'_>) -> Result<Attempt> {
    Ok(Attempt {
        no: row.count(0)?,
        trigger: row.word(1, Trigger::parse)?,
        started_at: row.time(2)?,
        outcome: outcome::read(row, 3)?,
        exchange: exchange::decode(&row.bytes(5)?)?,
    })
}
