//! Tenants: the customers of the company that runs Stentor.

use crate::Store;
use crate::change::{Audit, By, record, tick};
use crate::error::{Result, StoreError};
use crate::keys;
use crate::once::{self, Done, Once};
use crate::projects;
use crate::tx::{Row, Tx, values};
use stentor_domain::Timestamp;
use stentor_domain::id::{ProjectId, TenantId};

/// A tenant, as its owner knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tenant {
    /// Its id.
    pub id: TenantId,
    /// Its project.
    pub project: ProjectId,
    /// What its owner set.
    pub settings: TenantSettings,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was changed last.
    pub updated_at: Timestamp,
}

/// What the owner of a tenant sets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TenantSettings {
    /// Its display name.
    pub name: String,
    /// The owner's own id for it, unique in its project.
    pub uid: Option<String>,
    /// The owner's own notes about it: a JSON object as text, not looked into.
    pub metadata: Option<String>,
}

/// Why a tenant could not be written.
#[derive(Debug, thiserror::Error)]
pub enum TenantError {
    /// Another tenant of the project has this uid.
    #[error("the uid is taken")]
    UidTaken,
    /// There is no such tenant.
    #[error("there is no such tenant")]
    NotFound,
    /// Its project was deleted meanwhile.
    #[error("there is no such project")]
    NoProject,
    /// The store's own fault.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Store {
    /// Makes a tenant.
    pub async fn create_tenant(
        &self,
        by: By,
        project: ProjectId,
        settings: TenantSettings,
        once: Option<Once<Tenant>>,
    ) -> Result<Done<Tenant>, TenantError> {
        let id = TenantId(self.next_id());
        let tenant = Tenant {
            id,
            project,
            settings,
            created_at: by.at,
            updated_at: by.at,
        };
        self.change(move |tx| Box::pin(create(tx, by, tenant, once)))
            .await
    }

    /// The tenant with this id.
    pub async fn tenant(&self, id: TenantId) -> Result<Option<Tenant>> {
        self.ask(move |tx| Box::pin(async move { find(tx, id).await }))
            .await
    }

    /// Tenants of a project, newest first, those older than `before`; at most `limit`.
    pub async fn tenants(&self, project: ProjectId, before: Option<i64>, limit: u32) -> Result<Vec<Tenant>> {
        self.ask(move |tx| {
            Box::pin(async move {
                let before = before.unwrap_or(i64::MAX);
                tx.rows(
                    "SELECT n, tag, project, (SELECT tag FROM projects WHERE n = tenants.project),
                            name, uid, metadata, created_at, updated_at
                     FROM tenants WHERE project = ?1 AND n < ?2 AND deleted_at IS NULL AND kind = 'customer'
                     ORDER BY n DESC LIMIT ?3",
                    values![project.n(), before, limit],
                    read,
                )
                .await
            })
        })
        .await
    }

    /// Changes what `change` changes of a tenant's settings.
    pub async fn update_tenant(
        &self,
        by: By,
        id: TenantId,
        change: impl FnOnce(&mut TenantSettings) + Send + 'static,
    ) -> Result<Tenant, TenantError> {
        self.change(move |tx| Box::pin(update(tx, by, id, change))).await
    }

    /// Deletes a tenant: from this moment nothing is sent to its endpoints, what is unfinished reads as cancelled, and
    /// its keys are revoked.
    pub async fn delete_tenant(&self, by: By, id: TenantId) -> Result<(), TenantError> {
        self.change(move |tx| Box::pin(delete(tx, by, id))).await
    }
}

async fn create(
    tx: &mut Tx<'_>,
    by: By,
    tenant: Tenant,
    once: Option<Once<Tenant>>,
) -> Result<Done<Tenant>, TenantError> {
    let version = tick(tx).await?;
    if let Some(done) = once::before(tx, once.as_ref(), by.at).await? {
        return Ok(done);
    }
    projects::find(tx, tenant.project)
        .await?
        .ok_or(TenantError::NoProject)?;
    check_uid_is_free(tx, &tenant).await?;
    let settings = &tenant.settings;
    tx.execute_one(
        "INSERT INTO tenants (n, tag, project, uid, name, metadata, created_at, updated_at, config_version)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?7, ?8)",
        values![
            tenant.id.n(),
            tenant.id.0.tag,
            tenant.project.n(),
            settings.uid.as_deref(),
            settings.name.as_str(),
            settings.metadata.as_deref(),
            tenant.created_at,
            version,
        ],
    )
    .await?;
    audit(tx, &by, "tenant.created", &tenant).await?;
    once::keep(tx, once, &tenant).await?;
    Ok(Done::Now(tenant))
}

