//! Whether the server at an address will do, asked before anything else is.
//!
//! Everything here is asked with the simple protocol: the other one needs what is being found out. Stentor keeps prepared
//! statements, settings and locks in its sessions, so each of its connections must be one session of the server. Behind a
//! proxy that pools transactions or statements it is not, and each of those would go wrong at some later moment.

use super::PostgresAddress;
use super::session::within;
use crate::error::{Result, StoreError};
use std::time::Duration;
use tokio_postgres::error::{DbError, SqlState};
use tokio_postgres::{Client, SimpleQueryMessage};

/// The oldest server that Stentor is tried on.
const SERVER_VERSION_MIN: u32 = 150_000;
/// How long one answer may take.
const ANSWER_MAX: Duration = Duration::from_secs(5);
/// Another client of a pool can come between two steps and hide it once, hardly each time.
const ROUNDS: usize = 3;
/// What the connections here are called.
const NAME: &str = "stentor check";

/// What is said of a connection that is not a session of its own.
pub(crate) const SHARED: &str = "this connection shares its sessions with others, as through a proxy that pools transactions or \
                                 statements (pgbouncer with pool_mode=transaction): Stentor needs sessions of its own; \
                                 connect to PostgreSQL itself, or through a pool in session mode";

const SERVER: &str = "SELECT current_setting('server_version_num'), current_setting('server_encoding'), \
                      pg_is_in_recovery() OR current_setting('transaction_read_only')::bool, \
                      coalesce(has_schema_privilege(current_schema(), 'CREATE'), false)";

/// A value that nobody else has: the server draws it.
const LEAVE: &str =
    "SELECT set_config('stentor.check', pg_backend_pid() || ' at ' || clock_timestamp(), false)";
const LOOK: &str = "SELECT current_setting('stentor.check', true)";

/// Refuses a server that is too old, takes no writes, is not in UTF-8 or gives no room for tables, and a connection that is
/// not a session of its own. The error says what to do.
pub(crate) async fn check(address: &PostgresAddress) -> Result<()> {
    let first = address.connect(NAME).await?;
    check_server(&first).await?;
    let second = address.connect(NAME).await?;
    for _ in 0..ROUNDS {
        check_sessions(&first, &second).await?;
    }
    Ok(())
}

async fn check_server(client: &Client) -> Result<()> {
    let row = row(client, SERVER).await?;
    let [version, encoding, read_only, may_create] = &row[..] else {
        return Err(refused("it does not answer as PostgreSQL does"));
    };
    let version = version.parse::<u32>().unwrap_or_default();
    if version < SERVER_VERSION_MIN {
        return Err(refused(&format!(
            "it is PostgreSQL {}, and Stentor needs {} or newer",
            version / 10_000,
            SERVER_VERSION_MIN / 10_000
        )));
    }
    if read_only == "t" {
        return Err(refused(
            "it takes no writes: it is a standby, or default_transaction_read_only is on; name the primary",
        ));
    }
    if encoding != "UTF8" {
        return Err(refused(&format!(
            "it is encoded in {encoding}: make another with CREATE DATABASE ... ENCODING 'UTF8' TEMPLATE template0"
        )));
    }
    if may_create != "t" {
        return Err(refused(
            "the user may not make tables in it: make the user its owner, or GRANT USAGE, CREATE ON SCHEMA to it for the \
             first schema of its search_path",
        ));
    }
    Ok(())
}

/// The first connection leaves a value in its session. In a pool the second one's transaction then takes that session away:
/// either it sees the value, or the first one does not find it any more.
async fn check_sessions(first: &Client, second: &Client) -> Result<()> {
    let left = row(first, LEAVE).await?;
    run(second, "BEGIN").await?;
    let seen = row(second, LOOK).await?;
    let kept = row(first, LOOK).await?;
    run(second, "ROLLBACK").await?;
    if seen == left || kept != left {
        return Err(StoreError::Unavailable(SHARED.to_owned()));
    }
    Ok(())
}

/// The first row of an answer; what is NULL is empty.
async fn row(client: &Client, sql: &str) -> Result<Vec<String>> {
    let answer = within(ANSWER_MAX, async { Ok(client.simple_query(sql).await?) }).await?;
    let row = answer.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some(row),
        _ => None,
    });
    let row = row.ok_or_else(|| refused("it does not answer as PostgreSQL does"))?;
    Ok((0..row.len())
        .map(|column| row.get(column).unwrap_or_default().to_owned())
        .collect())
}

async fn run(client: &Client, sql: &str) -> Result<()> {
    within(ANSWER_MAX, async { Ok(client.batch_execute(sql).await?) }).await
}

fn refused(why: &str) -> StoreError {
    StoreError::Unavailable(format!("this database will not do: {why}"))
}

/// Whether the server's answer is one that only a pooling proxy can cause.
pub(crate) fn is_of_a_pool(answer: &DbError) -> bool {
    // A statement was prepared in one session, and asked for in another. Stentor prepares each once, and drops none.
    let lost = [
        SqlState::INVALID_SQL_STATEMENT_NAME,
        SqlState::DUPLICATE_PSTATEMENT,
    ];
    lost.contains(answer.code()) || is_said_by_pgbouncer(answer.code(), answer.message())
}

fn is_said_by_pgbouncer(code: &SqlState, message: &str) -> bool {
    *code == SqlState::PROTOCOL_VIOLATION
        && [
            "unsupported startup parameter",
            // With pool_mode=statement.
            "transaction blocks not allowed in statement pooling mode",
        ]
        .iter()
        .any(|said| message.contains(said))
}
