//! Who asks, and on whose behalf: the rules of roles and scopes, in one place.

use crate::error::{Error, Result};
use crate::{DEFAULT_PROJECT, Engine};
use sha2::{Digest, Sha256};
use std::net::IpAddr;
use std::sync::Arc;
use stentor_domain::id::{ProjectId, TenantId};
use stentor_domain::key::{Actor, Key, Scope};
use stentor_store::config::{ProjectConfig, TenantConfig};
use stentor_store::keys::KeyHash;

/// An authenticated caller, with what the request says about project and tenant outside its body.
#[derive(Clone, Debug)]
pub struct Caller {
    /// The key.
    pub key: Arc<Key>,
    /// Where the request came from.
    pub address: Option<IpAddr>,
    /// The project that `?project=` names, by name or id.
    pub project_named: Option<String>,
    /// The tenant that `X-Tenant` or `?tenant=` names, by id or uid.
    pub tenant_named: Option<String>,
}

impl Caller {
    /// Who changes something, for the audit log.
    pub fn actor(&self) -> Actor {
        Actor {
            key: Some(self.key.id),
            address: self.address,
        }
    }

    /// Refuses a read-only key.
    pub fn may_change(&self) -> Result<()> {
        if self.key.read_only {
            Err(Error::Forbidden("The key is read-only."))
        } else {
            Ok(())
        }
    }

    /// Refuses all but root keys.
    pub fn is_root(&self) -> Result<()> {
        match self.key.scope {
            Scope::Root => Ok(()),
            _ => Err(Error::Forbidden("This needs a root key.")),
        }
    }

    /// Refuses tenant keys.
    pub fn is_above_tenant(&self) -> Result<()> {
        match self.key.scope {
            Scope::Tenant(..) => Err(Error::Forbidden("This needs a project key or a root key.")),
            _ => Ok(()),
        }
    }

    /// May the caller see what belongs to this tenant of this project?
    pub fn reaches(&self, project: ProjectId, tenant: TenantId) -> bool {
        match self.key.scope {
            Scope::Root => true,
            Scope::Project(own) => own == project,
            Scope::Tenant(_, own) => own == tenant,
        }
    }
}

/// What is stored of a key's text.
pub(crate) fn hash(text: &str) -> KeyHash {
    Sha256::digest(text.as_bytes()).into()
}

impl Engine {
    /// The key with this text, if it is known and has not expired; notes that it was used. Looking up its hash takes the
    /// same time for every text.
    pub fn authenticate(&self, text: &str) -> Option<Arc<Key>> {
        let now = self.now();
        let key = self.store.config().key(&hash(text))?;
        if key.expired(now) {
            return None;
        }
        self.store.note_key_use(key.id, now);
        Some(key)
    }

    /// The project that a key belongs to; a root key belongs to none.
    pub fn project_of(&self, key: &Key) -> Option<Arc<ProjectConfig>> {
        match key.scope {
            Scope::Root => None,
            Scope::Project(own) | Scope::Tenant(own, _) => self.store.config().project(own),
        }
    }

    /// The project that the caller acts in: its own; for a root key the one named in the body, then in the query, then
    /// `default`. A project that is not the caller's own does not exist for it.
    pub fn project(&self, caller: &Caller, in_body: Option<&str>) -> Result<Arc<ProjectConfig>> {
        let config = self.store.config();
        let named = in_body.or(caller.project_named.as_deref());
        let found = named.map(|named| self.project_called(named));
        let project = match (found, caller.key.scope) {
            (Some(found), Scope::Root) => found,
            (None, Scope::Root) => config.project_named(DEFAULT_PROJECT),
            (None, Scope::Project(own) | Scope::Tenant(own, _)) => config.project(own),
            (Some(found), Scope::Project(own) | Scope::Tenant(own, _)) => {
                found.filter(|found| found.id == own)
            }
        };
        project.ok_or(Error::NotFound("project"))
    }

    /// The project with this id or name.
    pub(crate) fn project_called(&self, named: &str) -> Option<Arc<ProjectConfig>> {
        let config = self.store.config();
        match ProjectId::parse(named) {
            Some(id) => config.project(id),
            None => config.project_named(named),
        }
    }

    /// The project whose keys and audit log the caller sees; `None` is all of them: a root key that names none.
    pub(crate) fn project_seen(&self, caller: &Caller) -> Result<Option<ProjectId>> {
        if caller.key.scope == Scope::Root && caller.project_named.is_none() {
            return Ok(None);
        }
        Ok(Some(self.project(caller, None)?.id))
    }

    /// Whose keys and whose audit log the caller sees, as a scope.
    pub fn scope_seen(&self, caller: &Caller) -> Result<Scope> {
        Ok(self.project_seen(caller)?.map_or(Scope::Root, Scope::Project))
    }

    /// The tenant that the caller acts for: its own; for other keys the one named in the body, then in the header or
    /// the query. A tenant that is not the caller's own does not exist for it.
    pub fn tenant(&self, caller: &Caller, in_body: Option<&str>) -> Result<Arc<TenantConfig>> {
        let project = self.project(caller, None)?;
        let config = self.store.config();
        let named = in_body.or(caller.tenant_named.as_deref());
        let found = named.map(|named| self.tenant_of(&project, named));
        let tenant = match (found, caller.key.scope) {
            (Some(found), Scope::Tenant(_, own)) => found.filter(|found| found.id == own),
            (None, Scope::Tenant(_, own)) => config.tenant(own),
            (Some(found), _) => found,
            (None, _) => return Err(Error::TenantRequired),
        };
        tenant.ok_or(Error::NotFound("tenant"))
    }

    /// The tenant whose id or uid stands in a request's path. A header or query that names another one all the same makes it
    /// nobody's.
    pub fn tenant_in_path(&self, caller: &Caller, named: &str) -> Result<Arc<TenantConfig>> {
        let tenant = self.tenant(caller, Some(named))?;
        if caller.tenant_named.is_some() && self.tenant(caller, None)?.id != tenant.id {
            return Err(Error::NotFound("tenant"));
        }
        Ok(tenant)
    }

    /// What the caller acts among: the tenant that it names or is bound to, else all of its project.
    pub fn scope(&self, caller: &Caller) -> Result<Scope> {
        if caller.tenant_named.is_none() && !matches!(caller.key.scope, Scope::Tenant(..)) {
            return Ok(Scope::Project(self.project(caller, None)?.id));
        }
        let tenant = self.tenant(caller, None)?;
        Ok(Scope::Tenant(tenant.project, tenant.id))
    }

    /// Where an object may be that the caller names by its id, which implies project and tenant: for a root key anywhere,
    /// unless it names one of them all the same.
    pub fn scope_of_named(&self, caller: &Caller) -> Result<Scope> {
        let names_none = caller.project_named.is_none() && caller.tenant_named.is_none();
        if caller.key.scope == Scope::Root && names_none {
            return Ok(Scope::Root);
        }
        self.scope(caller)
    }

    /// The tenant of `project` with this id or uid. The one that holds its operational endpoints is nobody's.
    pub(crate) fn tenant_of(&self, project: &ProjectConfig, named: &str) -> Option<Arc<TenantConfig>> {
        let config = self.store.config();
        match TenantId::parse(named) {
            Some(id) => config
                .tenant(id)
                .filter(|tenant| tenant.project == project.id && !tenant.operational),
            None => config.tenant_with_uid(project.id, named),
        }
    }
}
