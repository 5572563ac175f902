//! What the sending side has to tell the world, left in the transaction that records the attempt that was its cause.

use crate::error::Result;
use crate::hot::Finish;
use crate::tx::{Tx, values};
use stentor_domain::endpoint::DisabledReason;
use stentor_domain::health::Turn;

/// What there is to tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// An endpoint's breaker opened.
    Failing,
    /// It takes deliveries as before its breaker opened.
    Recovered,
    /// It was disabled by policy.
    Disabled(DisabledReason),
}

impl From<Turn> for Kind {
    fn from(turn: Turn) -> Self {
        match turn {
            Turn::Failing => Self::Failing,
            Turn::Recovered => Self::Recovered,
        }
    }
}

impl Kind {
    fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::Failing => ("endpoint.failing", ""),
            Self::Recovered => ("endpoint.recovered", ""),
            Self::Disabled(reason) => ("endpoint.disabled", reason.as_str()),
        }
    }
}

/// Leaves a notice about an attempt. One that a repeated record leaves again is the same.
pub(crate) async fn leave(tx: &mut Tx<'_>, finish: &Finish, kind: Kind) -> Result<()> {
    let (kind, body) = kind.words();
    tx.execute(
        "INSERT INTO notices (n, attempt, kind, tenant, endpoint, body, created_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) ON CONFLICT DO NOTHING",
        values![
            finish.delivery.n(),
            i64::from(finish.attempt.no),
            kind,
            finish.tenant,
            finish.endpoint,
            body,
            finish.ended_at
        ],
    )
    .await?;
    Ok(())
}
