//! What happened in an attempt, as its columns `status` and `error` keep it: a status, or a word in its place.

use crate::error::{Result, StoreError};
use crate::tx::Row;
use stentor_domain::attempt::{ErrorClass, Outcome};

/// In the place of an error's class: nobody was asked.
const SIMULATED: &str = "simulated";

/// The column `error`; `status` is [`Outcome::status`].
pub(crate) fn error(outcome: Outcome) -> Option<&'static str> {
    match outcome {
        Outcome::Answered(_) => None,
        Outcome::Failed(class) => Some(class.as_str()),
        Outcome::Simulated => Some(SIMULATED),
    }
}

/// Reads the columns `status`, at `at`, and `error`, the next one.
pub(crate) fn read(row: &Row<'_>, at: usize) -> Result<Outcome> {
    if row.text_or_null(at + 1)?.is_some() {
        return row.word(at + 1, without_answer);
    }
    let status = row.int(at)?;
    let status =
        u16::try_from(status).map_err(|_| StoreError::Unreadable(format!("{status} is not a status")))?;
    Ok(Outcome::Answered(status))
}

fn without_answer(word: &str) -> Option<Outcome> {
    match word {
        SIMULATED => Some(Outcome::Simulated),
        class => ErrorClass::parse(class).map(Outcome::Failed),
    }
}
