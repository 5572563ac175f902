//! What measuring a purge needs of a file: many old events at once, and whether they are gone. `stentor bench` is the only one
//! who asks.

use super::connection::{FileLock, open_reader};
use crate::error::{Result, StoreError};
use crate::exchange;
use rusqlite::{Connection, params};
use std::path::Path;
use stentor_domain::Timestamp;
use stentor_domain::attempt::Exchange;
use stentor_domain::id::Id;

/// Deliveries of each old event.
const DELIVERIES: i64 = 2;
/// Attempts of each of them: the last one inside, the others apart.
const ATTEMPTS: i64 = 5;
/// Attempts that come with an event.
pub const AGED_ATTEMPTS_OF_EVENT: u64 = 10;
const _: () = assert!(DELIVERIES * ATTEMPTS == AGED_ATTEMPTS_OF_EVENT.cast_signed());
/// Between the keys of what was made one after the other.
const KEY_STEP: i64 = 256;
/// Events in a transaction.
const TRANSACTION_EVENTS: i64 = 20_000;
const PAYLOAD: &[u8] = br#"{"old":true}"#;

/// Writes `events` events with small payloads and finished deliveries, spread over the endpoints of the file at `path` and over
/// the time from `from` until `until`. No server may be running.
pub fn write_aged(path: &Path, events: u64, from: Timestamp, until: Timestamp) -> Result<()> {
    let _lock = FileLock::take(path)?;
    let mut connection = Connection::open(path)?;
    // What was not written in the end is written by another try.
    connection.pragma_update(None, "synchronous", "OFF")?;
    let endpoints = endpoints(&connection)?;
    let events = i64::try_from(events).unwrap_or(i64::MAX);
    let first = Id::least_key_at(from);
    let end = Id::least_key_at(until);
    let step = (end - first) / events.max(1);
    // They come late, so that each is listed at once.
    connection.execute("UPDATE listed SET events = ?1, deliveries = ?1", [end])?;
    let mut at = 0;
    while at < events {
        let next = events.min(at + TRANSACTION_EVENTS);
        let transaction = connection.transaction()?;
        for place in at..next {
            let endpoint = usize::try_from(place)
                .ok()
                .and_then(|place| endpoints.get(place % endpoints.len()));
            let Some(endpoint) = endpoint else { break };
            write_event(&transaction, first + place * step, *endpoint)?;
        }
        transaction.commit()?;
        at = next;
    }
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
    Ok(())
}

/// An endpoint and its tenant.
type Endpoint = (i64, i64);

fn endpoints(connection: &Connection) -> Result<Vec<Endpoint>> {
    let mut statement = connection.prepare("SELECT n, tenant FROM endpoints ORDER BY n")?;
    let endpoints = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let endpoints: Vec<Endpoint> = endpoints.collect::<rusqlite::Result<_>>()?;
    if endpoints.is_empty() {
        return Err(StoreError::Unavailable(
            "there is no endpoint whose past could be written".to_owned(),
        ));
    }
    Ok(endpoints)
}

fn write_event(transaction: &Connection, event: i64, (endpoint, tenant): Endpoint) -> Result<()> {
    let at = Id { n: event, tag: 0 }.made_at().micros();
    let exchange = exchange::encode(&Exchange::default())?;
    transaction
        .prepare_cached("INSERT INTO events (n, tag, tenant, type, payload, deliveries) VALUES (?1, 1, ?2, 'bench.old', ?3, ?4)")?
        .execute(params![event, tenant, PAYLOAD, DELIVERIES])?;
    let mut finished = transaction.prepare_cached(
        "INSERT INTO deliveries (n, tag, event, endpoint, tenant, state, cause, attempts, finished_at, started_at, status, micros,
                                 exchange)
         VALUES (?1, 1, ?2, ?3, ?4, 'delivered', 'event', ?5, ?6, ?6, 204, 900, ?7)",
    )?;
    let mut earlier = transaction.prepare_cached(
        "INSERT INTO attempts (delivery, no, started_at, cause, status, micros, exchange) VALUES (?1, ?2, ?3, 'event', 503, 900, ?4)",
    )?;
    for place in 1..=DELIVERIES {
        let delivery = event + place * KEY_STEP;
        finished.execute(params![delivery, event, endpoint, tenant, ATTEMPTS, at, exchange])?;
        for no in 1..ATTEMPTS {
            earlier.execute(params![delivery, no, at, exchange])?;
        }
    }
    Ok(())
}

/// How many rows of events, deliveries and attempts made before `before` are left in the file at `path`, beside a server that may
/// be running. With `at_most` it stops counting each there.
pub fn aged_left(path: &Path, before: Timestamp, at_most: u64) -> Result<u64> {
    let connection = open_reader(path)?;
    let below = Id::least_key_at(before);
    let mut left = 0;
    for (table, key) in [("events", "n"), ("deliveries", "n"), ("attempts", "delivery")] {
        let sql = format!("SELECT count(*) FROM (SELECT 1 FROM {table} WHERE {key} < ?1 LIMIT ?2)");
        let most = i64::try_from(at_most).unwrap_or(i64::MAX);
        left += connection
            .query_row(&sql, params![below, most], |row| row.get::<_, i64>(0))?
            .cast_unsigned();
    }
    Ok(left)
}
