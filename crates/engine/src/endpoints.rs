//! Managing endpoints. What a caller says about one is checked in [`fields`]; those for Stentor's own events are in `operational`.

pub mod fields;
mod operational;

pub use fields::EndpointFields;

use crate::error::{Check, Error, Result};
use crate::{Caller, Engine, Page, page};
use fields::Checked;
use std::sync::Arc;
use std::time::Duration;
use stentor_domain::contract::Contract;
use stentor_domain::id::{EndpointId, ProjectId, TenantId};
use stentor_domain::limits::{ROTATION_GRACE_SECONDS, ROTATION_GRACE_SECONDS_MAX};
use stentor_domain::payload_format::PayloadFormat;
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

/// What a caller says about an endpoint's new secret.
#[derive(Clone, Default)]
pub struct RotationFields {
    /// The secret; without it one is drawn.
    pub secret: Option<String>,
    /// How long the earlier ones go on signing, by default a day; 0 ends them at once.
    pub grace_seconds: Option<i64>,
}

/// How a request names an endpoint. `None` is what names nobody's.
#[derive(Clone, Copy, Debug)]
pub enum Which<'a> {
    /// By its id, which implies its tenant.
    Id(Option<EndpointId>),
    /// By its id, within the tenant with this id or uid.
    Of(&'a str, Option<EndpointId>),
    /// An operational one, by its id.
    Operational(Option<EndpointId>),
    /// By its number, within the tenant that the caller acts for.
    Number(Option<i64>),
}

impl From<EndpointId> for Which<'_> {
    fn from(id: EndpointId) -> Self {
        Self::Id(Some(id))
    }
}

impl Engine {
    /// Makes an endpoint `through` a contract, with what it documents where `fields` say nothing, for the tenant that the
    /// caller acts for, which `tenant` may name by id or uid.
    pub async fn create_endpoint(
        &self,
        caller: &Caller,
        through: Contract,
        tenant: Option<&str>,
        fields: EndpointFields,
        once: Option<Once<EndpointWithHealth>>,
    ) -> Result<Done<MadeEndpoint>> {
        caller.may_change()?;
        let tenant = self.tenant(caller, tenant)?;
        let checked = fields.check_new(through, &self.settings.allow)?;
        self.check_styles(&checked, tenant.project)?;
        let format = self.payload_format(tenant.project, through);
        self.make_endpoint(caller, through, (tenant.id, format), checked, once)
            .await
    }

    /// Makes an endpoint of a tenant, with this format where the fields name none.
    async fn make_endpoint(
        &self,
        caller: &Caller,
        through: Contract,
        (tenant, format): (TenantId, PayloadFormat),
        checked: Checked,
        once: Option<Once<EndpointWithHealth>>,
    ) -> Result<Done<MadeEndpoint>> {
        let (settings, given) = checked.made_of_nothing(through.defaults(), format)?;
        let (secret, drawn) = match given {
            Some(secret) => (secret, None),
            None => {
                let secret = through.draw_secret(self.store.chance());
                (secret.clone(), Some(secret))
            }
        };
        let new = NewEndpoint {
            through,
            tenant,
            settings,
            secret,
            endpoints_max: self.endpoints_max(through),
        };
        let done = self.store.create_endpoint(self.by(caller), new, once).await?;
        Ok(done.map(|made| MadeEndpoint { made, drawn }))
    }

    /// Refuses styles that sign in the same headers in this project.
    fn check_styles(&self, checked: &Checked, project: ProjectId) -> Result<()> {
        match self.store.config().project(project) {
            Some(project) => checked.check_in_project(&project.signature_prefix),
            None => Ok(()),
        }
    }

    /// The format that a project starts endpoints with that are made `through` a contract.
    fn payload_format(&self, project: ProjectId, through: Contract) -> PayloadFormat {
        let project = self.store.config().project(project);
        project.map_or(PayloadFormat::Raw, |project| project.payload_formats.of(through))
    }

    /// The most endpoints that a tenant may have after one was made `through` a contract. All are counted, whatever they were
    /// made through.
    fn endpoints_max(&self, through: Contract) -> u32 {
        let most = self.settings.endpoints_per_tenant_max;
        match through {
            Contract::Organization => most.min(self.settings.organization_endpoints_max),
            Contract::V1 | Contract::Apps | Contract::Subscriptions => most,
        }
    }

    /// The endpoints of the tenant that the caller acts for, which `tenant` may name, newest first.
    pub async fn list_endpoints(
        &self,
        caller: &Caller,
        tenant: Option<&str>,
        before: Option<i64>,
        limit: u32,
    ) -> Result<Page<EndpointWithHealth>> {
        let tenant = self.tenant(caller, tenant)?.id;
        let endpoints = self
            .store
            .endpoints(tenant, before, limit.saturating_add(1))
            .await?;
        Ok(page(endpoints, limit, |one| one.endpoint.id.n()))
    }

