//! What those who run Stentor should hear of, from the attempt that was its cause to the operational endpoints of its project.
//!
//! ```text
//!   a record of an attempt ---> a row of `notices` ---> an event of the operational tenant ---> its deliveries
//!     (finish: one commit)        (waits, in order)       (published: another commit)           (as any other)
//!                                         |
//!                                         +---> forgotten, where nobody would hear of it any more
//! ```
//! 1. left: the record of an attempt leaves a notice in its own transaction, where an operational endpoint of the project wants its
//!    kind. Never about an operational endpoint, so that what is told can never be the cause of something to tell. The process dies
//!    before the commit - the attempt is repeated, and leaves it then; after - it waits;
//! 2. published: `engine::jobs` takes the oldest ones and publishes an event for each, whose `event_id` is spelled from the notice's
//!    key. The store has no room, or the configuration moves too fast - they wait, and so do those behind them;
//! 3. forgotten: the rows go. The process dies before - they are published again, and find their events by `event_id`.
//!
//! What a notice tells is what was known when it was left; ids, uids and names are read when it is published. Endpoints and tenants
//! leave tombstones, so that what is deleted meanwhile can still be named. A project that is deleted takes its notices along.

use crate::Store;
use crate::config::Config;
use crate::error::{Result, StoreError};
use crate::hot::{Finish, loops};
use crate::outcome;
use crate::tx::{Row, Tx, values};
use stentor_domain::Timestamp;
use stentor_domain::attempt::{Outcome, Trigger};
use stentor_domain::delivery::Reason;
use stentor_domain::endpoint::DisabledReason;
use stentor_domain::health::{Health, Turn};
use stentor_domain::id::{DeliveryId, EndpointId, EventId, ProjectId, TenantId};
use stentor_domain::name::EventTypeName;
use stentor_domain::notice::NoticeKind;

/// What the record of an attempt may have to tell.
#[derive(Clone, Copy, Debug)]
pub(crate) enum News {
    /// A turn in the life of its endpoint, whose health is this now.
    Turn(Turn, Health),
    /// Its endpoint was disabled, with this health.
    Disabled(DisabledReason, Health),
    /// Its delivery is exhausted.
    Exhausted(Reason),
}

impl News {
    fn kind(self) -> NoticeKind {
        match self {
            Self::Turn(turn, _) => turn.into(),
            Self::Disabled(..) => NoticeKind::Disabled,
            Self::Exhausted(_) => NoticeKind::Exhausted,
        }
    }

    fn reason(self) -> Option<&'static str> {
        match self {
            Self::Turn(..) => None,
            Self::Disabled(reason, _) => Some(reason.as_str()),
            Self::Exhausted(reason) => Some(reason.as_str()),
        }
    }

    fn health(self) -> Option<Health> {
        match self {
            Self::Turn(_, health) | Self::Disabled(_, health) => Some(health),
            Self::Exhausted(_) => None,
        }
    }
}

/// A notice that waits to be published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// What it tells of.
    pub kind: NoticeKind,
    /// When that was.
    pub at: Timestamp,
    /// In which project.
    pub project: ProjectId,
    /// Whose endpoint it is about.
    pub tenant: TenantId,
    /// The tenant's uid.
    pub tenant_uid: Option<String>,
    /// The endpoint.
    pub endpoint: EndpointId,
    /// The endpoint's uid.
    pub endpoint_uid: Option<String>,
    /// The endpoint's name.
    pub endpoint_name: String,
    /// The delivery whose attempt was the cause.
    pub delivery: DeliveryId,
    /// The attempt's number.
    pub attempt: u32,
    /// The delivery's event and its type, unless it is not kept any more.
    pub event: Option<(EventId, EventTypeName)>,
    /// How many webhooks led to that event, one after the other.
    pub loops: u8,
    /// Why the endpoint was disabled, or the delivery ended, in a word.
    pub reason: Option<String>,
    /// How many attempts have failed in a row at the endpoint, where it is about that.
    pub failures: Option<u32>,
    /// Since when.
    pub failing_since: Option<Timestamp>,
    /// When it is probed next.
    pub next_probe_at: Option<Timestamp>,
    /// What the attempt came to.
    pub outcome: Outcome,
}

impl Store {
    /// The notices that wait longest, those of one attempt together; at most `limit`.
    pub async fn next_notices(&self, limit: u32) -> Result<Vec<Notice>> {
        self.ask(move |tx| Box::pin(async move { tx.rows(NEXT, values![limit], read).await }))
            .await
    }

