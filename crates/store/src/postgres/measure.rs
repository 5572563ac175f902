//! What a measurement needs of a PostgreSQL server: a database of its own there, and what the server counts.

use super::session::Session;
use super::{PostgresAddress, START_SETTINGS, words};
use crate::error::{Result, StoreError};
use tokio_postgres::error::SqlState;

const NAME: &str = "stentor bench";

/// Rows of partitions are told as those of their table.
const COUNTS: &str = "
SELECT coalesce(parent.relname, s.relname)::text, sum(n_tup_ins)::bigint, sum(n_tup_upd)::bigint,
       sum(n_tup_upd - n_tup_hot_upd)::bigint, sum(n_tup_del)::bigint, sum(n_dead_tup)::bigint,
       sum(pg_total_relation_size(s.relid))::bigint, sum(vacuum_count + autovacuum_count)::bigint
FROM pg_stat_user_tables s LEFT JOIN pg_inherits i ON i.inhrelid = s.relid LEFT JOIN pg_class parent ON parent.oid = i.inhparent
GROUP BY 1 ORDER BY 1";

/// Makes an empty database on the server that `server` names. Its user needs the right to do so.
pub async fn make_database(server: &PostgresAddress, name: &str) -> Result<()> {
    let session = Session::open(server, NAME.into(), START_SETTINGS).await?;
    // Nobody may be connected to the other template, which somebody always is.
    let sql = format!("CREATE DATABASE {} TEMPLATE template0", quoted(name));
    let made = session.client().batch_execute(&sql).await;
    made.map_err(|error| match error.code() {
        Some(&SqlState::INSUFFICIENT_PRIVILEGE) => StoreError::Unavailable(format!(
            "its user may not make databases, of which a measurement needs one of its own: {}; a superuser grants the right \
             with ALTER ROLE ... CREATEDB",
            words(&error)
        )),
        _ => error.into(),
    })
}

/// Drops a database with everything in it, whoever is still connected; one that is not there is no error.
pub async fn drop_database(server: &PostgresAddress, name: &str) -> Result<()> {
    let session = Session::open(server, NAME.into(), START_SETTINGS).await?;
    let sql = format!("DROP DATABASE IF EXISTS {}", quoted(name));
    let forced = format!("{sql} WITH (FORCE)");
    match session.client().batch_execute(&forced).await {
        // Autovacuum is at work there, whose process only a superuser may end; without force the server ends it itself.
        Err(error) if error.code() == Some(&SqlState::INSUFFICIENT_PRIVILEGE) => {
            Ok(session.client().batch_execute(&sql).await?)
        }
        dropped => Ok(dropped?),
    }
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A connection that looks on and writes nothing.
#[derive(Debug)]
pub struct Observer(Session);

/// The server, and what it promises of a commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerFacts {
    /// As in `15.14`, with what the packager adds.
    pub version: String,
    /// Whether it waits for the disk at all.
    pub fsync: bool,
    /// As Stentor's connections have it.
    pub synchronous_commit: String,
    /// The process that serves the observer, as the server's machine numbers it.
    pub backend: i32,
}

/// What happened to the rows of a table since its database was made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TableCounts {
    /// Its name; partitions are counted with what they are parts of.
    pub table: String,
    /// Rows inserted.
    pub inserted: u64,
    /// Rows updated.
    pub updated: u64,
    /// Of the updated ones those that needed new entries in the indexes.
    pub updated_not_hot: u64,
    /// Rows deleted.
    pub deleted: u64,
    /// Versions of rows that wait to be vacuumed, as the server estimates it.
    pub dead: u64,
    /// What it takes on disk, with its indexes.
    pub bytes: u64,
    /// How often it was vacuumed.
    pub vacuums: u64,
}

impl Observer {
    /// Connects to the database.
    pub async fn connect(address: &PostgresAddress) -> Result<Self> {
        Ok(Self(Session::open(address, NAME.into(), START_SETTINGS).await?))
    }

    /// What the server is.
    pub async fn facts(&self) -> Result<ServerFacts> {
        let sql = "SELECT current_setting('server_version'), current_setting('fsync') = 'on',
                          current_setting('synchronous_commit'), pg_backend_pid()";
        let row = self.0.client().query_one(sql, &[]).await?;
        Ok(ServerFacts {
            version: row.try_get(0)?,
            fsync: row.try_get(1)?,
            synchronous_commit: row.try_get(2)?,
            backend: row.try_get(3)?,
        })
    }

    /// Bytes that the server has written to its log so far, whoever for.
    pub async fn wal_bytes(&self) -> Result<u64> {
        let sql = "SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')::bigint";
        let row = self.0.client().query_one(sql, &[]).await?;
        Ok(unsigned(row.try_get(0)?))
    }

    /// Whether nobody else is connected to the database any more. Only then has everybody told what he did.
    pub async fn is_alone(&self) -> Result<bool> {
        let sql = "SELECT NOT EXISTS (SELECT 1 FROM pg_stat_activity WHERE datname = current_database()
                   AND pid <> pg_backend_pid() AND backend_type = 'client backend')";
        Ok(self.0.client().query_one(sql, &[]).await?.try_get(0)?)
    }

    /// What happened to the rows of each table.
    pub async fn counts(&self) -> Result<Vec<TableCounts>> {
        let rows = self.0.client().query(COUNTS, &[]).await?;
        let counts = rows.iter().map(|row| {
            let count = |at: usize| row.try_get(at).map(unsigned);
            Ok(TableCounts {
                table: row.try_get(0)?,
                inserted: count(1)?,
                updated: count(2)?,
                updated_not_hot: count(3)?,
                deleted: count(4)?,
                dead: count(5)?,
                bytes: count(6)?,
                vacuums: count(7)?,
            })
        });
        Ok(counts.collect::<std::result::Result<_, tokio_postgres::Error>>()?)
    }
}

/// What is counted is never below zero.
fn unsigned(count: i64) -> u64 {
    u64::try_from(count).unwrap_or(0)
}
