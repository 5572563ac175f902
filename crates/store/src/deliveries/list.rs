//! Pages of deliveries, over both tables.
//!
//! A page takes up to its limit from each table and merges them by key. How the finished ones are found depends on what
//! is asked, so that nobody's list reads the rows of others:
//! - of an event: the index `deliveries_of_event`;
//! - of an endpoint: the index `deliveries_of_endpoint`, from the newest down; on SQLite its list, and what is above it;
//! - of a tenant: the same, a page for each of its endpoints, deleted ones too;
//! - of a project: the table from the newest down, most of which is the project's own. Those of Stentor's own events are shown
//!   where their endpoint or their event is named.
//!
//! `work` has no index for lists, since the hot path would pay for it with every delivery: it is read from the newest
//! down. It holds only what is unfinished; a question that a huge backlog makes too expensive is stopped and says so.

use super::DeliveryFilter;
use super::read::{finished, read, unfinished};
use crate::error::Result;
use crate::of_owner::unlisted;
use crate::period::columns;
use crate::tx::{PerEngine, Tx, values};
use stentor_domain::delivery::{Delivery, State};
use stentor_domain::key::Scope;

/// Unfinished deliveries. Parameters, here as in all statements of this file: 1 the key to stay below, 2 the least key,
/// 3 tenant, 4 project, 5 endpoint, 6 event, 7 type (each NULL for any), 8 to 12 the states that are wanted (NULL in the
/// place of one that is not), 13 whether tests are left out, 14 how many.
pub(super) const UNFINISHED: &str = concat!(
    "SELECT * FROM (",
    unfinished!(""),
    " WHERE w.n < ?1 AND w.n >= ?2 AND (?3 IS NULL OR w.tenant = ?3) AND (?4 IS NULL OR (t.project = ?4 AND (t.kind = 'customer' OR ?5 IS NOT NULL OR ?6 IS NOT NULL)))
        AND (?5 IS NULL OR w.endpoint = ?5) AND (?6 IS NULL OR w.event = ?6) AND (?7 IS NULL OR v.type = ?7)
        AND (?13 = 0 OR w.cause <> 'test')
     ) AS unfinished WHERE state IN (?8, ?9, ?10, ?11, ?12) ORDER BY n DESC LIMIT ?14"
);

/// Finished deliveries whose keys `$pick` answers.
macro_rules! picked {
    ($pick:expr) => {
        concat!(
            finished!(""),
            " WHERE d.n IN (",
            $pick,
            ") ORDER BY d.n DESC LIMIT ?14"
        )
    };
}

/// The newest keys of the deliveries `p` in `$from` where `$path`, the way in, and the filter hold; `$n` is their key, which is at
/// least `$least`.
macro_rules! newest {
    ($from:literal, $path:expr, $n:literal, $least:expr) => {
        concat!(
            "SELECT ",
            $n,
            " AS n FROM ",
            $from,
            " WHERE ",
            $path,
            " ",
            $n,
            " < ?1 AND ",
            $n,
            " >= ",
            $least,
            " AND (?3 IS NULL OR p.tenant = ?3)
              AND (?4 IS NULL OR ?4 = (SELECT project FROM tenants WHERE tenants.n = p.tenant
                                        AND (kind = 'customer' OR ?5 IS NOT NULL OR ?6 IS NOT NULL)))
              AND (?5 IS NULL OR p.endpoint = ?5) AND (?6 IS NULL OR p.event = ?6)
              AND (?7 IS NULL OR ?7 = (SELECT type FROM events WHERE events.n = p.event))
              AND p.state IN (?8, ?9, ?10, ?11, ?12) AND (?13 = 0 OR p.cause <> 'test')
             ORDER BY ",
            $n,
            " DESC LIMIT ?14"
        )
    };
    ($path:literal) => {
        newest!("deliveries p", $path, "p.n", "?2")
    };
}

/// The newest of an endpoint's list on SQLite.
macro_rules! newest_listed {
    ($endpoint:literal) => {
        newest!(
            "listed_deliveries l CROSS JOIN deliveries p",
            concat!("l.endpoint = ", $endpoint, " AND p.n = l.n AND"),
            "l.n",
            "?2"
        )
    };
}

