//! Reading, retrying and cancelling deliveries.

use crate::error::{Error, Result};
use crate::{Caller, Engine, Page, page};
use stentor_domain::delivery::Delivery;
use stentor_domain::id::DeliveryId;
use stentor_domain::key::Scope;
use stentor_store::config::EndpointConfig;
use stentor_store::deliveries::{DeliveryError, DeliveryFilter, KeptAttempt};
use stentor_store::once::{Done, Once};

impl Engine {
    /// The deliveries that the caller acts among, newest first. An endpoint or event of somebody else has none.
    pub async fn list_deliveries(
        &self,
        caller: &Caller,
        filter: DeliveryFilter,
        before: Option<i64>,
        limit: u32,
    ) -> Result<Page<Delivery>> {
        self.deliveries_in(self.scope(caller)?, filter, before, limit)
            .await
    }

    /// The deliveries for one endpoint, newest first. Whoever found it may see what its tenant sees.
    pub async fn deliveries_of_endpoint(
        &self,
        endpoint: &EndpointConfig,
        filter: DeliveryFilter,
        before: Option<i64>,
        limit: u32,
    ) -> Result<Page<Delivery>> {
        let scope = Scope::Tenant(endpoint.project, endpoint.endpoint.tenant);
        let filter = DeliveryFilter {
            endpoint: Some(endpoint.endpoint.id),
            ..filter
        };
        self.deliveries_in(scope, filter, before, limit).await
    }

    async fn deliveries_in(
        &self,
        scope: Scope,
        filter: DeliveryFilter,
        before: Option<i64>,
        limit: u32,
    ) -> Result<Page<Delivery>> {
        let deliveries = self
            .store
            .deliveries(scope, filter, before, limit.saturating_add(1))
            .await?;
        Ok(page(deliveries, limit, |delivery| delivery.id.n()))
    }

    /// A delivery with its attempts, in their order.
    pub async fn get_delivery(&self, caller: &Caller, id: &str) -> Result<(Delivery, Vec<KeptAttempt>)> {
        let id = parse(id)?;
        let scope = self.scope_of_named(caller)?;
        let found = self.store.delivery_with_attempts(scope, id).await?;
        found.ok_or(Error::NotFound("delivery"))
    }

    /// Tries a delivery again, now; a finished one is reopened.
    pub async fn retry_delivery(
        &self,
        caller: &Caller,
        id: &str,
        once: Option<Once<Delivery>>,
    ) -> Result<Done<Delivery>> {
        caller.may_change()?;
        let id = parse(id)?;
        let scope = self.scope_of_named(caller)?;
        let retried = self.store.retry_delivery(self.by(caller), scope, id, once);
        Ok(retried.await?)
    }

    /// Ends a delivery: at once, or with the attempt in flight; its state tells which.
    pub async fn cancel_delivery(
        &self,
        caller: &Caller,
        id: &str,
        once: Option<Once<Delivery>>,
    ) -> Result<Done<Delivery>> {
        caller.may_change()?;
        let id = parse(id)?;
        let scope = self.scope_of_named(caller)?;
        let cancelled = self.store.cancel_delivery(self.by(caller), scope, id, once);
        Ok(cancelled.await?)
    }
}

fn parse(id: &str) -> Result<DeliveryId> {
    DeliveryId::parse(id).ok_or(Error::NotFound("delivery"))
}

impl From<DeliveryError> for Error {
    fn from(error: DeliveryError) -> Self {
        let (code, detail) = match error {
            DeliveryError::NotFound => return Self::NotFound("delivery"),
            DeliveryError::Store(error) => return Self::Store(error),
            DeliveryError::Test => ("test_delivery", "A test is tried once. Send another test."),
            DeliveryError::EndpointDisabled => (
                "endpoint_disabled",
                "The endpoint is disabled. Make it active, then retry.",
            ),
            DeliveryError::EndpointDeleted => (
                "endpoint_deleted",
                "The endpoint was deleted. Nothing is sent to it any more.",
            ),
            DeliveryError::PayloadExpired => (
                "payload_expired",
                "The event's payload is not kept any more. Publish the event again.",
            ),
            DeliveryError::Finished => ("delivery_finished", "The delivery has ended already."),
            DeliveryError::BeingCancelled => (
                "delivery_being_cancelled",
                "The delivery is being cancelled. Retry it once it has ended.",
            ),
        };
        Self::conflict(code, detail)
    }
}
