//! One transaction, on whichever database there is. Control-plane operations are written once, as functions over [`Tx`]
//! with portable SQL: `?1` placeholders, BIGINT microseconds, `ON CONFLICT`, `RETURNING`, no `now()`. What an engine adds
//! to that language: PostgreSQL gets `$1` for `?1`, and is told the type of each parameter.

use crate::error::{Result, StoreError};
use crate::postgres::Session;
use stentor_domain::Timestamp;
use stentor_domain::id::Id;

/// A transaction, or a connection on its way to one. Each arm is an engine.
#[derive(Debug)]
pub(crate) enum Tx<'c> {
    /// The embedded database, on which no step ever waits.
    Sqlite(&'c mut rusqlite::Connection),
    /// A PostgreSQL server.
    Postgres(&'c mut Session),
}

/// A parameter of a statement.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Value<'a> {
    /// NULL of a type.
    Null(Kind),
    /// Any integer: keys, times, flags.
    Int(i64),
    /// Text.
    Text(&'a str),
    /// Bytes: payloads, sealed secrets, hashes.
    Bytes(&'a [u8]),
}

/// The type of a parameter, which PostgreSQL wants to know of a NULL too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// BIGINT.
    Int,
    /// TEXT.
    Text,
    /// BYTEA.
    Bytes,
}

/// A row of an answer, read by position.
#[derive(Debug)]
pub(crate) enum Row<'a> {
    /// Of the embedded database.
    Sqlite(&'a rusqlite::Row<'a>),
    /// Of a PostgreSQL server.
    Postgres(&'a tokio_postgres::Row),
}

impl Tx<'_> {
    /// Runs a statement and tells how many rows it changed.
    pub(crate) async fn execute(&mut self, sql: &'static str, values: &[Value<'_>]) -> Result<usize> {
        match self {
            Self::Sqlite(connection) => {
                let mut statement = connection.prepare_cached(sql)?;
                Ok(statement.execute(rusqlite::params_from_iter(values))?)
            }
            Self::Postgres(session) => session.execute(sql, values).await,
        }
    }

    /// Runs a statement that must change exactly one row.
    pub(crate) async fn execute_one(&mut self, sql: &'static str, values: &[Value<'_>]) -> Result<()> {
        match self.execute(sql, values).await? {
            1 => Ok(()),
            rows => Err(StoreError::Unreadable(format!(
                "{rows} rows changed where one was meant: {sql}"
            ))),
        }
    }

    /// The rows that a statement answers, each read by `read`.
    pub(crate) async fn rows<T: Send>(
        &mut self,
        sql: &'static str,
        values: &[Value<'_>],
        mut read: impl FnMut(&Row<'_>) -> Result<T> + Send,
    ) -> Result<Vec<T>> {
        match self {
            Self::Sqlite(connection) => {
                let mut statement = connection.prepare_cached(sql)?;
                let mut rows = statement.query(rusqlite::params_from_iter(values))?;
                let mut all = Vec::new();
                while let Some(row) = rows.next()? {
                    all.push(read(&Row::Sqlite(row))?);
                }
                Ok(all)
            }
            Self::Postgres(session) => {
                let rows = session.query(sql, values).await?;
                rows.iter().map(|row| read(&Row::Postgres(row))).collect()
            }
        }
    }

    /// The first row that a statement answers, if any.
    pub(crate) async fn row<T: Send>(
        &mut self,
        sql: &'static str,
        values: &[Value<'_>],
        read: impl FnMut(&Row<'_>) -> Result<T> + Send,
    ) -> Result<Option<T>> {
        Ok(self.rows(sql, values, read).await?.into_iter().next())
    }
}

/// A statement in the words of each engine.
pub(crate) struct PerEngine {
    pub(crate) sqlite: &'static str,
    pub(crate) postgres: &'static str,
}

impl PerEngine {
    /// In the words of this transaction's engine.
    pub(crate) fn of(&self, tx: &Tx<'_>) -> &'static str {
        match tx {
            Tx::Sqlite(_) => self.sqlite,
            Tx::Postgres(_) => self.postgres,
        }
    }
}

impl Row<'_> {
    /// The integer in column `at`.
    pub(crate) fn int(&self, at: usize) -> Result<i64> {
        match self {
            Self::Sqlite(row) => Ok(row.get(at)?),
            Self::Postgres(row) => Ok(row.try_get::<_, Whole>(at)?.0),
        }
    }

    /// The integer in column `at`, if it is not NULL.
    pub(crate) fn int_or_null(&self, at: usize) -> Result<Option<i64>> {
        match self {
            Self::Sqlite(row) => Ok(row.get(at)?),
            Self::Postgres(row) => Ok(row.try_get::<_, Option<Whole>>(at)?.map(|whole| whole.0)),
        }
    }

    /// The id whose key is in column `at` and whose tag is in the next one.
    pub(crate) fn id(&self, at: usize) -> Result<Id> {
        Ok(Id {
            n: self.int(at)?,
            tag: self.int(at + 1)?,
        })
    }

    /// The flag in column `at`.
    pub(crate) fn flag(&self, at: usize) -> Result<bool> {
        Ok(self.int(at)? != 0)
    }

    /// The small count in column `at`.
    pub(crate) fn count(&self, at: usize) -> Result<u32> {
        let count = self.int(at)?;
        u32::try_from(count).map_err(|_| StoreError::Unreadable(format!("{count} is not a count")))
    }

    /// The instant in column `at`.
    pub(crate) fn time(&self, at: usize) -> Result<Timestamp> {
        self.int(at).map(Timestamp::from_micros)
    }

    /// The instant in column `at`, if it is not NULL.
    pub(crate) fn time_or_null(&self, at: usize) -> Result<Option<Timestamp>> {
        Ok(self.int_or_null(at)?.map(Timestamp::from_micros))
    }

    /// The text in column `at`.
    pub(crate) fn text(&self, at: usize) -> Result<String> {
        match self {
            Self::Sqlite(row) => Ok(row.get(at)?),
            Self::Postgres(row) => Ok(row.try_get(at)?),
        }
    }

    /// The text in column `at`, if it is not NULL.
    pub(crate) fn text_or_null(&self, at: usize) -> Result<Option<String>> {
        match self {
            Self::Sqlite(row) => Ok(row.get(at)?),
            Self::Postgres(row) => Ok(row.try_get(at)?),
        }
    }

    /// The bytes in column `at`.
    pub(crate) fn bytes(&self, at: usize) -> Result<Vec<u8>> {
        match self {
            Self::Sqlite(row) => Ok(row.get(at)?),
            Self::Postgres(row) => Ok(row.try_get(at)?),
        }
    }

    /// The bytes in column `at`, if it is not NULL.
    pub(crate) fn bytes_or_null(&self, at: usize) -> Result<Option<Vec<u8>>> {
        match self {
            Self::Sqlite(row) => Ok(row.get(at)?),
            Self::Postgres(row) => Ok(row.try_get(at)?),
        }
    }

    /// The word in column `at`, read by `parse`.
    pub(crate) fn word<T>(&self, at: usize, parse: impl FnOnce(&str) -> Option<T>) -> Result<T> {
        let word = self.text(at)?;
        parse(&word).ok_or_else(|| StoreError::Unreadable(format!("{word:?} is not a known word")))
    }
}

/// What SQLite calls an integer: PostgreSQL has several widths, and a type of its own for what is true.
struct Whole(i64);

impl<'a> tokio_postgres::types::FromSql<'a> for Whole {
    fn from_sql(
        kind: &tokio_postgres::types::Type,
        raw: &'a [u8],
    ) -> std::result::Result<Self, Box<dyn std::error::Error + Sync + Send>> {
        use tokio_postgres::types::Type;
        Ok(Self(match *kind {
            Type::INT8 => i64::from_sql(kind, raw)?,
            Type::INT4 => i32::from_sql(kind, raw)?.into(),
            _ => bool::from_sql(kind, raw)?.into(),
        }))
    }

    fn accepts(kind: &tokio_postgres::types::Type) -> bool {
        use tokio_postgres::types::Type;
        matches!(*kind, Type::INT8 | Type::INT4 | Type::BOOL)
    }
}

impl Value<'_> {
    /// Its type.
    pub(crate) fn kind(&self) -> Kind {
        match self {
            Self::Null(kind) => *kind,
            Self::Int(_) => Kind::Int,
            Self::Text(_) => Kind::Text,
            Self::Bytes(_) => Kind::Bytes,
        }
    }
}

impl rusqlite::ToSql for Value<'_> {
    fn to_sql(&self) -> rusqlite::Result<rusqlite::types::ToSqlOutput<'_>> {
        use rusqlite::types::{ToSqlOutput, ValueRef};
        Ok(ToSqlOutput::Borrowed(match self {
            Self::Null(_) => ValueRef::Null,
            Self::Int(int) => ValueRef::Integer(*int),
            Self::Text(text) => ValueRef::Text(text.as_bytes()),
            Self::Bytes(bytes) => ValueRef::Blob(bytes),
        }))
    }
}

