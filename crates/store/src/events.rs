//! Reading events. Accepting them is the hot path's.

use crate::Store;
use crate::channels::read_channels;
use crate::error::Result;
use crate::of_owner::unlisted;
use crate::period::{Period, columns};
use crate::retention;
use crate::tx::{PerEngine, Row, Tx, values};
use bytes::Bytes;
use stentor_domain::Timestamp;
use stentor_domain::channels::Channels;
use stentor_domain::delivery::PayloadGone;
use stentor_domain::id::{EventId, TenantId};
use stentor_domain::key::Scope;
use stentor_domain::name::EventTypeName;

/// An event, without its payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Its id, which receivers see.
    pub id: EventId,
    /// The producer's own id for it.
    pub event_id: Option<String>,
    /// Its type.
    pub event_type: EventTypeName,
    /// Its channels.
    pub channels: Channels,
    /// Whose it is.
    pub tenant: TenantId,
    /// How many endpoints matched.
    pub deliveries: u32,
    /// When it was accepted.
    pub created_at: Timestamp,
    /// When it happened, if the producer said so.
    pub occurred_at: Option<Timestamp>,
    /// Why it has no payload any more, where it has none.
    pub payload_gone: Option<PayloadGone>,
}

/// Which events a list shows; `None` is any.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EventFilter {
    /// Those of this type.
    pub event_type: Option<EventTypeName>,
    /// Those accepted then.
    pub period: Period,
}

/// An event's columns. The payload is asked for apart: lists do without it.
macro_rules! shown {
    ($payload:literal) => {
        concat!(
            "SELECT v.n, v.tag, v.event_id, v.type, v.tenant, t.tag, v.deliveries, v.occurred_at, v.channels, ",
            $crate::retention::payload_gone!(),
            $payload
        )
    };
}

/// The filter of every list: 1 the key to stay below, 2 the least key, 3 tenant, 4 project, 5 type (each NULL for any),
/// 6 how many. `$from` has the events `v`, `$path` is the way in, `$n` their key, which is at least `$least`. The events of tests, and
/// Stentor's own, are known by their deliveries only.
macro_rules! newest {
    ($columns:expr, $from:literal, $path:literal, $n:literal, $least:expr) => {
        concat!(
            $columns,
            " FROM ",
            $from,
            " JOIN tenants t ON t.n = v.tenant WHERE ",
            $path,
            " ",
            $n,
            " < ?1 AND ",
            $n,
            " >= ",
            $least,
            " AND (?3 IS NULL OR v.tenant = ?3) AND (?4 IS NULL OR (t.project = ?4 AND t.kind = 'customer'))
              AND (?5 IS NULL OR v.type = ?5) AND (v.meta IS NULL OR v.meta <> 'test')
             ORDER BY ",
            $n,
            " DESC LIMIT ?6"
        )
    };
}

/// By the list on SQLite, and above it; by the index `events_of_tenant` on PostgreSQL.
const OF_TENANT: PerEngine = PerEngine {
    sqlite: concat!(
        shown!(""),
        " FROM events v JOIN tenants t ON t.n = v.tenant WHERE v.n IN (SELECT n FROM (",
        newest!(
            "SELECT l.n AS n",
            "listed_events l CROSS JOIN events v ON v.n = l.n",
            "l.tenant = ?3 AND",
            "l.n",
            "?2"
        ),
        ") UNION ALL SELECT n FROM (",
        newest!(
            "SELECT v.n AS n",
            "events v",
            "",
            "v.n",
            unlisted!("events", "?2")
        ),
        ")) ORDER BY v.n DESC LIMIT ?6"
    ),
    postgres: newest!(shown!(""), "events v", "v.tenant = ?3 AND", "v.n", "?2"),
};
/// The table from the newest down, most of which is the project's own.
const OF_PROJECT: &str = newest!(shown!(""), "events v", "", "v.n", "?2");

impl Store {
    /// The event with this id, and its payload, byte for byte, unless that is gone.
    pub async fn event(&self, scope: Scope, id: EventId) -> Result<Option<(Event, Option<Bytes>)>> {
        self.ask(move |tx| Box::pin(find(tx, scope, id))).await
    }

    /// Events in `scope`, newest first, those older than `before`; at most `limit`. Those of tests are left out.
    pub async fn events(
        &self,
        scope: Scope,
        filter: EventFilter,
        before: Option<i64>,
        limit: u32,
    ) -> Result<Vec<Event>> {
        self.ask(move |tx| Box::pin(page(tx, scope, filter, before, limit)))
            .await
    }
}

async fn find(tx: &mut Tx<'_>, scope: Scope, id: EventId) -> Result<Option<(Event, Option<Bytes>)>> {
    let (tenant, project) = columns(scope);
    tx.row(
        concat!(
            shown!(", v.payload"),
            " FROM events v JOIN tenants t ON t.n = v.tenant WHERE v.n = ?1 AND v.tag = ?2 AND (?3 IS NULL OR v.tenant = ?3) AND (?4 IS NULL OR t.project = ?4)"
        ),
        values![id.n(), id.0.tag, tenant, project],
        |row| {
            let event = read(row)?;
            // It leaves the table a little later than it is gone.
            let payload = row.bytes_or_null(10)?.filter(|_| event.payload_gone.is_none());
            Ok((event, payload.map(Bytes::from)))
        },
    )
    .await
}

async fn page(
    tx: &mut Tx<'_>,
    scope: Scope,
    filter: EventFilter,
    before: Option<i64>,
    limit: u32,
) -> Result<Vec<Event>> {
    let (tenant, project) = columns(scope);
    let (least, below) = filter.period.keys(before);
    let sql = match scope {
        Scope::Tenant(..) => OF_TENANT.of(tx),
        Scope::Root | Scope::Project(_) => OF_PROJECT,
    };
    let event_type = filter.event_type.as_ref().map(|name| name.as_str());
    tx.rows(
        sql,
        values![below, least, tenant, project, event_type, limit],
        read,
    )
    .await
}

fn read(row: &Row<'_>) -> Result<Event> {
    let id = EventId(row.id(0)?);
    Ok(Event {
        id,
        event_id: row.text_or_null(2)?,
        event_type: row.word(3, |name| EventTypeName::parse(name).ok())?,
        tenant: TenantId(row.id(4)?),
        deliveries: row.count(6)?,
        created_at: id.0.made_at(),
        occurred_at: row.time_or_null(7)?,
        channels: read_channels(row.text_or_null(8)?.as_deref())?,
        payload_gone: retention::read_gone(row, 9)?,
    })
}