    /// Forgets notices that nobody has to hear of any more. Tells how many rows went.
    pub async fn forget_notices(&self, notices: Vec<Notice>) -> Result<usize> {
        self.in_background(move |tx| Box::pin(forget(tx, notices))).await
    }
}

/// Leaves a notice about an attempt, where somebody would hear of it. One that a repeated record leaves again is the same.
pub(crate) async fn leave(tx: &mut Tx<'_>, config: &Config, finish: &Finish, news: News) -> Result<()> {
    if !is_wanted(config, finish, news.kind()) {
        return Ok(());
    }
    let health = news.health();
    let outcome = finish.attempt.outcome;
    tx.execute(
        "INSERT INTO notices (n, attempt, kind, tag, event, tenant, endpoint, reason, failures, failing_since, next_probe_at,
                              status, error, created_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14) ON CONFLICT DO NOTHING",
        values![
            finish.delivery.n(),
            i64::from(finish.attempt.no),
            news.kind().as_str(),
            finish.delivery.0.tag,
            finish.event,
            finish.tenant,
            finish.endpoint,
            news.reason(),
            health.map(|health| health.consecutive_failures),
            health.and_then(|health| health.failing_since),
            health.and_then(Health::next_probe_at),
            outcome.status().map(i64::from),
            outcome::error(outcome),
            finish.ended_at
        ],
    )
    .await?;
    Ok(())
}

/// Nothing is told of tests, of operational endpoints, and of endpoints that were deleted meanwhile.
fn is_wanted(config: &Config, finish: &Finish, kind: NoticeKind) -> bool {
    let told_of = |n| config.endpoint(n).filter(|known| !known.operational);
    finish.attempt.trigger != Trigger::Test
        && told_of(finish.endpoint).is_some_and(|known| config.wants_to_hear(known.project, kind))
}

/// By the index `notices_in_order`. Every endpoint and tenant that a notice names is there, be it as a tombstone.
const NEXT: &str = "
SELECT o.n, o.tag, o.attempt, o.kind, o.created_at, p.n, p.tag, t.n, t.tag, t.uid, e.n, e.tag, e.uid, e.name,
       v.n, v.tag, v.type, v.meta, o.reason, o.failures, o.failing_since, o.next_probe_at, o.status, o.error
FROM (SELECT * FROM notices ORDER BY created_at, n, attempt, kind DESC LIMIT ?1) o
     JOIN endpoints e ON e.n = o.endpoint JOIN tenants t ON t.n = o.tenant JOIN projects p ON p.n = e.project
     LEFT JOIN events v ON v.n = o.event
ORDER BY o.created_at, o.n, o.attempt, o.kind DESC";

fn read(row: &Row<'_>) -> Result<Notice> {
    let event = match row.int_or_null(14)? {
        Some(_) => Some((
            EventId(row.id(14)?),
            row.word(16, |name| EventTypeName::parse(name).ok())?,
        )),
        None => None,
    };
    let failures = row.int_or_null(19)?.map(u32::try_from).transpose();
    Ok(Notice {
        delivery: DeliveryId(row.id(0)?),
        attempt: row.count(2)?,
        kind: row.word(3, NoticeKind::parse)?,
        at: row.time(4)?,
        project: ProjectId(row.id(5)?),
        tenant: TenantId(row.id(7)?),
        tenant_uid: row.text_or_null(9)?,
        endpoint: EndpointId(row.id(10)?),
        endpoint_uid: row.text_or_null(12)?,
        endpoint_name: row.text(13)?,
        event,
        loops: loops(row.text_or_null(17)?.as_deref()),
        reason: row.text_or_null(18)?,
        failures: failures.map_err(|_| StoreError::Unreadable("column 19 is not a count".into()))?,
        failing_since: row.time_or_null(20)?,
        next_probe_at: row.time_or_null(21)?,
        outcome: outcome::read(row, 22)?,
    })
}

async fn forget(tx: &mut Tx<'_>, notices: Vec<Notice>) -> Result<usize> {
    let mut rows = 0;
    for notice in notices {
        rows += tx
            .execute(
                "DELETE FROM notices WHERE n = ?1 AND attempt = ?2 AND kind = ?3",
                values![
                    notice.delivery.n(),
                    i64::from(notice.attempt),
                    notice.kind.as_str()
                ],
            )
            .await?;
    }
    Ok(rows)
}
