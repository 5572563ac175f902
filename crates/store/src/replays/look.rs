//! What lies before a replay. Nothing here changes anything.
//!
//! What an endpoint, or a tenant, has in a range of keys is always found through its list, or the index that begins with it: in the same range may
//! be millions of rows of others.

use super::rows::find;
use super::{Candidate, Extent, Keys, Phase, Turn};
use crate::channels::read_channels;
use crate::error::Result;
use crate::retention::{payload_gone, read_gone};
use crate::tx::{PerEngine, Tx, values};
use stentor_domain::Timestamp;
use stentor_domain::id::{EventId, ReplayId};
use stentor_domain::key::Scope;
use stentor_domain::limits::{REPLAY_DUE_MAX, REPLAY_TOTAL_MAX, REPLAY_UNFINISHED_MAX};
use stentor_domain::name::EventTypeName;
use stentor_domain::replay::{ReplaySpec, ReplayState};

/// A statement over the rows of `$table`, called `$row`, whose `$owner` is 1 and whose keys are above 2 and below 3; `$few` says how
/// many are wanted, where that has a bound. PostgreSQL would go through a narrow range by the primary key instead, whoever has what is in
/// it: compared as a row, the two are found by the index of both only. SQLite finds their keys in a list, and above it.
macro_rules! in_range {
    ($table:tt $row:literal of $owner:literal, $head:expr, $tail:expr, $few:literal) => {
        $crate::tx::PerEngine {
            sqlite: concat!(
                $head,
                " WHERE ",
                $row,
                ".n IN (",
                $crate::of_owner::of_owner!($table, $owner, $crate::of_owner::kept!($table), $few),
                ") ",
                $tail
            ),
            postgres: concat!(
                $head,
                " WHERE ",
                $row,
                ".",
                $owner,
                " = ?1 AND (",
                $row,
                ".",
                $owner,
                ", ",
                $row,
                ".n) > (?1, ?2) AND (",
                $row,
                ".",
                $owner,
                ", ",
                $row,
                ".n) < (?1, ?3) ",
                $tail
            ),
        }
    };
}
pub(super) use in_range;

/// What is due at an endpoint and waits for it.
pub(super) const DUE: &str = "SELECT count(*) FROM
     (SELECT 1 FROM work WHERE shard = ?1 AND endpoint = ?2 AND owner IS NULL AND due_at <= ?3 LIMIT ?4) AS counted";
/// What replays have brought to an endpoint and is unfinished.
pub(super) const UNFINISHED: &str = "SELECT count(*) FROM (SELECT 1 FROM work WHERE endpoint = ?1 AND replay IS NOT NULL LIMIT ?2) AS counted";

pub(super) async fn turn(tx: &mut Tx<'_>, id: ReplayId, now: Timestamp) -> Result<Option<Turn>> {
    let Some(job) = find(tx, Scope::Root, id).await? else {
        return Ok(None);
    };
    if job.stored == ReplayState::Done {
        return Ok(None);
    }
    let endpoint = job.replay.endpoint.n();
    let shard = i64::from(job.shard);
    let due = tx
        .row(DUE, values![shard, endpoint, now, REPLAY_DUE_MAX], |row| {
            row.count(0)
        })
        .await?;
    let unfinished = tx
        .row(UNFINISHED, values![endpoint, REPLAY_UNFINISHED_MAX], |row| {
            row.count(0)
        })
        .await?;
    Ok(Some(Turn {
        stored: job.stored,
        shard: job.shard,
        phase: job.place.phase(),
        keys: job.keys(),
        due: due.unwrap_or(0),
        unfinished: unfinished.unwrap_or(0),
        replay: job.replay,
    }))
}

/// Counts what has ended or waits, by the lists or indexes. Deliveries in a node's memory are not found, and not counted: they are on their
/// way at this moment.
pub(super) const COUNT_FINISHED: PerEngine = in_range!(
    "deliveries" "deliveries" of "endpoint",
    "SELECT count(*) FROM (SELECT 1 FROM deliveries",
    "LIMIT ?4) AS counted",
    "ORDER BY n LIMIT ?4"
);
pub(super) const COUNT_EVENTS: PerEngine = in_range!(
    "events" "events" of "tenant",
    "SELECT count(*) FROM (SELECT 1 FROM events",
    "LIMIT ?4) AS counted",
    "ORDER BY n LIMIT ?4"
);
pub(super) const COUNT_WAITING: &str = "SELECT count(*) FROM
     (SELECT n, event, cause FROM work WHERE shard = ?1 AND endpoint = ?2 AND owner IS NULL LIMIT ?6) AS counted
     WHERE counted.n > ?3 AND counted.n < ?4 AND counted.cause <> 'test'
       AND (?5 IS NULL OR ?5 = (SELECT type FROM events WHERE events.n = counted.event))";

pub(super) async fn extent(tx: &mut Tx<'_>, turn: &Turn) -> Result<Extent> {
    let (spec, endpoint) = (&turn.replay.spec, turn.replay.endpoint.n());
    let Keys { after, before } = turn.keys;
    let mut unfinished = 0;
    let mut counted = Vec::new();
    if spec.reopens() {
        let values = values![endpoint, after, before, REPLAY_TOTAL_MAX];
        counted.extend(tx.row(COUNT_FINISHED.of(tx), values, |row| row.count(0)).await?);
    }
    if spec.missing {
        let values = values![turn.replay.tenant.n(), after, before, REPLAY_TOTAL_MAX];
        counted.extend(tx.row(COUNT_EVENTS.of(tx), values, |row| row.count(0)).await?);
    }
    // One that names a state means none that is unfinished.
    if spec.reopens() && spec.state.is_none() {
        let event_type = spec.event_type.as_ref().map(|name| name.as_str());
        let shard = i64::from(turn.shard);
        let values = values![shard, endpoint, after, before, event_type, REPLAY_UNFINISHED_MAX];
        let waiting = tx.row(COUNT_WAITING, values, |row| row.count(0)).await?;
        unfinished = u64::from(waiting.unwrap_or(0));
    }
    let countable = counted.iter().all(|count| *count < REPLAY_TOTAL_MAX);
    let sum: u64 = counted.into_iter().map(u64::from).sum();
    Ok(Extent {
        total: countable.then_some(sum + unfinished),
        unfinished,
    })
}

