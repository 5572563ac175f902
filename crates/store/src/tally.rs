//! Tallies: what a transaction changed of the counts of [`stats`](crate::stats), written in that same transaction.
//!
//! An entry is 15 bytes: the endpoint, the hour of acceptance, what became of the delivery, and the outcome and the class of
//! duration of an attempt. A group of accepts, or of records, is one row, whatever the number of its deliveries, and no
//! delivery touches a row of its own for its statistics. Whoever ends, reopens or accepts a delivery, or keeps an attempt,
//! adds an entry; a test has none.

use crate::error::{Result, StoreError};
use crate::hot::Finish;
use crate::tx::{Row, Tx, values};
use stentor_domain::Timestamp;
use stentor_domain::attempt::{ErrorClass, Outcome, Trigger};
use stentor_domain::delivery::State;
use stentor_domain::stats::{Hour, Latency};

/// Length of an entry.
const ENTRY_BYTES: usize = 15;
/// What becomes of the delivery, and in the place of the last two bytes: no attempt.
const NOTHING: u8 = 0;
const ACCEPTED: u8 = 1;
const DELIVERED: u8 = 2;
const EXHAUSTED: u8 = 3;
const CANCELLED: u8 = 4;
/// Added to how a delivery had ended, where it is reopened.
const REOPENED: u8 = 8;
/// What a statement on PostgreSQL writes over an entry whose delivery turns out to be cancelled: at which byte, and which.
pub(crate) const CANCEL_AT: i32 = 12;
pub(crate) const CANCEL_AS: i32 = CANCELLED as i32;

/// Codes of outcomes; the place of an [`ErrorClass`] among all follows.
const SUCCEEDED: u8 = 1;
const SIMULATED: u8 = 2;
const FAILED: u8 = 3;

/// What becomes of a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// Nothing that is counted: it is tried again, or an attempt came too late for it.
    None,
    /// It is accepted.
    Accepted,
    /// It has ended.
    Ended(State),
    /// It had ended so, and is unfinished again.
    Reopened(State),
}

impl Change {
    fn code(self) -> u8 {
        match self {
            Self::None => NOTHING,
            Self::Accepted => ACCEPTED,
            Self::Ended(state) => ended(state),
            Self::Reopened(state) => ended(state) + REOPENED,
        }
    }

    fn parse(code: u8) -> Option<Self> {
        Some(match code {
            NOTHING => Self::None,
            ACCEPTED => Self::Accepted,
            reopened if reopened >= REOPENED => Self::Reopened(state(reopened - REOPENED)?),
            ended => Self::Ended(state(ended)?),
        })
    }
}

fn ended(state: State) -> u8 {
    match state {
        State::Delivered => DELIVERED,
        State::Exhausted => EXHAUSTED,
        State::Cancelled => CANCELLED,
        // Neither is an end.
        State::Pending | State::Held => NOTHING,
    }
}

fn state(code: u8) -> Option<State> {
    [State::Delivered, State::Exhausted, State::Cancelled]
        .into_iter()
        .find(|state| ended(*state) == code)
}

/// What statistics tell of an outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    Succeeded,
    Simulated,
    Failed(ErrorClass),
}

impl Told {
    fn of(outcome: Outcome) -> Self {
        match outcome.error_class() {
            Some(class) => Self::Failed(class),
            None if outcome == Outcome::Simulated => Self::Simulated,
            None => Self::Succeeded,
        }
    }

    /// Its code, in tallies and in what they are folded into.
    pub(crate) fn code(self) -> u8 {
        match self {
            Self::Succeeded => SUCCEEDED,
            Self::Simulated => SIMULATED,
            Self::Failed(class) => {
                let place = ErrorClass::ALL.iter().position(|known| *known == class);
                place
                    .and_then(|place| u8::try_from(place).ok())
                    .map_or(NOTHING, |place| FAILED + place)
            }
        }
    }
}

/// Reads the code of an outcome.
pub(crate) fn told(code: u8) -> Result<Told> {
    match code {
        SUCCEEDED => Ok(Told::Succeeded),
        SIMULATED => Ok(Told::Simulated),
        code => {
            let place = code.checked_sub(FAILED).map(usize::from);
            let class = place.and_then(|place| ErrorClass::ALL.get(place));
            class.copied().map(Told::Failed).ok_or_else(unreadable)
        }
    }
}

fn unreadable() -> StoreError {
    StoreError::Unreadable("a tally has an unknown layout".into())
}

/// What a transaction changes of the counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally(Vec<u8>);

impl Tally {
    /// Notes what becomes of a delivery without an attempt.
    pub(crate) fn note(&mut self, endpoint: i64, delivery: i64, change: Change) {
        self.push(endpoint, delivery, change, (NOTHING, 0));
    }

    /// Notes a delivery that is accepted, but for a test.
    pub(crate) fn note_accepted(&mut self, endpoint: i64, delivery: i64, trigger: Trigger) {
        if trigger != Trigger::Test {
            self.note(endpoint, delivery, Change::Accepted);
        }
    }

    /// Notes an attempt and what becomes of its delivery, but for a test.
    pub(crate) fn note_attempt(&mut self, finish: &Finish, change: Change) {
        let attempt = &finish.attempt;
        if attempt.trigger != Trigger::Test {
            let latency = Latency::of(attempt.exchange.timing.total_micros);
            let attempt = (Told::of(attempt.outcome).code(), latency.0);
            self.push(finish.endpoint, finish.delivery.n(), change, attempt);
        }
    }

