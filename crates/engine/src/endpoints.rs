//! Managing endpoints. What a caller says about one is checked in [`fields`].

pub mod fields;

pub use fields::EndpointFields;

use crate::error::{Error, Result};
use crate::{Caller, Engine, Page, page};
use std::sync::Arc;
use std::time::Duration;
use stentor_domain::id::EndpointId;
use stentor_domain::limits::{ROTATION_GRACE_SECONDS, ROTATION_GRACE_SECONDS_MAX};
use stentor_domain::secret::Secret;
use stentor_store::config::EndpointConfig;
use stentor_store::endpoints::{EndpointError, EndpointWithHealth, NewEndpoint, Rotation};
use stentor_store::once::{Done, Once};

/// An endpoint that was made now.
#[derive(Clone, Debug)]
pub struct MadeEndpoint {
    /// The endpoint.
    pub made: EndpointWithHealth,
    /// Its secret, to be shown this once, where the caller gave none.
    pub drawn: Option<Secret>,
}

impl Engine {
    /// Makes an endpoint for the tenant that the caller acts for, which `tenant` may name by id or uid.
    pub async fn create_endpoint(
        &self,
        caller: &Caller,
        tenant: Option<&str>,
        fields: EndpointFields,
        once: Option<Once<EndpointWithHealth>>,
    ) -> Result<Done<MadeEndpoint>> {
        caller.may_change()?;
        let tenant = self.tenant(caller, tenant)?.id;
        let (settings, given) = fields.check_new(&self.settings.allow)?.made_of_nothing()?;
        let (secret, drawn) = match given {
            Some(secret) => (secret, None),
            None => {
                let secret = Secret::draw(self.store.chance());
                (secret.clone(), Some(secret))
            }
        };
        let new = NewEndpoint {
            tenant,
            settings,
            secret,
            endpoints_max: self.settings.endpoints_per_tenant_max,
        };
        let done = self.store.create_endpoint(self.by(caller), new, once).await?;
        Ok(done.map(|made| MadeEndpoint { made, drawn }))
    }

    /// The endpoints of the tenant that the caller acts for, newest first.
    pub async fn list_endpoints(
        &self,
        caller: &Caller,
        before: Option<i64>,
        limit: u32,
    ) -> Result<Page<EndpointWithHealth>> {
        let tenant = self.tenant(caller, None)?.id;
        let endpoints = self
            .store
            .endpoints(tenant, before, limit.saturating_add(1))
            .await?;
        Ok(page(endpoints, limit, |one| one.endpoint.id.n()))
    }

    /// The caller's endpoint with this id.
    pub async fn get_endpoint(&self, caller: &Caller, named: &str) -> Result<EndpointWithHealth> {
        let id = self.endpoint(caller, named)?.endpoint.id;
        self.store.endpoint(id).await?.ok_or(Error::NotFound("endpoint"))
    }

    /// Changes an endpoint.
    pub async fn update_endpoint(
        &self,
        caller: &Caller,
        named: &str,
        fields: EndpointFields,
    ) -> Result<EndpointWithHealth> {
        caller.may_change()?;
        let id = self.endpoint(caller, named)?.endpoint.id;
        let mut checked = fields.check_change(&self.settings.allow)?;
        let by = self.by(caller);
        let (at, secret) = (by.at, checked.secret.take());
        Ok(self
            .store
            .update_endpoint(by, id, secret, move |settings, status| {
                checked.apply(settings, status, at)
            })
            .await?)
    }

    /// Gives an endpoint a new secret, to be shown this once. The earlier ones go on signing for `grace_seconds`, by
    /// default a day.
    pub async fn rotate_secret(
        &self,
        caller: &Caller,
        named: &str,
        grace_seconds: Option<i64>,
        once: Option<Once<()>>,
    ) -> Result<Done<Secret>> {
        caller.may_change()?;
        let id = self.endpoint(caller, named)?.endpoint.id;
        let grace_seconds = grace_seconds.unwrap_or(i64::from(ROTATION_GRACE_SECONDS));
        let grace = u32::try_from(grace_seconds)
            .ok()
            .filter(|grace| *grace <= ROTATION_GRACE_SECONDS_MAX)
            .ok_or_else(|| {
                let rule = format!("must be 0 to {ROTATION_GRACE_SECONDS_MAX} seconds");
                Error::invalid("grace_seconds", rule)
            })?;
        let secret = Secret::draw(self.store.chance());
        let rotation = Rotation {
            secret: secret.clone(),
            grace: Duration::from_secs(u64::from(grace)),
        };
        let done = self
            .store
            .rotate_secret(self.by(caller), id, rotation, once)
            .await?;
        Ok(done.map(|()| secret))
    }

    /// Deletes an endpoint; what is unfinished is cancelled.
    pub async fn delete_endpoint(&self, caller: &Caller, named: &str) -> Result<()> {
        caller.may_change()?;
        let id = self.endpoint(caller, named)?.endpoint.id;
        Ok(self.store.delete_endpoint(self.by(caller), id).await?)
    }

    /// The endpoint with this id, where the caller reaches it. The id implies project and tenant; where the request names
    /// another one all the same, there is no such endpoint.
    pub fn endpoint(&self, caller: &Caller, named: &str) -> Result<Arc<EndpointConfig>> {
        let id = EndpointId::parse(named).ok_or(Error::NotFound("endpoint"))?;
        let known = self.store.config().endpoint(id.n());
        let known = known
            .filter(|known| known.endpoint.id == id && caller.reaches(known.project, known.endpoint.tenant))
            .ok_or(Error::NotFound("endpoint"))?;
        let elsewhere = (caller.project_named.is_some() && self.project(caller, None)?.id != known.project)
            || (caller.tenant_named.is_some() && self.tenant(caller, None)?.id != known.endpoint.tenant);
        if elsewhere {
            Err(Error::NotFound("endpoint"))
        } else {
            Ok(known)
        }
    }
}

impl From<EndpointError> for Error {
    fn from(error: EndpointError) -> Self {
        match error {
            EndpointError::UidTaken => Self::uid_taken("endpoint"),
            EndpointError::LimitReached(most) => Self::conflict(
                "endpoint_limit_reached",
                format!("The tenant has {most} endpoints, the most it may have. Delete one first."),
            ),
            EndpointError::NotFound => Self::NotFound("endpoint"),
            EndpointError::NoTenant => Self::NotFound("tenant"),
            EndpointError::Invalid(fault) => Self::Invalid(vec![fault]),
            EndpointError::Store(error) => Self::Store(error),
        }
    }
}
