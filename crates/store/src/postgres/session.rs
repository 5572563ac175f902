//! One connection to PostgreSQL, with what it has prepared.

use super::{PostgresAddress, words};
use crate::error::{Result, StoreError};
use crate::tx::{Kind, Value};
use std::collections::HashMap;
use std::fmt;
use std::time::Duration;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Statement};

/// How long a new connection may take for its settings.
const SETTINGS_MAX: Duration = Duration::from_secs(5);

/// A connection. It is closed when this is dropped.
pub(crate) struct Session {
    client: Client,
    /// The name that the server knows it by.
    name: String,
    statements: HashMap<&'static str, Statement>,
    /// Whether it is a question that is being asked: one that takes too long is too expensive, not the server's fault.
    asks: bool,
    /// Whether it was found to take no writes, as one that leads to a standby: another one may.
    takes_no_writes: bool,
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl Session {
    /// Connects as `name`, and runs `settings` first.
    pub(crate) async fn open(address: &PostgresAddress, name: String, settings: &str) -> Result<Self> {
        // Bounded for each host: one that is gone must not use up the time of the next.
        let client = address.connect(&name).await?;
        within(SETTINGS_MAX, async { Ok(client.batch_execute(settings).await?) }).await?;
        Ok(Self {
            client,
            name,
            statements: HashMap::new(),
            asks: false,
            takes_no_writes: false,
        })
    }

    /// The name that the server knows it by (`application_name`).
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Whether it is worth keeping: neither gone nor refusing writes.
    pub(crate) fn is_good(&self) -> bool {
        !self.takes_no_writes && !self.client.is_closed()
    }

    /// Refuses a connection that takes no writes.
    pub(crate) async fn check_writable(&self) -> Result<()> {
        let sql = "SELECT current_setting('transaction_read_only')::bool";
        if self.client.query_one(sql, &[]).await?.try_get(0)? {
            let words = "it takes no writes: it is a standby, or default_transaction_read_only is on";
            return Err(StoreError::Unavailable(words.into()));
        }
        Ok(())
    }

    /// The connection itself, for what is more than a statement.
    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    /// Ends connections whose names are like `pattern`; tells how many were still there.
    pub(crate) async fn end_others(&self, pattern: &str) -> Result<i64> {
        let sql = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
                   WHERE application_name LIKE $1 AND pid <> pg_backend_pid()";
        Ok(self.client.query_one(sql, &[&pattern]).await?.try_get(0)?)
    }

    /// Begins a transaction that changes something.
    pub(crate) async fn begin(&mut self) -> Result<()> {
        self.asks = false;
        Ok(self.client.batch_execute("BEGIN").await?)
    }

    /// Begins a transaction that asks something, in one snapshot, each statement within a second.
    pub(crate) async fn begin_question(&mut self) -> Result<()> {
        self.asks = true;
        let begin = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL statement_timeout = 1000";
        Ok(self.client.batch_execute(begin).await?)
    }

    /// Commits what was begun.
    pub(crate) async fn commit(&self) -> Result<()> {
        Ok(self.client.batch_execute("COMMIT").await?)
    }

    /// Undoes what was begun.
    pub(crate) async fn roll_back(&self) -> Result<()> {
        Ok(self.client.batch_execute("ROLLBACK").await?)
    }

    /// Runs a statement of the common language and tells how many rows it changed.
    pub(crate) async fn execute(&mut self, sql: &'static str, values: &[Value<'_>]) -> Result<usize> {
        let running = async {
            let statement = self.prepared_for(sql, values).await?;
            self.client.execute_raw(&statement, values.iter()).await
        };
        let changed = running.await;
        let changed = changed.map_err(|error| self.fault(&error))?;
        Ok(usize::try_from(changed).unwrap_or(usize::MAX))
    }

    /// The rows that a statement of the common language answers.
    pub(crate) async fn query(
        &mut self,
        sql: &'static str,
        values: &[Value<'_>],
    ) -> Result<Vec<tokio_postgres::Row>> {
        let running = async {
            let statement = self.prepared_for(sql, values).await?;
            let values: Vec<&(dyn ToSql + Sync)> = values.iter().map(|value| value as _).collect();
            self.client.query(&statement, &values).await
        };
        let rows = running.await;
        rows.map_err(|error| self.fault(&error))
    }

    fn fault(&mut self, error: &tokio_postgres::Error) -> StoreError {
        self.takes_no_writes |= error.code() == Some(&SqlState::READ_ONLY_SQL_TRANSACTION);
        match error.code() {
            Some(&SqlState::QUERY_CANCELED) if self.asks => StoreError::TooExpensive,
            _ => StoreError::Unavailable(words(error)),
        }
    }

    /// A statement in PostgreSQL's own words, prepared once for each connection.
    pub(crate) async fn prepared(
        &mut self,
        sql: &'static str,
    ) -> std::result::Result<Statement, tokio_postgres::Error> {
        if let Some(known) = self.statements.get(sql) {
            return Ok(known.clone());
        }
        let statement = self.client.prepare(sql).await?;
        self.statements.insert(sql, statement.clone());
        Ok(statement)
    }

    async fn prepared_for(
        &mut self,
        sql: &'static str,
        values: &[Value<'_>],
    ) -> std::result::Result<Statement, tokio_postgres::Error> {
        if let Some(known) = self.statements.get(sql) {
            return Ok(known.clone());
        }
        let types: Vec<Type> = values.iter().map(|value| type_of(value.kind())).collect();
        let statement = self.client.prepare_typed(&in_own_words(sql), &types).await?;
        self.statements.insert(sql, statement.clone());
        Ok(statement)
    }
}

fn type_of(kind: Kind) -> Type {
    match kind {
        Kind::Int => Type::INT8,
        Kind::Text => Type::TEXT,
        Kind::Bytes => Type::BYTEA,
    }
}

/// `?1` is `$1` here. The common language has no other question mark.
fn in_own_words(sql: &str) -> String {
    sql.replace('?', "$")
}

/// Waits for an answer of the server at most so long: a network that swallows everything must not hold anybody.
pub(crate) async fn within<T>(max: Duration, answer: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::time::timeout(max, answer)
        .await
        .unwrap_or_else(|_elapsed| {
            Err(StoreError::Unavailable(format!(
                "the database did not answer within {max:?}"
            )))
        })
}