    /// The caller's endpoint, as it is stored.
    pub async fn get_endpoint<'a>(
        &self,
        caller: &Caller,
        which: impl Into<Which<'a>>,
    ) -> Result<EndpointWithHealth> {
        let id = self.endpoint(caller, which)?.endpoint.id;
        self.store.endpoint(id).await?.ok_or(Error::NotFound("endpoint"))
    }

    /// Changes an endpoint.
    pub async fn update_endpoint<'a>(
        &self,
        caller: &Caller,
        which: impl Into<Which<'a>>,
        fields: EndpointFields,
    ) -> Result<EndpointWithHealth> {
        caller.may_change()?;
        let known = self.endpoint(caller, which)?;
        let id = known.endpoint.id;
        if fields.only_registered {
            self.check_registered(known.project, fields.events.as_deref().unwrap_or_default())
                .await?;
        }
        let mut checked = fields.check_change(&self.settings.allow)?;
        self.check_styles(&checked, known.project)?;
        if known.operational {
            operational::check(&checked)?;
        }
        let by = self.by(caller);
        let (at, secret) = (by.at, checked.secret.take());
        Ok(self
            .store
            .update_endpoint(by, id, secret, move |settings, status| {
                checked.apply(settings, status, at)
            })
            .await?)
    }

    /// Gives an endpoint a new secret: the one in `fields`, else one drawn in the format of the contract `through` which it is
    /// asked for, to be shown this once. The earlier ones go on signing until the grace ends.
    pub async fn rotate_secret<'a>(
        &self,
        caller: &Caller,
        which: impl Into<Which<'a>>,
        through: Contract,
        fields: RotationFields,
        once: Option<Once<()>>,
    ) -> Result<Done<Option<Secret>>> {
        caller.may_change()?;
        let known = self.endpoint(caller, which)?;
        let (given, grace) = fields.check()?;
        let (secret, drawn) = match given {
            Some(secret) => (secret, None),
            None => {
                let of_key_pair = known.endpoint.public_key.is_some();
                let secret = through.draw_successor(of_key_pair, self.store.chance());
                (secret.clone(), Some(secret))
            }
        };
        let rotation = Rotation { secret, grace };
        let done = self
            .store
            .rotate_secret(self.by(caller), known.endpoint.id, rotation, once)
            .await?;
        Ok(done.map(|()| drawn))
    }

    /// Deletes an endpoint; what is unfinished is cancelled.
    pub async fn delete_endpoint<'a>(&self, caller: &Caller, which: impl Into<Which<'a>>) -> Result<()> {
        caller.may_change()?;
        let id = self.endpoint(caller, which)?.endpoint.id;
        Ok(self.store.delete_endpoint(self.by(caller), id).await?)
    }

    /// The endpoint that a request names, where the caller reaches it. Its id implies project and tenant; where the request
    /// names another one all the same, there is no such endpoint.
    pub fn endpoint<'a>(&self, caller: &Caller, which: impl Into<Which<'a>>) -> Result<Arc<EndpointConfig>> {
        let found = match which.into() {
            Which::Id(id) => self.endpoint_with_id(id, false),
            Which::Operational(id) => {
                caller.is_above_tenant()?;
                self.endpoint_with_id(id, true)
            }
            Which::Of(tenant, id) => self
                .tenant_in_path(caller, tenant)?
                .endpoints()
                .iter()
                .find(|known| Some(known.endpoint.id) == id)
                .cloned(),
            Which::Number(number) => self
                .tenant(caller, None)?
                .endpoints()
                .iter()
                .find(|known| Some(known.endpoint.number) == number)
                .cloned(),
        };
        let known = found
            .filter(|known| caller.reaches(known.project, known.endpoint.tenant))
            .ok_or(Error::NotFound("endpoint"))?;
        let elsewhere = (caller.project_named.is_some() && self.project(caller, None)?.id != known.project)
            || (caller.tenant_named.is_some()
                && !known.operational
                && self.tenant(caller, None)?.id != known.endpoint.tenant);
        if elsewhere {
            Err(Error::NotFound("endpoint"))
        } else {
            Ok(known)
        }
    }

    fn endpoint_with_id(&self, id: Option<EndpointId>, operational: bool) -> Option<Arc<EndpointConfig>> {
        let found = id.and_then(|id| self.store.config().endpoint(id.n()));
        found.filter(|known| Some(known.endpoint.id) == id && known.operational == operational)
    }
}

impl RotationFields {
    fn check(self) -> Result<(Option<Secret>, Duration)> {
        let mut check = Check::default();
        let secret = (self.secret).and_then(|text| {
            let parsed = Secret::parse(&text);
            check.take("secret", parsed.map_err(|error| error.to_string()))
        });
        let grace = self.grace_seconds.unwrap_or(i64::from(ROTATION_GRACE_SECONDS));
        let grace = u32::try_from(grace).unwrap_or(u32::MAX);
        if grace > ROTATION_GRACE_SECONDS_MAX {
            let rule = format!("must be 0 to {ROTATION_GRACE_SECONDS_MAX} seconds");
            check.broken("grace_seconds", rule);
        }
        check.done()?;
        Ok((secret, Duration::from_secs(u64::from(grace))))
    }
}

impl From<EndpointError> for Error {
    fn from(error: EndpointError) -> Self {
        match error {
            EndpointError::UidTaken => Self::uid_taken("endpoint"),
            EndpointError::LimitReached(most) => Self::EndpointLimit(most),
            EndpointError::NotFound => Self::NotFound("endpoint"),
            EndpointError::NoTenant => Self::NotFound("tenant"),
            EndpointError::Invalid(fault) => Self::Invalid(vec![fault]),
            EndpointError::Store(error) => Self::Store(error),
        }
    }
}