    fn push(&mut self, endpoint: i64, delivery: i64, change: Change, (outcome, latency): (u8, u8)) {
        self.0.extend_from_slice(&endpoint.to_be_bytes());
        self.0.extend_from_slice(&Hour::of_key(delivery).0.to_be_bytes());
        self.0.extend_from_slice(&[change.code(), outcome, latency]);
    }

    /// Its bytes, if there are any: what PostgreSQL puts together for a group.
    pub(crate) fn into_bytes(self) -> Option<Vec<u8>> {
        Some(self.0).filter(|bytes| !bytes.is_empty())
    }

    /// Keeps it, in the transaction of what it tells of.
    pub(crate) async fn keep(self, tx: &mut Tx<'_>, now: Timestamp) -> Result<()> {
        let Some(body) = self.into_bytes() else {
            return Ok(());
        };
        tx.execute_one(
            "INSERT INTO tallies (at, body) VALUES (?1, ?2)",
            values![now, &body[..]],
        )
        .await
    }
}

/// A delivery that was ended while it waited: its endpoint, its key, and whether it is a test.
pub(crate) type EndedRow = (i64, i64, bool);

/// Reads one from the first three columns.
pub(crate) fn read_ended(row: &Row<'_>) -> Result<EndedRow> {
    Ok((row.int(0)?, row.int(1)?, row.flag(2)?))
}

/// Keeps that these were cancelled.
pub(crate) async fn keep_cancelled(tx: &mut Tx<'_>, ended: &[EndedRow], now: Timestamp) -> Result<()> {
    let mut tally = Tally::default();
    for (endpoint, delivery, _) in ended.iter().filter(|(_, _, test)| !test) {
        tally.note(*endpoint, *delivery, Change::Ended(State::Cancelled));
    }
    tally.keep(tx, now).await
}

/// What one entry says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) endpoint: i64,
    pub(crate) hour: Hour,
    pub(crate) change: Change,
    /// Outcome and duration of an attempt.
    pub(crate) attempt: Option<(Told, Latency)>,
}

/// Reads the entries of a tally.
pub(crate) fn entries(body: &[u8]) -> impl Iterator<Item = Result<Entry>> {
    body.chunks(ENTRY_BYTES)
        .map(|entry| read(entry).ok_or_else(unreadable))
}

fn read(entry: &[u8]) -> Option<Entry> {
    let (endpoint, rest) = entry.split_first_chunk()?;
    let (hour, rest) = rest.split_first_chunk()?;
    let &[change, outcome, latency] = rest else {
        return None;
    };
    let attempt = match outcome {
        NOTHING => None,
        code => Some((told(code).ok()?, Latency(latency))),
    };
    Some(Entry {
        endpoint: i64::from_be_bytes(*endpoint),
        hour: Hour(u32::from_be_bytes(*hour)),
        change: Change::parse(change)?,
        attempt,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use stentor_domain::id::Id;

    fn entry_of(change: Change) -> Vec<u8> {
        let mut tally = Tally::default();
        tally.note(1, 2, change);
        tally.into_bytes().unwrap()
    }

    #[test]
    fn a_tally_is_read_as_it_was_written() {
        let at = Timestamp::from_seconds(1_704_067_200);
        let delivery = Id::least_key_at(at) + 7;
        let changes = [
            Change::Accepted,
            Change::Ended(State::Delivered),
            Change::Ended(State::Exhausted),
            Change::Ended(State::Cancelled),
            Change::Reopened(State::Delivered),
            Change::Reopened(State::Exhausted),
            Change::Reopened(State::Cancelled),
            Change::None,
        ];
        let mut tally = Tally::default();
        for change in changes {
            tally.note(-5, delivery, change);
        }
        let body = tally.into_bytes().unwrap();
        let read: Vec<Entry> = entries(&body).collect::<Result<_>>().unwrap();
        assert_eq!(read.iter().map(|entry| entry.change).collect::<Vec<_>>(), changes);
        assert!(
            read.iter()
                .all(|entry| entry.endpoint == -5 && entry.hour == Hour::of(at) && entry.attempt.is_none())
        );
        let mut ended = entry_of(Change::Ended(State::Delivered));
        ended[usize::try_from(CANCEL_AT).unwrap()] = u8::try_from(CANCEL_AS).unwrap();
        assert_eq!(ended, entry_of(Change::Ended(State::Cancelled)));
        assert!(entries(&body[1..]).any(|entry| entry.is_err()), "cut short");
    }

    #[test]
    fn every_outcome_has_a_code_of_its_own() {
        let mut outcomes = vec![Outcome::Answered(200), Outcome::Simulated];
        outcomes.extend(ErrorClass::ALL.map(Outcome::Failed));
        let codes = outcomes.iter().map(|outcome| Told::of(*outcome).code());
        let read: Vec<Told> = codes.map(|code| told(code).unwrap()).collect();
        let mut expected = vec![Told::Succeeded, Told::Simulated];
        expected.extend(ErrorClass::ALL.map(Told::Failed));
        assert_eq!(read, expected);
        assert!(told(NOTHING).is_err());
    }
}
