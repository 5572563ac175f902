//! Endpoints: what is stored of them, and every change of it.
//!
//! - `create`, `update`: the changes, each in a transaction of its own;
//! - `rows`: reading and writing rows of `endpoints`;
//! - `secrets`, `header_sets`: what is sealed, in tables of its own.

mod create;
pub(crate) mod disable;
pub(crate) mod header_sets;
mod rows;
pub(crate) mod secrets;
mod update;

pub use create::NewEndpoint;

use crate::Store;
use crate::change::{Audit, By, record, touch_tenant};
use crate::config::EndpointConfig;
use crate::error::{Result, StoreError};
use crate::fresh::Waiting;
use crate::once::{Done, Once};
use crate::seal::MasterKeys;
use crate::tx::{Tx, values};
use rows::Stored;
use secrets::NewSecret;
use std::time::Duration;
use stentor_domain::endpoint::{Endpoint, EndpointSettings, Status};
use stentor_domain::health::Health;
use stentor_domain::id::{EndpointId, TenantId};
use stentor_domain::name::Invalid;
use stentor_domain::secret::Secret;

/// An endpoint, and how sending to it has gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointWithHealth {
    /// The endpoint.
    pub endpoint: Endpoint,
    /// What its attempts so far say of it.
    pub health: Health,
}

/// Why an endpoint could not be written.
#[derive(Debug, thiserror::Error)]
pub enum EndpointError {
    /// Another endpoint of the tenant has this uid.
    #[error("the uid is taken")]
    UidTaken,
    /// The tenant has as many endpoints as it may.
    #[error("the limit of {0} endpoints is reached")]
    LimitReached(u32),
    /// There is no such endpoint.
    #[error("there is no such endpoint")]
    NotFound,
    /// There is no such tenant.
    #[error("there is no such tenant")]
    NoTenant,
    /// What the change would make of the endpoint breaks a rule.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// The store's own fault.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A new secret of an endpoint that has others.
#[derive(Clone, Debug)]
pub struct Rotation {
    /// The new secret.
    pub secret: Secret,
    /// How long the earlier ones go on signing; zero ends them at once.
    pub grace: Duration,
}

impl Store {
    /// Makes an endpoint, as far as its tenant may have one more.
    pub async fn create_endpoint(
        &self,
        by: By,
        new: NewEndpoint,
        once: Option<Once<EndpointWithHealth>>,
    ) -> Result<Done<EndpointWithHealth>, EndpointError> {
        let prepared = create::prepare(self, new);
        self.change(move |tx| Box::pin(create::create(tx, by, prepared, once)))
            .await
    }

    /// The endpoint with this id.
    pub async fn endpoint(&self, id: EndpointId) -> Result<Option<EndpointWithHealth>> {
        let master = self.master().clone();
        self.ask(move |tx| {
            Box::pin(async move { Ok(rows::find(tx, id, &master).await?.map(EndpointWithHealth::from)) })
        })
        .await
    }

    /// Endpoints of a tenant, newest first, those older than `before`; at most `limit`.
    pub async fn endpoints(
        &self,
        tenant: TenantId,
        before: Option<i64>,
        limit: u32,
    ) -> Result<Vec<EndpointWithHealth>> {
        let master = self.master().clone();
        self.ask(move |tx| {
            Box::pin(async move {
                let stored = rows::of_tenant(tx, tenant, before, limit, &master).await?;
                Ok(stored.into_iter().map(EndpointWithHealth::from).collect())
            })
        })
        .await
    }

