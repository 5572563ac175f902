//! What every change of the control plane shares: the configuration's clock, the audit row, and answering a repeated
//! request as the first one was.

use crate::error::{Result, StoreError};
use crate::tx::{Tx, values};
use stentor_domain::Timestamp;
use stentor_domain::id::{AuditId, ProjectId, TenantId};
use stentor_domain::key::Actor;

/// Who changes something, when, and under which name the audit log keeps it.
#[derive(Clone, Debug)]
pub struct By {
    /// Who.
    pub actor: Actor,
    /// When.
    pub at: Timestamp,
    /// The id of the audit row, made by the caller.
    pub audit: AuditId,
}

/// What was changed, for the audit log. Never holds secrets.
pub(crate) struct Audit<'a> {
    /// Such as `tenant.created`.
    pub(crate) action: &'static str,
    /// The object's id as v1 spells it.
    pub(crate) object: &'a str,
    pub(crate) project: Option<ProjectId>,
    pub(crate) tenant: Option<TenantId>,
    /// Which fields were changed, where that says more than the action.
    pub(crate) detail: Option<&'a str>,
}

/// Raises the configuration's clock, the first thing that every change does: changes are in one order, and nobody else
/// can change anything until this one is committed.
pub(crate) async fn tick(tx: &mut Tx<'_>) -> Result<i64> {
    tx.row(
        "UPDATE config_clock SET seq = seq + 1 RETURNING seq",
        values![],
        |row| row.int(0),
    )
    .await?
    .ok_or_else(|| StoreError::Unreadable("config_clock has no row".into()))
}

/// Writes the audit row of a change, in the change's own transaction.
pub(crate) async fn record(tx: &mut Tx<'_>, by: &By, audit: Audit<'_>) -> Result<()> {
    let address = by.actor.address.map(|address| address.to_string());
    tx.execute_one(
        "INSERT INTO audit (n, tag, at, key, key_tag, project, tenant, action, object, address, detail)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
        values![
            by.audit.n(),
            by.audit.0.tag,
            by.at,
            by.actor.key.map(|key| key.n()),
            by.actor.key.map(|key| key.0.tag),
            audit.project.map(|project| project.n()),
            audit.tenant.map(|tenant| tenant.n()),
            audit.action,
            audit.object,
            address.as_deref(),
            audit.detail,
        ],
    )
    .await
}

/// Says that a tenant's configuration changed: what was matched against the version before is matched again.
pub(crate) async fn touch_tenant(tx: &mut Tx<'_>, tenant: TenantId, version: i64) -> Result<()> {
    tx.execute_one(
        "UPDATE tenants SET config_version = ?1 WHERE n = ?2",
        values![version, tenant.n()],
    )
    .await
}
