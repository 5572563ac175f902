//! Idempotency keys of the control plane: the same request again gets the answer of the first, without what is shown
//! only once. The key is kept in the transaction of the change itself, so that there is no moment between them.

use crate::Store;
use crate::error::Result;
use crate::tx::{Tx, values};
use bytes::Bytes;
use std::fmt;
use stentor_domain::Timestamp;

/// How the first answer of a change is rendered: status and body, without what is shown only once.
pub type Render<T> = Box<dyn FnOnce(&T) -> (u16, Bytes) + Send + Sync>;

/// A request's idempotency key.
pub struct Once<T> {
    /// A hash of the key and its scope.
    pub hash: [u8; 16],
    /// A hash of the request's body: the same key with another one is refused.
    pub body_hash: [u8; 16],
    /// When it may be forgotten.
    pub expires_at: Timestamp,
    /// How the answer is rendered.
    pub render: Render<T>,
}

impl<T> fmt::Debug for Once<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Once").finish_non_exhaustive()
    }
}

/// What became of a change that may have an idempotency key.
#[derive(Debug)]
pub enum Done<T> {
    /// It was made now.
    Now(T),
    /// It was made before: this was the answer.
    Before {
        /// The status that was answered.
        status: u16,
        /// The body that was answered, without what is shown only once.
        answer: Bytes,
    },
    /// The key was used before for another request.
    Conflict,
}

impl<T> Done<T> {
    /// The same with what was made now turned into something else.
    pub fn map<U>(self, turn: impl FnOnce(T) -> U) -> Done<U> {
        match self {
            Self::Now(made) => Done::Now(turn(made)),
            Self::Before { status, answer } => Done::Before { status, answer },
            Self::Conflict => Done::Conflict,
        }
    }
}

impl Store {
    /// What was answered before to this request, for what is no change of the control plane and keeps its answer apart.
    pub async fn answered_before<T: Send + 'static>(
        &self,
        once: &Option<Once<T>>,
        now: Timestamp,
    ) -> Result<Option<Done<T>>> {
        let Some((hash, body_hash)) = once.as_ref().map(|once| (once.hash, once.body_hash)) else {
            return Ok(None);
        };
        self.ask(move |tx| Box::pin(async move { look_up(tx, &hash, &body_hash, now).await }))
            .await
    }

    /// Keeps an answer apart from what it tells of: a crash between the two forgets the key, and the request is carried out
    /// again.
    pub async fn keep_answer<T: Send + Sync + 'static>(&self, once: Option<Once<T>>, made: T) -> Result<()> {
        if once.is_none() {
            return Ok(());
        }
        self.change(move |tx| Box::pin(async move { keep(tx, once, &made).await }))
            .await
    }
}

/// The answer that was given before under this key, if any.
pub(crate) async fn before<T>(
    tx: &mut Tx<'_>,
    once: Option<&Once<T>>,
    now: Timestamp,
) -> Result<Option<Done<T>>> {
    match once {
        Some(once) => look_up(tx, &once.hash, &once.body_hash, now).await,
        None => Ok(None),
    }
}

async fn look_up<T>(
    tx: &mut Tx<'_>,
    hash: &[u8; 16],
    body_hash: &[u8; 16],
    now: Timestamp,
) -> Result<Option<Done<T>>> {
    let known = tx
        .row(
            "SELECT body_hash, status, answer FROM idempotency_keys WHERE hash = ?1 AND expires_at > ?2",
            values![&hash[..], now],
            |row| Ok((row.bytes(0)?, row.int(1)?, row.bytes(2)?)),
        )
        .await?;
    Ok(known.map(|(known_hash, status, answer)| {
        if known_hash == body_hash {
            Done::Before {
                status: u16::try_from(status).unwrap_or(200),
                answer: answer.into(),
            }
        } else {
            Done::Conflict
        }
    }))
}

/// Keeps the answer of a change that was made now.
pub(crate) async fn keep<T>(tx: &mut Tx<'_>, once: Option<Once<T>>, made: &T) -> Result<()> {
    let Some(once) = once else { return Ok(()) };
    let (status, answer) = (once.render)(made);
    tx.execute_one(
        "INSERT INTO idempotency_keys (hash, body_hash, status, answer, expires_at) VALUES (?1, ?2, ?3, ?4, ?5)
         ON CONFLICT (hash) DO UPDATE SET body_hash = ?2, status = ?3, answer = ?4, expires_at = ?5",
        values![&once.hash[..], &once.body_hash[..], i64::from(status), &answer[..], once.expires_at],
    )
    .await
}
