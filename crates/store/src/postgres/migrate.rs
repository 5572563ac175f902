//! The schema's versions on PostgreSQL: all that are missing in one transaction, under a lock, so that of several processes
//! that start at once one migrates and the others wait.

use super::session::Session;
use crate::error::{Result, StoreError};
use crate::migrations::{self, MIGRATIONS};
use std::ops::Range;
use tokio_postgres::error::SqlState;

/// Whoever changes the schema holds this one of the database's advisory locks: "stentor" in ASCII.
pub(super) const SCHEMA_LOCK: i64 = 0x0073_7465_6e74_6f72;

/// Brings the schema up to date and tells which versions were applied.
pub(crate) async fn migrate(session: &Session) -> Result<Range<usize>> {
    let client = session.client();
    let begun = client
        .batch_execute(&format!(
            "BEGIN; SET LOCAL lock_timeout = '30s'; SET LOCAL statement_timeout = 0; SELECT pg_advisory_xact_lock({SCHEMA_LOCK});
             CREATE TABLE IF NOT EXISTS schema_version (one BIGINT PRIMARY KEY CHECK (one = 1), version BIGINT NOT NULL);
             INSERT INTO schema_version (one, version) VALUES (1, 0) ON CONFLICT DO NOTHING"
        ))
        .await;
    begun.map_err(|error| explain(&error))?;
    let row = client
        .query_one("SELECT version FROM schema_version", &[])
        .await?;
    let at = migrations::known(row.try_get(0)?)?;
    for sql in MIGRATIONS.iter().skip(at) {
        let made = client.batch_execute(&in_own_words(sql)).await;
        made.map_err(|error| explain(&error))?;
    }
    let newest = MIGRATIONS.len();
    client
        .batch_execute(&format!("UPDATE schema_version SET version = {newest}; COMMIT"))
        .await?;
    Ok(at..newest)
}

/// Whether the schema was ever made.
pub(crate) async fn is_there(session: &Session) -> Result<bool> {
    let row = session
        .client()
        .query_one("SELECT to_regclass('meta') IS NOT NULL", &[])
        .await?;
    Ok(row.try_get(0)?)
}

fn in_own_words(sql: &str) -> String {
    sql.replace("--pg ", "")
        .replace(" KEYLESS;", ";")
        .replace(") BY_DAY;", ") PARTITION BY RANGE (n);")
}

fn explain(error: &tokio_postgres::Error) -> StoreError {
    match error.code() {
        Some(&SqlState::LOCK_NOT_AVAILABLE) => StoreError::Unavailable(
            "another process has been migrating this database for half a minute".into(),
        ),
        Some(&SqlState::INSUFFICIENT_PRIVILEGE) => StoreError::Unavailable(format!(
            "the role may not make what Stentor needs in this database; make it the owner of the database, or grant it \
             CREATE on the schema: {}",
            super::words(error)
        )),
        _ => StoreError::Unavailable(format!(
            "the schema cannot be brought up to date: {}",
            super::words(error)
        )),
    }
}