/// The keys that `$listed` answers, and the newest of those that no list has yet.
macro_rules! with_those_above {
    ($listed:expr) => {
        concat!(
            $listed,
            " UNION ALL SELECT n FROM (",
            newest!("deliveries p", "", "p.n", unlisted!("deliveries", "?2")),
            ")"
        )
    };
}

pub(super) const OF_EVENT: &str = picked!(newest!("p.event = ?6 AND"));
pub(super) const OF_PROJECT: &str = picked!(newest!(""));
pub(super) const OF_ENDPOINT: PerEngine = PerEngine {
    sqlite: picked!(with_those_above!(concat!(
        "SELECT n FROM (",
        newest_listed!("?5"),
        ")"
    ))),
    postgres: picked!(newest!("p.endpoint = ?5 AND")),
};
/// PostgreSQL would ask the inner question once for every pair of an endpoint and a delivery, and SQLite has no LATERAL.
pub(super) const OF_TENANT: PerEngine = PerEngine {
    sqlite: picked!(with_those_above!(concat!(
        "SELECT q.n FROM endpoints o JOIN deliveries q ON q.n IN (",
        newest_listed!("o.n"),
        ") WHERE o.tenant = ?3"
    ))),
    postgres: picked!(concat!(
        "SELECT q.n FROM endpoints o CROSS JOIN LATERAL (",
        newest!("p.endpoint = o.n AND"),
        ") AS q WHERE o.tenant = ?3"
    )),
};

/// The page after `before`.
pub(super) async fn page(
    tx: &mut Tx<'_>,
    scope: Scope,
    filter: DeliveryFilter,
    before: Option<i64>,
    limit: u32,
) -> Result<Vec<Delivery>> {
    let (tenant, project) = columns(scope);
    let (mut least, below) = filter.period.keys(before);
    if let Some(event) = filter.event {
        // An event's id is made before those of its deliveries, which spares looking through older ones.
        least = least.max(event.n());
    }
    let wants = |state| filter.states.is_empty() || filter.states.contains(&state);
    let [one, two, three, four, five] = State::ALL.map(|state| wants(state).then_some(state.as_str()));
    let values = values![
        below,
        least,
        tenant,
        project,
        filter.endpoint.map(|endpoint| endpoint.n()),
        filter.event.map(|event| event.n()),
        filter.event_type.as_ref().map(|name| name.as_str()),
        one,
        two,
        three,
        four,
        five,
        filter.without_tests,
        limit,
    ];
    let finished = match (filter.event, filter.endpoint, scope) {
        (Some(_), _, _) => OF_EVENT,
        (_, Some(_), _) => OF_ENDPOINT.of(tx),
        (_, _, Scope::Tenant(..)) => OF_TENANT.of(tx),
        (_, _, Scope::Root | Scope::Project(_)) => OF_PROJECT,
    };
    let mut deliveries = Vec::new();
    if [State::Delivered, State::Exhausted, State::Cancelled]
        .into_iter()
        .any(wants)
    {
        deliveries.extend(tx.rows(finished, values, read).await?);
    }
    // What is unfinished in `work` reads as cancelled once its endpoint is deleted.
    if [State::Pending, State::Held, State::Cancelled]
        .into_iter()
        .any(wants)
    {
        deliveries.extend(tx.rows(UNFINISHED, values, read).await?);
    }
    deliveries.retain(|delivery| names(&filter, delivery));
    deliveries.sort_unstable_by_key(|delivery| std::cmp::Reverse(delivery.id.n()));
    deliveries.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
    Ok(deliveries)
}

/// Is it of the very endpoint and event that the filter names? A key with another tag is another's id, or nobody's.
fn names(filter: &DeliveryFilter, delivery: &Delivery) -> bool {
    filter.endpoint.is_none_or(|id| id == delivery.endpoint)
        && filter.event.is_none_or(|id| id == delivery.event)
}
