//! Asking for a replay, and cancelling it.

use super::rows::{Job, Place, encode, encode_spec, find};
use super::{Keys, NewReplay, ReplayError};
use crate::change::{Audit, By, record, tick};
use crate::error::Result;
use crate::once::{self, Done, Once};
use crate::tx::{Tx, values};
use stentor_domain::delivery::Reason;
use stentor_domain::id::{EndpointId, ReplayId};
use stentor_domain::key::Scope;
use stentor_domain::limits::REPLAYS_PER_ENDPOINT_MAX;
use stentor_domain::replay::{Replay, ReplayState};

/// Queues a replay.
pub(super) async fn create(
    tx: &mut Tx<'_>,
    by: By,
    new: NewReplay,
    once: Option<Once<Replay>>,
) -> Result<Done<Replay>, ReplayError> {
    // Nobody can disable or delete the endpoint, or ask for another one, between the look and the deed.
    tick(tx).await?;
    if let Some(done) = once::before(tx, once.as_ref(), by.at).await? {
        return Ok(done);
    }
    check_endpoint(tx, new.endpoint).await?;
    let keys = Keys::of(&new.spec, new.id.n(), by.at);
    let spec = encode_spec(&new.spec, keys.before)?;
    let progress = encode(&Place::first(&new.spec, keys))?;
    tx.execute_one(
        "INSERT INTO jobs (n, tag, kind, project, tenant, endpoint, status, spec, progress, created_at)
         SELECT ?1, ?2, 'replay', project, tenant, n, ?3, ?4, ?5, ?6 FROM endpoints WHERE n = ?7",
        values![
            new.id.n(),
            new.id.0.tag,
            ReplayState::Queued.as_str(),
            &spec[..],
            &progress[..],
            by.at,
            new.endpoint.n(),
        ],
    )
    .await?;
    let made = find(tx, Scope::Root, new.id)
        .await?
        .ok_or(ReplayError::NotFound)?;
    audit(tx, &by, "replay.created", &made).await?;
    once::keep(tx, once, &made.replay).await?;
    Ok(Done::Now(made.replay))
}

async fn check_endpoint(tx: &mut Tx<'_>, endpoint: EndpointId) -> Result<(), ReplayError> {
    let disabled = tx
        .row(
            "SELECT e.status = 'disabled' FROM endpoints e JOIN tenants t ON t.n = e.tenant
             WHERE e.n = ?1 AND e.tag = ?2 AND e.deleted_at IS NULL AND t.deleted_at IS NULL",
            values![endpoint.n(), endpoint.0.tag],
            |row| row.flag(0),
        )
        .await?;
    if disabled.ok_or(ReplayError::NoEndpoint)? {
        return Err(ReplayError::EndpointDisabled);
    }
    let unfinished = tx
        .row(
            "SELECT count(*) FROM jobs WHERE endpoint = ?1 AND swept_at IS NULL AND finished_at IS NULL",
            values![endpoint.n()],
            |row| row.int(0),
        )
        .await?;
    if unfinished.unwrap_or(0) >= i64::from(REPLAYS_PER_ENDPOINT_MAX) {
        return Err(ReplayError::TooMany(REPLAYS_PER_ENDPOINT_MAX));
    }
    Ok(())
}

/// Ends a replay.
pub(super) async fn cancel(
    tx: &mut Tx<'_>,
    by: By,
    scope: Scope,
    id: ReplayId,
    once: Option<Once<Replay>>,
) -> Result<Done<Replay>, ReplayError> {
    tick(tx).await?;
    let found = find(tx, scope, id).await?.ok_or(ReplayError::NotFound)?;
    if let Some(done) = once::before(tx, once.as_ref(), by.at).await? {
        return Ok(done);
    }
    if found.replay.state.finished() {
        return Err(ReplayError::Finished);
    }
    // One that never ran has brought nothing that would have to be ended.
    let swept_at = (found.stored == ReplayState::Queued).then_some(by.at);
    tx.execute_one(
        "UPDATE jobs SET status = ?1, reason = ?2, finished_at = ?3, swept_at = ?4 WHERE n = ?5",
        values![
            ReplayState::Cancelled.as_str(),
            Reason::Requested.as_str(),
            by.at,
            swept_at,
            id.n(),
        ],
    )
    .await?;
    audit(tx, &by, "replay.cancelled", &found).await?;
    let now = find(tx, scope, id).await?.ok_or(ReplayError::NotFound)?;
    once::keep(tx, once, &now.replay).await?;
    Ok(Done::Now(now.replay))
}

async fn audit(tx: &mut Tx<'_>, by: &By, action: &'static str, job: &Job) -> Result<()> {
    let object = job.replay.id.to_string();
    let detail = format!("for {}", job.replay.endpoint);
    record(
        tx,
        by,
        Audit {
            action,
            object: &object,
            project: Some(job.project),
            tenant: Some(job.replay.tenant),
            detail: Some(&detail),
        },
    )
    .await
}
