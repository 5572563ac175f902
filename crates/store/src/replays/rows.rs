//! A row of `jobs` as a replay. What follows from its endpoint (that it was deleted, or does not send) is stored nowhere.

use super::{Keys, Phase};
use crate::error::{Result, StoreError};
use crate::period::columns;
use crate::tx::{Row, Tx, values};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use stentor_domain::Timestamp;
use stentor_domain::delivery::{Reason, State};
use stentor_domain::id::{EndpointId, ProjectId, ReplayId, TenantId};
use stentor_domain::key::Scope;
use stentor_domain::name::EventTypeName;
use stentor_domain::replay::{Replay, ReplayProgress, ReplaySpec, ReplayState};

/// The layout that is written. Another one gets another first byte.
const LAYOUT: u8 = 1;

/// What a replay sends again, as it is kept.
#[derive(Serialize, Deserialize)]
struct KeptSpec<'a> {
    since: i64,
    until: i64,
    before: i64,
    state: Option<Cow<'a, str>>,
    event_type: Option<Cow<'a, str>>,
    missing: bool,
}

/// How far it has come, as it is kept.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct Place {
    /// Does it look for what is missing by now?
    pub(super) missing: bool,
    /// The key that it looked at last.
    pub(super) after: i64,
    pub(super) total: Option<u64>,
    pub(super) considered: u64,
    pub(super) replayed: u64,
    pub(super) skipped: u64,
}

/// A replay with what callers do not see.
pub(super) struct Job {
    pub(super) replay: Replay,
    pub(super) stored: ReplayState,
    pub(super) project: ProjectId,
    pub(super) shard: u16,
    /// The first key that it does not look at.
    pub(super) before: i64,
    pub(super) place: Place,
}

impl Place {
    /// Where a replay begins.
    pub(super) fn first(spec: &ReplaySpec, keys: Keys) -> Self {
        Self {
            missing: !spec.reopens(),
            after: keys.after,
            total: None,
            considered: 0,
            replayed: 0,
            skipped: 0,
        }
    }

    pub(super) fn phase(&self) -> Phase {
        if self.missing {
            Phase::Missing
        } else {
            Phase::Finished
        }
    }
}

impl Job {
    pub(super) fn keys(&self) -> Keys {
        Keys {
            after: self.place.after,
            before: self.before,
        }
    }
}

/// Replays, `jobs` being `j`; conditions follow.
macro_rules! replays {
    ($conditions:literal) => {
        concat!(
            "SELECT j.n, j.tag, j.tenant, t.tag, j.endpoint, e.tag, j.project,
                    (SELECT tag FROM projects WHERE n = j.project), e.shard, j.status,
                    CASE WHEN j.finished_at IS NULL AND (t.deleted_at IS NOT NULL OR e.deleted_at IS NOT NULL)
                         THEN 'cancelled' ELSE j.status END,
                    CASE WHEN j.finished_at IS NULL THEN ",
            $crate::deliveries::standing!(),
            " ELSE j.reason END,
                    j.spec, j.progress, j.created_at,
                    CASE WHEN j.finished_at IS NULL THEN coalesce(e.deleted_at, t.deleted_at) ELSE j.finished_at END
             FROM jobs j JOIN endpoints e ON e.n = j.endpoint JOIN tenants t ON t.n = j.tenant
             WHERE j.kind = 'replay' AND ",
            $conditions
        )
    };
}

/// The replay with this id, if it is in `scope`.
pub(super) async fn find(tx: &mut Tx<'_>, scope: Scope, id: ReplayId) -> Result<Option<Job>> {
    let (tenant, project) = columns(scope);
    tx.row(
        replays!(
            "j.n = ?1 AND j.tag = ?2 AND (?3 IS NULL OR j.tenant = ?3) AND (?4 IS NULL OR j.project = ?4)"
        ),
        values![id.n(), id.0.tag, tenant, project],
        read,
    )
    .await
}

/// By the index `jobs_of_tenant`.
pub(super) const OF_TENANT: &str = replays!("j.tenant = ?2 AND j.n < ?1 ORDER BY j.n DESC LIMIT ?3");
/// By the index `jobs_of_project`.
pub(super) const OF_PROJECT: &str = replays!("j.project = ?2 AND j.n < ?1 ORDER BY j.n DESC LIMIT ?3");
const OF_ALL: &str = replays!("j.n < ?1 ORDER BY j.n DESC LIMIT ?2");