/// A delivery that has ended, as a replay looks at it.
pub(super) struct Finished {
    pub(super) n: i64,
    /// Is it one of those that the replay is to send again?
    pub(super) named: bool,
    payload_gone: bool,
}

impl Finished {
    pub(super) fn replayable(&self) -> bool {
        self.named && !self.payload_gone
    }
}

/// What makes a delivery `d` of an event `v` one that a replay names: 4 the state and 5 the type, each NULL for any.
macro_rules! named {
    () => {
        "d.cause <> 'test' AND (?4 IS NULL OR d.state = ?4) AND (?5 IS NULL OR v.type = ?5)"
    };
}
pub(super) use named;

/// Everything in the range is looked at, so that a look has a bound whatever is named.
pub(super) const FINISHED: PerEngine = in_range!(
    "deliveries" "d" of "endpoint",
    concat!(
        "SELECT d.n, CASE WHEN ",
        named!(),
        " THEN 1 ELSE 0 END, ",
        payload_gone!(),
        " FROM deliveries d JOIN events v ON v.n = d.event JOIN tenants t ON t.n = v.tenant"
    ),
    "ORDER BY d.n LIMIT ?6",
    "ORDER BY n LIMIT ?6"
);

pub(super) async fn finished(
    tx: &mut Tx<'_>,
    endpoint: i64,
    spec: &ReplaySpec,
    keys: Keys,
    limit: u32,
) -> Result<Vec<Finished>> {
    let state = spec.state.map(|state| state.as_str());
    let event_type = spec.event_type.as_ref().map(|name| name.as_str());
    let values = values![endpoint, keys.after, keys.before, state, event_type, limit];
    tx.rows(FINISHED.of(tx), values, |row| {
        Ok(Finished {
            n: row.int(0)?,
            named: row.flag(1)?,
            payload_gone: read_gone(row, 2)?.is_some(),
        })
    })
    .await
}

/// Is a fan-out under way in this range?
pub(super) const FANNING_OUT: &str =
    "SELECT event FROM fanout WHERE event > ?2 AND event < ?3 AND tenant = ?1 LIMIT 1";

/// Events, and whether each has a delivery for the endpoint: one that has ended, by its event; an unfinished one close behind its
/// event by key, any other by the index `work_late`, which has exactly those. (A sum is found by no index.) Of an event so old that
/// what was finished of it is gone, nobody knows: it counts as one that has.
pub(super) const CANDIDATES: PerEngine = in_range!(
    "events" "v" of "tenant",
    concat!(
        "SELECT v.n, v.tag, v.type, ",
        payload_gone!(),
        ", CASE WHEN v.meta = 'test' OR v.n < (SELECT deliveries_below FROM retention WHERE one = 1) THEN 1
            WHEN EXISTS (SELECT 1 FROM deliveries d WHERE d.event = v.n AND d.n > v.n AND d.endpoint + 0 = ?4) THEN 1
            WHEN EXISTS (SELECT 1 FROM work w
                         WHERE w.n > v.n AND w.n < v.n + 104857600 AND w.event = v.n AND w.endpoint + 0 = ?4) THEN 1
            WHEN EXISTS (SELECT 1 FROM work w
                         WHERE w.n - w.event >= 104857600 AND w.event = v.n AND w.endpoint + 0 = ?4) THEN 1
            ELSE 0 END, v.channels
         FROM events v JOIN tenants t ON t.n = v.tenant"
    ),
    "ORDER BY v.n LIMIT ?5",
    "ORDER BY n LIMIT ?5"
);

pub(super) async fn candidates(
    tx: &mut Tx<'_>,
    tenant: i64,
    endpoint: i64,
    keys: Keys,
    limit: u32,
) -> Result<Option<Vec<Candidate>>> {
    let values = values![tenant, keys.after, keys.before];
    if tx.row(FANNING_OUT, values, |row| row.int(0)).await?.is_some() {
        return Ok(None);
    }
    let values = values![tenant, keys.after, keys.before, endpoint, limit];
    let candidates = tx
        .rows(CANDIDATES.of(tx), values, |row| {
            Ok(Candidate {
                id: EventId(row.id(0)?),
                event_type: row.word(2, |name| EventTypeName::parse(name).ok())?,
                payload_gone: read_gone(row, 3)?.is_some(),
                delivered: row.flag(4)?,
                channels: read_channels(row.text_or_null(5)?.as_deref())?,
            })
        })
        .await?;
    Ok(Some(candidates))
}

/// A count of rows that were asked for with a limit.
pub(super) fn count(rows: usize) -> u32 {
    u32::try_from(rows).unwrap_or(u32::MAX)
}

/// What comes after a phase.
pub(super) fn next_phase(spec: &ReplaySpec, phase: Phase) -> Option<Phase> {
    (phase == Phase::Finished && spec.missing).then_some(Phase::Missing)
}