impl tokio_postgres::types::ToSql for Value<'_> {
    fn to_sql(
        &self,
        kind: &tokio_postgres::types::Type,
        out: &mut bytes::BytesMut,
    ) -> std::result::Result<tokio_postgres::types::IsNull, Box<dyn std::error::Error + Sync + Send>> {
        match self {
            Self::Null(_) => Ok(tokio_postgres::types::IsNull::Yes),
            Self::Int(int) => int.to_sql(kind, out),
            Self::Text(text) => text.to_sql(kind, out),
            Self::Bytes(bytes) => bytes.to_sql(kind, out),
        }
    }

    fn accepts(_: &tokio_postgres::types::Type) -> bool {
        // Statements are prepared with the types of their values.
        true
    }

    tokio_postgres::types::to_sql_checked!();
}

/// What can be a parameter, as SQL knows its type.
pub(crate) trait Typed {
    /// The type.
    const KIND: Kind;
}

macro_rules! typed {
    ($($kind:ident: $($type:ty),*;)*) => {$($(
        impl Typed for $type {
            const KIND: Kind = Kind::$kind;
        }
    )*)*};
}

typed! {
    Int: i64, u32, bool, Timestamp;
    Text: &str;
    Bytes: &[u8];
}

impl From<i64> for Value<'_> {
    fn from(int: i64) -> Self {
        Self::Int(int)
    }
}

impl From<u32> for Value<'_> {
    fn from(int: u32) -> Self {
        Self::Int(i64::from(int))
    }
}

impl From<bool> for Value<'_> {
    fn from(flag: bool) -> Self {
        Self::Int(i64::from(flag))
    }
}

impl From<Timestamp> for Value<'_> {
    fn from(at: Timestamp) -> Self {
        Self::Int(at.micros())
    }
}

impl<'a> From<&'a str> for Value<'a> {
    fn from(text: &'a str) -> Self {
        Self::Text(text)
    }
}

impl<'a> From<&'a [u8]> for Value<'a> {
    fn from(bytes: &'a [u8]) -> Self {
        Self::Bytes(bytes)
    }
}

impl<'a, T: Into<Value<'a>> + Typed> From<Option<T>> for Value<'a> {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null(T::KIND), Into::into)
    }
}

/// The parameters of a statement: `values![n, name, at]`.
macro_rules! values {
    ($($value:expr),* $(,)?) => {
        &[$($crate::tx::Value::from($value)),*]
    };
}
pub(crate) use values;