/// The page after `before`.
pub(super) async fn page(
    tx: &mut Tx<'_>,
    scope: Scope,
    before: Option<i64>,
    limit: u32,
) -> Result<Vec<Replay>> {
    let before = before.unwrap_or(i64::MAX);
    let jobs = match scope {
        Scope::Tenant(_, tenant) => tx.rows(OF_TENANT, values![before, tenant.n(), limit], read).await,
        Scope::Project(project) => {
            tx.rows(OF_PROJECT, values![before, project.n(), limit], read)
                .await
        }
        Scope::Root => tx.rows(OF_ALL, values![before, limit], read).await,
    };
    Ok(jobs?.into_iter().map(|job| job.replay).collect())
}

/// By the indexes of what is left to be done, of which there is little.
pub(super) const TO_DO: &str = "SELECT j.n, j.tag FROM jobs j
     WHERE j.kind = 'replay' AND j.swept_at IS NULL
       AND NOT EXISTS (SELECT 1 FROM jobs o WHERE o.endpoint = j.endpoint AND o.swept_at IS NULL AND o.n < j.n)
     ORDER BY CASE WHEN j.n > ?1 THEN 0 ELSE 1 END, j.n LIMIT ?2";

pub(super) async fn to_do(tx: &mut Tx<'_>, after: i64, limit: u32) -> Result<Vec<ReplayId>> {
    tx.rows(TO_DO, values![after, limit], |row| Ok(ReplayId(row.id(0)?)))
        .await
}

/// The bytes of a replay's spec.
pub(super) fn encode_spec(spec: &ReplaySpec, before: i64) -> Result<Vec<u8>> {
    encode(&KeptSpec {
        since: spec.since.micros(),
        until: spec.until.micros(),
        before,
        state: spec.state.map(|state| state.as_str().into()),
        event_type: spec.event_type.as_ref().map(|name| name.as_str().into()),
        missing: spec.missing,
    })
}

/// The bytes of a replay's progress.
pub(super) fn encode<T: Serialize>(kept: &T) -> Result<Vec<u8>> {
    postcard::to_extend(kept, vec![LAYOUT]).map_err(|error| StoreError::Unreadable(error.to_string()))
}

fn decode<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T> {
    let unreadable = || StoreError::Unreadable("a replay has an unknown layout".into());
    let (&LAYOUT, kept) = bytes.split_first().ok_or_else(unreadable)? else {
        return Err(unreadable());
    };
    postcard::from_bytes(kept).map_err(|error| StoreError::Unreadable(error.to_string()))
}

fn read(row: &Row<'_>) -> Result<Job> {
    let (spec, progress) = (row.bytes(12)?, row.bytes(13)?);
    let kept: KeptSpec<'_> = decode(&spec)?;
    let place: Place = decode(&progress)?;
    let shard = row.int(8)?;
    let reason = match row.text_or_null(11)? {
        Some(_) => Some(row.word(11, Reason::parse)?),
        None => None,
    };
    let before = kept.before;
    let replay = Replay {
        id: ReplayId(row.id(0)?),
        tenant: TenantId(row.id(2)?),
        endpoint: EndpointId(row.id(4)?),
        state: row.word(10, ReplayState::parse)?,
        reason,
        spec: spec_of(kept)?,
        progress: ReplayProgress {
            total: place.total,
            considered: place.considered,
            replayed: place.replayed,
            skipped: place.skipped,
        },
        created_at: row.time(14)?,
        finished_at: row.time_or_null(15)?,
    };
    Ok(Job {
        replay,
        stored: row.word(9, ReplayState::parse)?,
        project: ProjectId(row.id(6)?),
        shard: u16::try_from(shard).map_err(|_| StoreError::Unreadable(format!("{shard} is not a shard")))?,
        before,
        place,
    })
}

fn spec_of(kept: KeptSpec<'_>) -> Result<ReplaySpec> {
    let unknown = |word: &str| StoreError::Unreadable(format!("{word:?} is not a known word"));
    let state = kept
        .state
        .map(|word| State::parse(&word).ok_or_else(|| unknown(&word)))
        .transpose()?;
    let event_type = kept
        .event_type
        .map(|word| EventTypeName::parse(&word).map_err(|_| unknown(&word)))
        .transpose()?;
    Ok(ReplaySpec {
        since: Timestamp::from_micros(kept.since),
        until: Timestamp::from_micros(kept.until),
        state,
        event_type,
        missing: kept.missing,
    })
}
