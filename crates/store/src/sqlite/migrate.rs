//! The schema's versions on the embedded engine: each in a transaction of its own.

use crate::error::Result;
use crate::migrations::{self, MIGRATIONS};
use rusqlite::Connection;

/// Brings the schema up to date and tells which versions were applied.
pub(crate) fn migrate(connection: &mut Connection) -> Result<std::ops::Range<usize>> {
    let at: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let at = migrations::known(at)?;
    for (version, sql) in (at + 1..).zip(MIGRATIONS.iter().skip(at)) {
        let transaction = connection.transaction()?;
        transaction.execute_batch(&in_own_words(sql))?;
        transaction.pragma_update(None, "user_version", i64::try_from(version).unwrap_or(i64::MAX))?;
        transaction.commit()?;
    }
    Ok(at..MIGRATIONS.len())
}

/// The portable layout as SQLite should have it. Only a key declared as INTEGER is the row's own place in the table; any
/// other word for it costs a second index, to be kept up with every row and gone through with every look-up.
fn in_own_words(sql: &str) -> String {
    sql.replace("--sqlite ", "")
        .replace("KEYLESS", "WITHOUT ROWID")
        .replace("BIGINT", "INTEGER")
        .replace(") BY_DAY;", ");")
}

/// The present layout in memory, without any row: for tests of single statements.
#[cfg(test)]
pub(crate) fn empty() -> Connection {
    let mut connection = Connection::open_in_memory().expect("a database in memory");
    migrate(&mut connection).expect("the present layout");
    connection
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_as_key_is_the_rows_own_place() {
        let connection = empty();
        for table in ["events", "work", "deliveries"] {
            let sql = format!("EXPLAIN QUERY PLAN SELECT * FROM {table} WHERE n = 1");
            let plan: String = connection.query_row(&sql, [], |row| row.get(3)).unwrap();
            assert!(plan.ends_with("USING INTEGER PRIMARY KEY (rowid=?)"), "{plan}");
        }
    }
}
