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
/// Attempts that one statement removes.
const SLICE_ROWS: i64 = 5_000;
/// Making and dropping lock out everybody for a moment; it is tried again later rather than letting publishers wait.
const BEGIN: &str = "BEGIN; SET LOCAL lock_timeout = '2s'";
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

/// Drops the days that ended before `until`, events and deliveries with their attempts; tells the partitions. A day with an
/// unfinished delivery stays.
pub(crate) async fn drop_before(session: &Session, until: Timestamp) -> Result<Vec<String>> {
    let client = session.client();
    let days = client
        .query(
            "SELECT c.relname::text, extract(epoch FROM to_date(substring(c.relname FROM '\\d{8}$'), 'YYYYMMDD'))::bigint
             FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
             WHERE i.inhparent IN ('events'::regclass, 'deliveries'::regclass) AND c.relname ~ '_\\d{8}$'
             ORDER BY 2, 1 DESC",
            &[],
        )
        .await?;
    let mut dropped = Vec::new();
    for row in days {
        let day = Day {
            partition: row.try_get(0)?,
            begins: row.try_get(1)?,
        };
        if day.begins + DAY_SECONDS <= until.seconds() && drop_day(session, &day).await? {
            dropped.push(day.partition);
        }
    }
    Ok(dropped)
}

async fn drop_day(session: &Session, day: &Day) -> Result<bool> {
    let (least, end) = day.keys();
    let client = session.client();
    let partition = &day.partition;
    client.batch_execute(BEGIN).await?;
    let unfinished = client
        .query_one(
            "SELECT EXISTS (SELECT 1 FROM work WHERE event >= $1 AND event < $2)",
            &[&least, &end],
        )
        .await?;
    if unfinished.try_get(0)? {
        tracing::warn!(
            partition,
            "a day stays, since deliveries of its events are unfinished"
        );
        client.batch_execute("ROLLBACK").await?;
        return Ok(false);
    }
    let sql = format!("DROP TABLE {partition}; COMMIT");
    if let Err(error) = client.batch_execute(&sql).await {
        client.batch_execute("ROLLBACK").await?;
        return Err(StoreError::Unavailable(format!(
            "the partition {partition} cannot be dropped: {}",
            words(&error)
        )));
    }
    if partition.starts_with("deliveries") {
        drop_attempts(session, (least, end)).await?;
    }
    Ok(true)
}

async fn drop_attempts(session: &Session, (least, end): (i64, i64)) -> Result<()> {
    let sql = "DELETE FROM attempts WHERE ctid IN
                 (SELECT ctid FROM attempts WHERE delivery >= $1 AND delivery < $2 LIMIT $3)";
    while session
        .client()
        .execute(sql, &[&least, &end, &SLICE_ROWS])
        .await?
        > 0
    {}
    Ok(())
}