async fn update(
    tx: &mut Tx<'_>,
    by: By,
    id: TenantId,
    change: impl FnOnce(&mut TenantSettings) + Send,
) -> Result<Tenant, TenantError> {
    let version = tick(tx).await?;
    let mut tenant = find(tx, id).await?.ok_or(TenantError::NotFound)?;
    change(&mut tenant.settings);
    tenant.updated_at = by.at;
    check_uid_is_free(tx, &tenant).await?;
    let settings = &tenant.settings;
    tx.execute_one(
        "UPDATE tenants SET uid = ?1, name = ?2, metadata = ?3, updated_at = ?4, config_version = ?5 WHERE n = ?6",
        values![
            settings.uid.as_deref(),
            settings.name.as_str(),
            settings.metadata.as_deref(),
            by.at,
            version,
            id.n(),
        ],
    )
    .await?;
    audit(tx, &by, "tenant.updated", &tenant).await?;
    Ok(tenant)
}

async fn delete(tx: &mut Tx<'_>, by: By, id: TenantId) -> Result<(), TenantError> {
    let version = tick(tx).await?;
    let tenant = find(tx, id).await?.ok_or(TenantError::NotFound)?;
    tx.execute_one(
        "UPDATE tenants SET deleted_at = ?1, config_version = ?2 WHERE n = ?3",
        values![by.at, version, id.n()],
    )
    .await?;
    // Its endpoints are swept one by one; the tenant itself needs no second look.
    tx.execute(
        "UPDATE endpoints SET deleted_at = ?1, config_version = ?2 WHERE tenant = ?3 AND deleted_at IS NULL",
        values![by.at, version, id.n()],
    )
    .await?;
    keys::revoke_of_tenant(tx, id, by.at, version).await?;
    audit(tx, &by, "tenant.deleted", &tenant).await?;
    Ok(())
}

pub(crate) async fn find(tx: &mut Tx<'_>, id: TenantId) -> Result<Option<Tenant>> {
    tx.row(
        "SELECT n, tag, project, (SELECT tag FROM projects WHERE n = tenants.project),
                name, uid, metadata, created_at, updated_at
         FROM tenants WHERE n = ?1 AND tag = ?2 AND deleted_at IS NULL AND kind = 'customer'",
        values![id.n(), id.0.tag],
        read,
    )
    .await
}

async fn check_uid_is_free(tx: &mut Tx<'_>, tenant: &Tenant) -> Result<(), TenantError> {
    let Some(uid) = tenant.settings.uid.as_deref() else {
        return Ok(());
    };
    let taken = tx
        .row(
            "SELECT n FROM tenants WHERE project = ?1 AND uid = ?2 AND n <> ?3 AND deleted_at IS NULL",
            values![tenant.project.n(), uid, tenant.id.n()],
            |row| row.int(0),
        )
        .await?;
    if taken.is_some() {
        Err(TenantError::UidTaken)
    } else {
        Ok(())
    }
}

async fn audit(tx: &mut Tx<'_>, by: &By, action: &'static str, tenant: &Tenant) -> Result<()> {
    let object = tenant.id.to_string();
    let (project, tenant) = (Some(tenant.project), Some(tenant.id));
    record(
        tx,
        by,
        Audit {
            action,
            object: &object,
            project,
            tenant,
            detail: None,
        },
    )
    .await
}

fn read(row: &Row<'_>) -> Result<Tenant> {
    Ok(Tenant {
        id: TenantId(row.id(0)?),
        project: ProjectId(row.id(2)?),
        settings: TenantSettings {
            name: row.text(4)?,
            uid: row.text_or_null(5)?,
            metadata: row.text_or_null(6)?,
        },
        created_at: row.time(7)?,
        updated_at: row.time(8)?,
    })
}
