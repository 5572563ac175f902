//! Events and finished deliveries lie in partitions, one for each day of their keys, so that a day that has expired is
//! dropped whole instead of row by row.
//!
//! Days are made ahead: a week may pass in which that fails (somebody holds a lock, a right was taken away) before a row
//! finds no day of its own. Such a row goes into the default partition, where it is as good as anywhere but for being
//! dropped; that is logged as an error, since it also keeps its day from being made.

use super::migrate::SCHEMA_LOCK;
use super::session::Session;
use super::words;
use crate::error::{Result, StoreError};
use stentor_domain::Timestamp;
use stentor_domain::id::Id;
use tokio_postgres::error::SqlState;

const DAY_SECONDS: i64 = 86_400;
/// Days that are made before they come.
const DAYS_AHEAD: i64 = 7;
/// Making locks out everybody for a moment; it is tried again later rather than letting publishers wait.
const BEGIN: &str = "BEGIN; SET LOCAL lock_timeout = '2s'";
/// Dropping is in no hurry at all: whoever publishes waits behind whoever waits for this lock.
const BEGIN_DROP: &str = "BEGIN; SET LOCAL lock_timeout = '20ms'";
/// Rows are only added, until the whole day goes: vacuuming after each fifth more would read it again and again.
const STORAGE: &str = "autovacuum_vacuum_insert_scale_factor = 0, autovacuum_vacuum_insert_threshold = 2000000, \
                       autovacuum_analyze_scale_factor = 0, autovacuum_analyze_threshold = 1000000";

/// A day that has no partition, or one that is there.
struct Day {
    partition: String,
    /// Its first second.
    begins: i64,
}

impl Day {
    /// The keys that belong to it: from the first to below the second.
    fn keys(&self) -> (i64, i64) {
        let key = |seconds| Id::least_key_at(Timestamp::from_seconds(seconds));
        (key(self.begins), key(self.begins + DAY_SECONDS))
    }
}

/// Makes the days from the one of `now` on that are missing, as far as they can be made; tells how many. Of several processes
/// that find some missing at once one makes them, and the others wait. After an error the connection is not to be used any
/// more.
pub(crate) async fn make(session: &Session, now: Timestamp) -> Result<usize> {
    let client = session.client();
    client
        .execute("SELECT pg_advisory_lock($1)", &[&SCHEMA_LOCK])
        .await?;
    let made = make_missing(session, now).await?;
    client
        .execute("SELECT pg_advisory_unlock($1)", &[&SCHEMA_LOCK])
        .await?;
    Ok(made)
}

async fn make_missing(session: &Session, now: Timestamp) -> Result<usize> {
    let first = now.seconds().div_euclid(DAY_SECONDS) * DAY_SECONDS;
    let client = session.client();
    let missing = client
        .query(
            "SELECT t || day, begins FROM unnest(ARRAY['events_', 'deliveries_']) AS tables (t), LATERAL (
               SELECT to_char(to_timestamp(second::float8) AT TIME ZONE 'UTC', 'YYYYMMDD') AS day, second AS begins
               FROM generate_series($1::bigint, $2::bigint, 86400) AS seconds (second)) AS days
             WHERE to_regclass(t || day) IS NULL ORDER BY begins",
            &[&first, &(first + DAYS_AHEAD * DAY_SECONDS)],
        )
        .await?;
    let mut made = 0;
    for row in &missing {
        let day = Day {
            partition: row.try_get(0)?,
            begins: row.try_get(1)?,
        };
        let parent = day.partition.split('_').next().unwrap_or_default();
        let (least, end) = day.keys();
        let partition = &day.partition;
        // Attaching locks the parent less than making the partition in its place.
        let sql = format!(
            "{BEGIN}; CREATE TABLE IF NOT EXISTS {partition} (LIKE {parent} INCLUDING ALL) WITH ({STORAGE});
             ALTER TABLE {parent} ATTACH PARTITION {partition} FOR VALUES FROM ({least}) TO ({end}); COMMIT"
        );
        let Err(error) = client.batch_execute(&sql).await else {
            made += 1;
            continue;
        };
        client.batch_execute("ROLLBACK").await?;
        let why = words(&error);
        tracing::error!(
            partition,
            error = why,
            "a partition cannot be made; what belongs into it goes into the default one, and will not expire with its day"
        );
        if error.code() == Some(&SqlState::LOCK_NOT_AVAILABLE) {
            // Whoever holds the table keeps all others from being made, too.
            break;
        }
    }
    Ok(made)
}

