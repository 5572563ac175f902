//! API keys. Their texts never come here, only the SHA-256 of each: a copy of the database opens nothing.

use crate::Store;
use crate::change::{Audit, By, record, tick};
use crate::error::{Result, StoreError};
use crate::once::{self, Done, Once};
use crate::tx::{Row, Tx, values};
use stentor_domain::Timestamp;
use stentor_domain::id::{KeyId, ProjectId, TenantId};
use stentor_domain::key::{Key, Scope};

/// The SHA-256 of a key's text.
pub type KeyHash = [u8; 32];

/// Why a key could not be written.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// There is no such key, or it was revoked.
    #[error("there is no such key")]
    NotFound,
    /// The project or the tenant that the key is for was deleted meanwhile.
    #[error("there is no such {0}")]
    NoScope(&'static str),
    /// Without this key nobody could manage the server over the network.
    #[error("it is the last root key")]
    LastRootKey,
    /// The store's own fault.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What a start found of the root key that it wants to be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RootKey {
    /// It was made now.
    Made,
    /// It, or where none was given any root key at all, was there already.
    There,
    /// It was there once, and was revoked or has expired. It stays so.
    Ended,
    /// Its text is that of a key that may do less.
    Lesser,
}

impl Store {
    /// Makes a key, whose id and scope the caller has drawn and resolved.
    pub async fn create_key(
        &self,
        by: By,
        key: Key,
        hash: KeyHash,
        once: Option<Once<Key>>,
    ) -> Result<Done<Key>, KeyError> {
        self.change(move |tx| Box::pin(create(tx, by, key, hash, once)))
            .await
    }

    /// Makes the root key `key`: where it was `given` by the operator, unless it is known; otherwise only where there
    /// has never been a root key.
    pub async fn ensure_root_key(
        &self,
        by: By,
        key: Key,
        hash: KeyHash,
        given: bool,
    ) -> Result<RootKey, KeyError> {
        self.change(move |tx| Box::pin(ensure_root(tx, by, key, hash, given)))
            .await
    }

    /// The key with this id, unless it was revoked.
    pub async fn key(&self, id: KeyId) -> Result<Option<Key>> {
        self.ask(move |tx| Box::pin(async move { find(tx, id).await }))
            .await
    }

    /// The keys of a project, or of all with `None`, newest first, those older than `before`; at most `limit`. Revoked
    /// ones are not among them.
    pub async fn keys(
        &self,
        project: Option<ProjectId>,
        before: Option<i64>,
        limit: u32,
    ) -> Result<Vec<Key>> {
        let before = before.unwrap_or(i64::MAX);
        self.ask(move |tx| {
            Box::pin(async move {
                match project {
                    Some(project) => {
                        tx.rows(OF_PROJECT, values![project.n(), before, limit], read)
                            .await
                    }
                    None => tx.rows(OF_ALL, values![before, limit], read).await,
                }
            })
        })
        .await
    }

    /// Revokes a key: from this moment it is unknown.
    pub async fn revoke_key(&self, by: By, id: KeyId) -> Result<(), KeyError> {
        self.change(move |tx| Box::pin(revoke(tx, by, id))).await
    }
}

/// A question for keys, whose columns [`read`] expects.
macro_rules! select {
    ($condition:literal) => {
        concat!(
            "SELECT n, tag, role, project, (SELECT tag FROM projects WHERE n = api_keys.project),
                    tenant, (SELECT tag FROM tenants WHERE n = api_keys.tenant),
                    read_only, name, created_at, expires_at, last_used_at, hash, revoked_at
             FROM api_keys ",
            $condition
        )
    };
}

const CHANGED: &str = select!("WHERE config_version > ?1");
const WITH_HASH: &str = select!("WHERE hash = ?1");
const WITH_ID: &str = select!("WHERE n = ?1 AND tag = ?2 AND revoked_at IS NULL");
const OF_PROJECT: &str =
    select!("WHERE project = ?1 AND n < ?2 AND revoked_at IS NULL ORDER BY n DESC LIMIT ?3");
