//! One transaction, on whichever database there is. Control-plane operations are written once, as functions over [`Tx`]
//! with portable SQL: `?1` placeholders, BIGINT microseconds, `ON CONFLICT`, `RETURNING`, no `now()`.

use crate::error::{Result, StoreError};
use stentor_domain::Timestamp;
use stentor_domain::id::Id;

/// A transaction, or a connection on its way to one. Each arm is an engine.
#[derive(Debug)]
pub(crate) enum Tx {
    /// The embedded database.
    Sqlite(rusqlite::Connection),
}

/// A parameter of a statement.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Value<'a> {
    /// NULL.
    Null,
    /// Any integer: keys, times, flags.
    Int(i64),
    /// Text.
    Text(&'a str),
    /// Bytes: payloads, sealed secrets, hashes.
    Bytes(&'a [u8]),
}

/// A row of an answer, read by position.
#[derive(Debug)]
pub(crate) enum Row<'a> {
    /// Of the embedded database.
    Sqlite(&'a rusqlite::Row<'a>),
}

impl Tx {
    /// Runs a statement and tells how many rows it changed.
    pub(crate) async fn execute(&mut self, sql: &'static str, values: &[Value<'_>]) -> Result<usize> {
        match self {
            Self::Sqlite(connection) => {
                let mut statement = connection.prepare_cached(sql)?;
                Ok(statement.execute(rusqlite::params_from_iter(values))?)
            }
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

impl Row<'_> {
    /// The integer in column `at`.
    pub(crate) fn int(&self, at: usize) -> Result<i64> {
        match self {
            Self::Sqlite(row) => Ok(row.get(at)?),
        }
    }

    /// The integer in column `at`, if it is not NULL.
    pub(crate) fn int_or_null(&self, at: usize) -> Result<Option<i64>> {
        match self {
            Self::Sqlite(row) => Ok(row.get(at)?),
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
        }
    }

    /// The text in column `at`, if it is not NULL.
    pub(crate) fn text_or_null(&self, at: usize) -> Result<Option<String>> {
        match self {
            Self::Sqlite(row) => Ok(row.get(at)?),
        }
    }

    /// The bytes in column `at`.
    pub(crate) fn bytes(&self, at: usize) -> Result<Vec<u8>> {
        match self {
            Self::Sqlite(row) => Ok(row.get(at)?),
        }
    }

    /// The bytes in column `at`, if it is not NULL.
    pub(crate) fn bytes_or_null(&self, at: usize) -> Result<Option<Vec<u8>>> {
        match self {
            Self::Sqlite(row) => Ok(row.get(at)?),
        }
    }

    /// The word in column `at`, read by `parse`.
    pub(crate) fn word<T>(&self, at: usize, parse: impl FnOnce(&str) -> Option<T>) -> Result<T> {
        let word = self.text(at)?;
        parse(&word).ok_or_else(|| StoreError::Unreadable(format!("{word:?} is not a known word")))
    }
}

impl rusqlite::ToSql for Value<'_> {
    fn to_sql(&self) -> rusqlite::Result<rusqlite::types::ToSqlOutput<'_>> {
        use rusqlite::types::{ToSqlOutput, ValueRef};
        Ok(ToSqlOutput::Borrowed(match self {
            Self::Null => ValueRef::Null,
            Self::Int(int) => ValueRef::Integer(*int),
            Self::Text(text) => ValueRef::Text(text.as_bytes()),
            Self::Bytes(bytes) => ValueRef::Blob(bytes),
        }))
    }
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

impl<'a, T: Into<Value<'a>>> From<Option<T>> for Value<'a> {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

/// The parameters of a statement: `values![n, name, at]`.
macro_rules! values {
    ($($value:expr),* $(,)?) => {
        &[$($crate::tx::Value::from($value)),*]
    };
}
pub(crate) use values;
