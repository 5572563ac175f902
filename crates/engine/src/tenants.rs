//! Managing tenants.

use crate::error::{Check, Error, Result};
use crate::{Caller, Engine, Page, page};
use stentor_domain::id::TenantId;
use stentor_domain::limits::METADATA_BYTES_MAX;
use stentor_domain::name::{check_name, check_uid};
use stentor_store::once::{Done, Once};
use stentor_store::tenants::{Tenant, TenantError, TenantSettings};

/// What a caller says about a new tenant.
#[derive(Clone, Debug)]
pub struct NewTenant {
    /// Its display name.
    pub name: String,
    /// The owner's own id for it.
    pub uid: Option<String>,
    /// Notes about it: a JSON object as text.
    pub metadata: Option<String>,
}

/// What a caller wants changed of a tenant; an outer `None` leaves alone, an inner one clears.
#[derive(Clone, Debug, Default)]
pub struct TenantPatch {
    /// Its display name.
    pub name: Option<String>,
    /// The owner's own id for it.
    pub uid: Option<Option<String>>,
    /// Notes about it: a JSON object as text.
    pub metadata: Option<Option<String>>,
}

impl Engine {
    /// Makes a tenant in the caller's project.
    pub async fn create_tenant(
        &self,
        caller: &Caller,
        project: Option<&str>,
        new: NewTenant,
        once: Option<Once<Tenant>>,
    ) -> Result<Done<Tenant>> {
        caller.is_above_tenant()?;
        caller.may_change()?;
        let project = self.project(caller, project)?;
        let patch = TenantPatch {
            name: Some(new.name),
            uid: Some(new.uid),
            metadata: Some(new.metadata),
        };
        patch.check()?;
        let mut settings = TenantSettings {
            name: String::new(),
            uid: None,
            metadata: None,
        };
        patch.apply(&mut settings);
        Ok(self
            .store
            .create_tenant(self.by(caller), project.id, settings, once)
            .await?)
    }

    /// The caller's tenant with this id or uid.
    pub async fn get_tenant(&self, caller: &Caller, named: &str) -> Result<Tenant> {
        caller.is_above_tenant()?;
        let id = self.tenant_id(caller, named)?;
        self.store.tenant(id).await?.ok_or(Error::NotFound("tenant"))
    }

    /// The tenants of the caller's project, newest first.
    pub async fn list_tenants(
        &self,
        caller: &Caller,
        before: Option<i64>,
        limit: u32,
    ) -> Result<Page<Tenant>> {
        caller.is_above_tenant()?;
        let project = self.project(caller, None)?;
        let tenants = self
            .store
            .tenants(project.id, before, limit.saturating_add(1))
            .await?;
        Ok(page(tenants, limit, |tenant| tenant.id.n()))
    }

    /// Changes a tenant.
    pub async fn update_tenant(&self, caller: &Caller, named: &str, patch: TenantPatch) -> Result<Tenant> {
        caller.is_above_tenant()?;
        caller.may_change()?;
        patch.check()?;
        let id = self.tenant_id(caller, named)?;
        Ok(self
            .store
            .update_tenant(self.by(caller), id, move |settings| patch.apply(settings))
            .await?)
    }

    /// Deletes a tenant with its endpoints; what is unfinished is cancelled.
    pub async fn delete_tenant(&self, caller: &Caller, named: &str) -> Result<()> {
        caller.is_above_tenant()?;
        caller.may_change()?;
        let id = self.tenant_id(caller, named)?;
        Ok(self.store.delete_tenant(self.by(caller), id).await?)
    }

    fn tenant_id(&self, caller: &Caller, named: &str) -> Result<TenantId> {
        Ok(self.tenant(caller, Some(named))?.id)
    }
}

impl TenantPatch {
    fn check(&self) -> Result<()> {
        let mut check = Check::default();
        if let Some(name) = &self.name {
            check.take("name", check_name(name));
        }
        if let Some(Some(uid)) = &self.uid {
            check.take("uid", check_uid(uid, TenantId::PREFIX));
        }
        if let Some(Some(metadata)) = &self.metadata {
            check.take("metadata", check_metadata(metadata));
        }
        check.done()
    }

    fn apply(self, settings: &mut TenantSettings) {
        if let Some(name) = self.name {
            settings.name = name;
        }
        if let Some(uid) = self.uid {
            settings.uid = uid;
        }
        if let Some(metadata) = self.metadata {
            settings.metadata = metadata;
        }
    }
}

/// Checks an owner's notes: a JSON object of at most 4 KiB.
pub(crate) fn check_metadata(text: &str) -> Result<(), String> {
    if !text.trim_start().starts_with('{') {
        return Err("must be a JSON object".into());
    }
    if text.len() > METADATA_BYTES_MAX {
        return Err(format!("must be at most {METADATA_BYTES_MAX} bytes of JSON"));
    }
    Ok(())
}

impl From<TenantError> for Error {
    fn from(error: TenantError) -> Self {
        match error {
            TenantError::UidTaken => Self::uid_taken("tenant"),
            TenantError::NotFound => Self::NotFound("tenant"),
            TenantError::NoProject => Self::NotFound("project"),
            TenantError::Store(error) => Self::Store(error),
        }
    }
}