/// Says so where rows have found no day of their own.
pub(crate) async fn look_for_strays(session: &Session) -> Result<bool> {
    let row = session
        .client()
        .query_one(
            "SELECT EXISTS (SELECT 1 FROM events_default), EXISTS (SELECT 1 FROM deliveries_default)",
            &[],
        )
        .await?;
    let strays = row.try_get(0)? || row.try_get::<_, bool>(1)?;
    if strays {
        tracing::error!(
            "events or deliveries lie in a default partition, and will not expire with their day: partitions could not be \
             made in time, or the clock was wrong"
        );
    }
    Ok(strays)
}

/// What became of days that were to go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DaysDropped {
    /// The partitions that are gone.
    pub partitions: Vec<String>,
    /// Others were to go, too, and stay for now.
    pub more: bool,
}

/// Drops the days of events and of finished deliveries whose keys all are below these: the one way in which a day's space is
/// given back at once. A day of events with an unfinished delivery stays. So does one that somebody is just reading, as a
/// backup does: nobody else could publish while this waits for it, so it does not wait.
pub(crate) async fn drop_below(
    session: &Session,
    events_below: i64,
    deliveries_below: i64,
) -> Result<DaysDropped> {
    let days = session
        .client()
        .query(
            "SELECT c.relname::text, extract(epoch FROM to_date(substring(c.relname FROM '\\d{8}$'), 'YYYYMMDD'))::bigint
             FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
             WHERE i.inhparent IN ('events'::regclass, 'deliveries'::regclass) AND c.relname ~ '_\\d{8}$'
             ORDER BY 2, 1",
            &[],
        )
        .await?;
    let mut dropped = DaysDropped::default();
    for row in days {
        let day = Day {
            partition: row.try_get(0)?,
            begins: row.try_get(1)?,
        };
        let has_events = day.partition.starts_with("events");
        let below = if has_events {
            events_below
        } else {
            deliveries_below
        };
        if day.keys().1 > below {
            continue;
        }
        if (has_events && is_unfinished(session, &day).await?) || !drop_day(session, &day).await? {
            dropped.more = true;
        } else {
            dropped.partitions.push(day.partition);
        }
    }
    Ok(dropped)
}

async fn is_unfinished(session: &Session, day: &Day) -> Result<bool> {
    let (least, end) = day.keys();
    let sql = "SELECT EXISTS (SELECT 1 FROM work WHERE event >= $1 AND event < $2)";
    let row = session.client().query_one(sql, &[&least, &end]).await?;
    Ok(row.try_get(0)?)
}

/// Tells whether it is gone; not where somebody else holds it or its table.
async fn drop_day(session: &Session, day: &Day) -> Result<bool> {
    let client = session.client();
    let partition = &day.partition;
    let sql = format!("{BEGIN_DROP}; DROP TABLE {partition}; COMMIT");
    let Err(error) = client.batch_execute(&sql).await else {
        return Ok(true);
    };
    client.batch_execute("ROLLBACK").await?;
    if error.code() == Some(&SqlState::LOCK_NOT_AVAILABLE) {
        tracing::debug!(partition, "a day is being read; it is dropped later");
        return Ok(false);
    }
    Err(StoreError::Unavailable(format!(
        "the partition {partition} cannot be dropped: {}",
        words(&error)
    )))
}