const OF_ALL: &str = select!("WHERE n < ?1 AND revoked_at IS NULL ORDER BY n DESC LIMIT ?2");

/// Keys that changed since the configuration was at `since`: hash, key, and whether it was revoked.
pub(crate) async fn changed(tx: &mut Tx<'_>, since: i64) -> Result<Vec<(KeyHash, Key, bool)>> {
    tx.rows(CHANGED, values![since], |row| {
        let hash = row.bytes(12)?.try_into();
        let hash = hash.map_err(|_| StoreError::Unreadable("a key's hash is not 32 bytes".into()))?;
        Ok((hash, read(row)?, revoked(row)?))
    })
    .await
}

/// Revokes the keys of a tenant that is being deleted.
pub(crate) async fn revoke_of_tenant(
    tx: &mut Tx<'_>,
    tenant: TenantId,
    at: Timestamp,
    version: i64,
) -> Result<()> {
    tx.execute(
        "UPDATE api_keys SET revoked_at = ?1, config_version = ?2 WHERE tenant = ?3 AND revoked_at IS NULL",
        values![at, version, tenant.n()],
    )
    .await?;
    Ok(())
}

/// Revokes the keys of a project that is being deleted.
pub(crate) async fn revoke_of_project(
    tx: &mut Tx<'_>,
    project: ProjectId,
    at: Timestamp,
    version: i64,
) -> Result<()> {
    tx.execute(
        "UPDATE api_keys SET revoked_at = ?1, config_version = ?2 WHERE project = ?3 AND revoked_at IS NULL",
        values![at, version, project.n()],
    )
    .await?;
    Ok(())
}

async fn create(
    tx: &mut Tx<'_>,
    by: By,
    key: Key,
    hash: KeyHash,
    once: Option<Once<Key>>,
) -> Result<Done<Key>, KeyError> {
    let version = tick(tx).await?;
    if let Some(done) = once::before(tx, once.as_ref(), by.at).await? {
        return Ok(done);
    }
    check_scope_is_there(tx, key.scope).await?;
    insert(tx, &by, &key, &hash, version).await?;
    once::keep(tx, once, &key).await?;
    Ok(Done::Now(key))
}

async fn ensure_root(
    tx: &mut Tx<'_>,
    by: By,
    key: Key,
    hash: KeyHash,
    given: bool,
) -> Result<RootKey, KeyError> {
    let version = tick(tx).await?;
    if given {
        let known = tx
            .row(WITH_HASH, values![&hash[..]], |row| {
                Ok((read(row)?, revoked(row)?))
            })
            .await?;
        match known {
            Some((known, _)) if known.scope != Scope::Root || known.read_only => return Ok(RootKey::Lesser),
            Some((known, revoked)) if revoked || known.expired(by.at) => return Ok(RootKey::Ended),
            Some(_) => return Ok(RootKey::There),
            None => {}
        }
    } else {
        let any = "SELECT n FROM api_keys WHERE role = 'root' LIMIT 1";
        if tx.row(any, values![], |row| row.int(0)).await?.is_some() {
            return Ok(RootKey::There);
        }
    }
    insert(tx, &by, &key, &hash, version).await?;
    Ok(RootKey::Made)
}

async fn revoke(tx: &mut Tx<'_>, by: By, id: KeyId) -> Result<(), KeyError> {
    let version = tick(tx).await?;
    let key = find(tx, id).await?.ok_or(KeyError::NotFound)?;
    let manages = key.scope == Scope::Root && !key.read_only && !key.expired(by.at);
    if manages && !another_manages(tx, id, by.at).await? {
        return Err(KeyError::LastRootKey);
    }
    tx.execute_one(
        "UPDATE api_keys SET revoked_at = ?1, config_version = ?2 WHERE n = ?3",
        values![by.at, version, id.n()],
    )
    .await?;
    audit(tx, &by, "key.revoked", &key).await?;
    Ok(())
}

