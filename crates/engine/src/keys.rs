//! Managing API keys.

use crate::caller::hash;
use crate::error::{Check, Error, Result};
use crate::{Caller, DEFAULT_PROJECT, Engine, Page, page};
use stentor_domain::Timestamp;
use stentor_domain::id::KeyId;
use stentor_domain::key::{Key, KeyText, Scope};
use stentor_domain::name::check_name;
use stentor_store::change::By;
use stentor_store::config::ProjectConfig;
use stentor_store::keys::KeyError;
use stentor_store::once::{Done, Once};

/// What a key may do; with its project and tenant it becomes a [`Scope`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Everything.
    Root,
    /// Everything in one project.
    Project,
    /// One tenant.
    Tenant,
}

/// What a caller says about a new key.
#[derive(Clone, Debug)]
pub struct NewKey {
    /// What it may do.
    pub role: Role,
    /// The project of a project's or tenant's key, by name or id; without it the caller's.
    pub project: Option<String>,
    /// The tenant of a tenant's key, by id or uid; without it the one that the request's head names.
    pub tenant: Option<String>,
    /// May it look only?
    pub read_only: bool,
    /// What it is for.
    pub name: Option<String>,
    /// When it ends by itself.
    pub expires_at: Option<Timestamp>,
}

/// A key that was made now, with its text, which nobody can show again.
#[derive(Clone, Debug)]
pub struct MadeKey {
    /// The key.
    pub key: Key,
    /// Its text.
    pub text: KeyText,
}

impl Engine {
    /// Makes a key. A root key makes any, a project key makes tenant keys of its project.
    pub async fn create_key(
        &self,
        caller: &Caller,
        new: NewKey,
        once: Option<Once<Key>>,
    ) -> Result<Done<MadeKey>> {
        caller.is_above_tenant()?;
        caller.may_change()?;
        if new.role != Role::Tenant && caller.is_root().is_err() {
            return Err(Error::Forbidden("A project key makes tenant keys only."));
        }
        new.check(self.now())?;
        let scope = if new.role == Role::Root {
            Scope::Root
        } else {
            let project = self.project(caller, new.project.as_deref())?;
            let tenant = new.tenant.as_deref().or(caller.tenant_named.as_deref());
            self.scope_in(&project, new.role, tenant)?
        };
        self.make_key(self.by(caller), scope, new, once).await
    }

    /// Makes a key for whoever runs Stentor's command line, with no caller; makes project `default` before, where a
    /// server has never been started.
    pub async fn create_key_offline(&self, new: NewKey) -> Result<MadeKey> {
        self.make_default_project().await?;
        new.check(self.now())?;
        let project = new.project.as_deref().unwrap_or(DEFAULT_PROJECT);
        let project = self.project_called(project).ok_or(Error::NotFound("project"))?;
        let scope = self.scope_in(&project, new.role, new.tenant.as_deref())?;
        match self.make_key(self.by_server(), scope, new, None).await? {
            Done::Now(made) => Ok(made),
            Done::Before { .. } | Done::Conflict => Err(Error::conflict(
                "idempotency_key_reused",
                "No idempotency key was given, and yet it was used.",
            )),
        }
    }

    /// The keys of the caller's project, newest first; for a root key that names no project, all.
    pub async fn list_keys(&self, caller: &Caller, before: Option<i64>, limit: u32) -> Result<Page<Key>> {
        caller.is_above_tenant()?;
        let project = self.project_seen(caller)?;
        let keys = self.store.keys(project, before, limit.saturating_add(1)).await?;
        Ok(page(keys, limit, |key| key.id.n()))
    }

    /// Revokes a key: a root key any but the last root key that may change things, a project key the tenant keys of its
    /// project.
    pub async fn revoke_key(&self, caller: &Caller, id: &str) -> Result<()> {
        caller.is_above_tenant()?;
        caller.may_change()?;
        let missing = Error::NotFound("key");
        let Some(id) = KeyId::parse(id) else {
            return Err(missing);
        };
        let key = self.store.key(id).await?;
        match key.map(|key| key.scope) {
            None => return Err(missing),
            Some(_) if caller.is_root().is_ok() => {}
            Some(Scope::Tenant(project, tenant)) if caller.reaches(project, tenant) => {}
            // Its list shows the other keys of its project, so that these are no secret to it.
            Some(Scope::Project(project)) if caller.key.scope == Scope::Project(project) => {
                return Err(Error::Forbidden("A project key revokes tenant keys only."));
            }
            Some(_) => return Err(missing),
        }
        Ok(self.store.revoke_key(self.by(caller), id).await?)
    }

    fn scope_in(&self, project: &ProjectConfig, role: Role, tenant: Option<&str>) -> Result<Scope> {
        match role {
            Role::Root => Ok(Scope::Root),
            Role::Project => Ok(Scope::Project(project.id)),
            Role::Tenant => {
                let named = tenant.ok_or(Error::TenantRequired)?;
                let tenant = self.tenant_of(project, named).ok_or(Error::NotFound("tenant"))?;
                Ok(Scope::Tenant(project.id, tenant.id))
            }
        }
    }

    async fn make_key(
        &self,
        by: By,
        scope: Scope,
        new: NewKey,
        once: Option<Once<Key>>,
    ) -> Result<Done<MadeKey>> {
        let text = KeyText::draw(scope, self.store.chance());
        let key = Key {
            id: KeyId(self.store.next_id()),
            scope,
            read_only: new.read_only,
            name: new.name,
            created_at: by.at,
            expires_at: new.expires_at,
            last_used_at: None,
        };
        let done = self.store.create_key(by, key, hash(text.expose()), once).await?;
        Ok(done.map(|key| MadeKey { key, text }))
    }
}

impl NewKey {
    fn check(&self, now: Timestamp) -> Result<()> {
        let mut check = Check::default();
        if let Some(name) = &self.name {
            check.take("name", check_name(name));
        }
        if self.expires_at.is_some_and(|end| end <= now) {
            check.broken("expires_at", "must be in the future");
        }
        // What would be ignored is refused: who names a project for a root key believes that it is held to it.
        if self.role == Role::Root && self.project.is_some() {
            check.broken(
                "project",
                "does not go with role root, which acts in all projects",
            );
        }
        if self.role != Role::Tenant && self.tenant.is_some() {
            check.broken("tenant", "goes with role tenant only");
        }
        check.done()
    }
}

impl From<KeyError> for Error {
    fn from(error: KeyError) -> Self {
        match error {
            KeyError::NotFound => Self::NotFound("key"),
            KeyError::NoScope(what) => Self::NotFound(what),
            KeyError::LastRootKey => Self::conflict(
                "last_root_key",
                "Without this key nobody could manage the server. Make another root key first, then revoke this one.",
            ),
            KeyError::Store(error) => Self::Store(error),
        }
    }
}