    /// Changes what `change` changes of an endpoint's settings and status; it may refuse what would come of it. With a
    /// `secret` all earlier ones end at once. An endpoint that becomes active is told to the dispatcher.
    pub async fn update_endpoint(
        &self,
        by: By,
        id: EndpointId,
        secret: Option<Secret>,
        change: impl FnOnce(&mut EndpointSettings, &mut Status) -> Result<(), Invalid> + Send + 'static,
    ) -> Result<EndpointWithHealth, EndpointError> {
        let at = by.at;
        let prepared = update::prepare(self, id, secret);
        let updated = self
            .change_and(
                move |tx| Box::pin(update::update(tx, by, prepared, change)),
                move |updated, effects| {
                    effects.waiting.extend(updated.resumed.then_some(Waiting {
                        endpoint: id.n(),
                        shard: updated.shard,
                        due_at: at,
                    }));
                    effects.forgiven.extend(updated.forgiven.then_some(id.n()));
                },
            )
            .await?;
        Ok(updated.endpoint)
    }

    /// Gives an endpoint a new secret beside the earlier ones, which end when the grace does.
    pub async fn rotate_secret(
        &self,
        by: By,
        id: EndpointId,
        rotation: Rotation,
        once: Option<Once<()>>,
    ) -> Result<Done<()>, EndpointError> {
        let secret = NewSecret::new(self, rotation.secret);
        let sealer = self.sealer();
        let ends_at = by.at.plus(rotation.grace);
        self.change(move |tx| {
            Box::pin(async move { update::rotate(tx, by, (id, &sealer), (secret, ends_at), once).await })
        })
        .await
    }

    /// Deletes an endpoint: from this moment nothing is sent to it, and what is unfinished reads as cancelled.
    pub async fn delete_endpoint(&self, by: By, id: EndpointId) -> Result<(), EndpointError> {
        let master = self.master().clone();
        self.change_and(
            move |tx| Box::pin(async move { update::delete(tx, by, id, &master).await }),
            move |(), effects| effects.forgiven.push(id.n()),
        )
        .await
    }
}

/// Endpoints that changed since the configuration was at `since`, and whether each was deleted. Two questions, however
/// many there are.
pub(crate) async fn changed(
    tx: &mut Tx<'_>,
    since: i64,
    master: &MasterKeys,
) -> Result<Vec<(EndpointConfig, bool)>> {
    let mut secrets = secrets::changed(tx, since, master).await?;
    let stored = rows::changed(tx, since, master).await?;
    let with_secrets = stored.into_iter().map(|stored| {
        let mut config = stored.config;
        config.secrets = secrets.remove(&config.endpoint.id.n()).unwrap_or_default();
        (config, stored.deleted)
    });
    Ok(with_secrets.collect())
}

/// What ends every change of an endpoint: what was matched against its tenant before is matched again, and the audit log
/// knows.
async fn conclude(
    tx: &mut Tx<'_>,
    by: &By,
    action: &'static str,
    config: &EndpointConfig,
    detail: Option<&str>,
) -> Result<()> {
    let endpoint = &config.endpoint;
    touch_tenant(tx, endpoint.tenant, config.version).await?;
    let object = endpoint.id.to_string();
    let audit = Audit {
        action,
        object: &object,
        project: Some(config.project),
        tenant: Some(endpoint.tenant).filter(|_| !config.operational),
        detail,
    };
    record(tx, by, audit).await
}

async fn check_uid_is_free(tx: &mut Tx<'_>, endpoint: &Endpoint) -> Result<(), EndpointError> {
    let Some(uid) = endpoint.settings.uid.as_deref() else {
        return Ok(());
    };
    let taken = tx
        .row(
            "SELECT n FROM endpoints WHERE tenant = ?1 AND uid = ?2 AND n <> ?3 AND deleted_at IS NULL",
            values![endpoint.tenant.n(), uid, endpoint.id.n()],
            |row| row.int(0),
        )
        .await?;
    if taken.is_some() {
        Err(EndpointError::UidTaken)
    } else {
        Ok(())
    }
}

impl From<Stored> for EndpointWithHealth {
    fn from(stored: Stored) -> Self {
        Self {
            endpoint: stored.config.endpoint,
            health: stored.health,
        }
    }
}