/// Is there a valid root key besides `id` that may change things?
async fn another_manages(tx: &mut Tx<'_>, id: KeyId, now: Timestamp) -> Result<bool> {
    let another = tx
        .row(
            "SELECT n FROM api_keys WHERE role = 'root' AND read_only = 0 AND revoked_at IS NULL
                AND (expires_at IS NULL OR expires_at > ?1) AND n <> ?2 LIMIT 1",
            values![now, id.n()],
            |row| row.int(0),
        )
        .await?;
    Ok(another.is_some())
}

async fn check_scope_is_there(tx: &mut Tx<'_>, scope: Scope) -> Result<(), KeyError> {
    let (what, sql, n) = match scope {
        Scope::Root => return Ok(()),
        Scope::Project(project) => {
            let sql = "SELECT n FROM projects WHERE n = ?1 AND deleted_at IS NULL";
            ("project", sql, project.n())
        }
        Scope::Tenant(_, tenant) => {
            let sql = "SELECT n FROM tenants WHERE n = ?1 AND deleted_at IS NULL";
            ("tenant", sql, tenant.n())
        }
    };
    let there = tx.row(sql, values![n], |row| row.int(0)).await?;
    there.map(drop).ok_or(KeyError::NoScope(what))
}

async fn insert(tx: &mut Tx<'_>, by: &By, key: &Key, hash: &KeyHash, version: i64) -> Result<()> {
    let (project, tenant) = places(key.scope);
    tx.execute_one(
        "INSERT INTO api_keys (n, tag, hash, role, project, tenant, read_only, name, created_at, expires_at,
                               config_version)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
        values![
            key.id.n(),
            key.id.0.tag,
            &hash[..],
            key.scope.role(),
            project.map(ProjectId::n),
            tenant.map(TenantId::n),
            key.read_only,
            key.name.as_deref(),
            key.created_at,
            key.expires_at,
            version,
        ],
    )
    .await?;
    audit(tx, by, "key.created", key).await
}

async fn find(tx: &mut Tx<'_>, id: KeyId) -> Result<Option<Key>> {
    tx.row(WITH_ID, values![id.n(), id.0.tag], read).await
}

async fn audit(tx: &mut Tx<'_>, by: &By, action: &'static str, key: &Key) -> Result<()> {
    let object = key.id.to_string();
    let (project, tenant) = places(key.scope);
    let read_only = if key.read_only { ", read-only" } else { "" };
    let detail = format!("{}{read_only}", key.scope.role());
    record(
        tx,
        by,
        Audit {
            action,
            object: &object,
            project,
            tenant,
            detail: Some(&detail),
        },
    )
    .await
}

/// The project and the tenant of a scope, where it has them.
fn places(scope: Scope) -> (Option<ProjectId>, Option<TenantId>) {
    match scope {
        Scope::Root => (None, None),
        Scope::Project(project) => (Some(project), None),
        Scope::Tenant(project, tenant) => (Some(project), Some(tenant)),
    }
}

fn revoked(row: &Row<'_>) -> Result<bool> {
    Ok(row.int_or_null(13)?.is_some())
}

fn read(row: &Row<'_>) -> Result<Key> {
    let project = || Ok::<_, StoreError>(ProjectId(row.id(3)?));
    let tenant = || Ok::<_, StoreError>(TenantId(row.id(5)?));
    let scope = match row.text(2)?.as_str() {
        "root" => Scope::Root,
        "project" => Scope::Project(project()?),
        "tenant" => Scope::Tenant(project()?, tenant()?),
        other => return Err(StoreError::Unreadable(format!("{other:?} is not a role"))),
    };
    Ok(Key {
        id: KeyId(row.id(0)?),
        scope,
        read_only: row.flag(7)?,
        name: row.text_or_null(8)?,
        created_at: row.time(9)?,
        expires_at: row.time_or_null(10)?,
        last_used_at: row.time_or_null(11)?,
    })
}
