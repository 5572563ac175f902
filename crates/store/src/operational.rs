//! Operational endpoints: those that a project has for Stentor's own events. They belong to a tenant of the project that is made
//! with the first one, is deleted with the project, and is in no list and found by nobody. So everything that is true of an
//! endpoint is true of them; what they differ in is who sees them, and that nothing is told of them (see `notices`).

use crate::Store;
use crate::change::tick;
use crate::error::Result;
use crate::tx::{Tx, values};
use stentor_domain::Timestamp;
use stentor_domain::id::{ProjectId, TenantId};

impl Store {
    /// The tenant that holds a project's operational endpoints, made now where it has none; `None` where there is no such project.
    /// The audit log knows of its endpoints only.
    pub async fn operational_tenant(&self, project: ProjectId, now: Timestamp) -> Result<Option<TenantId>> {
        let drawn = TenantId(self.next_id());
        self.change(move |tx| Box::pin(find_or_make(tx, project, drawn, now)))
            .await
    }
}

async fn find_or_make(
    tx: &mut Tx<'_>,
    project: ProjectId,
    drawn: TenantId,
    now: Timestamp,
) -> Result<Option<TenantId>> {
    let version = tick(tx).await?;
    let known = tx
        .row(
            "SELECT n, tag FROM tenants WHERE project = ?1 AND kind = 'operational' AND deleted_at IS NULL",
            values![project.n()],
            |row| Ok(TenantId(row.id(0)?)),
        )
        .await?;
    if known.is_some() {
        return Ok(known);
    }
    let made = tx
        .execute(
            "INSERT INTO tenants (n, tag, project, name, kind, created_at, updated_at, config_version)
             SELECT ?1, ?2, n, 'operational', 'operational', ?4, ?4, ?5 FROM projects WHERE n = ?3 AND deleted_at IS NULL",
            values![drawn.n(), drawn.0.tag, project.n(), now, version],
        )
        .await?;
    Ok((made == 1).then_some(drawn))
}

/// Deletes what a project that is being deleted has of them; the configuration's clock has been raised to `version`.
pub(crate) async fn delete_all(
    tx: &mut Tx<'_>,
    project: ProjectId,
    at: Timestamp,
    version: i64,
) -> Result<()> {
    tx.execute(
        "UPDATE endpoints SET deleted_at = ?1, config_version = ?2 WHERE deleted_at IS NULL AND tenant IN
           (SELECT n FROM tenants WHERE project = ?3 AND kind = 'operational' AND deleted_at IS NULL)",
        values![at, version, project.n()],
    )
    .await?;
    tx.execute(
        "UPDATE tenants SET deleted_at = ?1, config_version = ?2
         WHERE project = ?3 AND kind = 'operational' AND deleted_at IS NULL",
        values![at, version, project.n()],
    )
    .await?;
    Ok(())
}
