//! Test sends: a real signed request to an endpoint, now, past its queue and whatever its status is. It is a delivery like
//! any other, tried once and without consequences for the endpoint.

use crate::endpoints::Which;
use crate::error::{Error, Result};
use crate::publish::MATCH_ROUNDS_MAX;
use crate::{Caller, Engine};
use std::time::Duration;
use stentor_domain::attempt::Trigger;
use stentor_domain::channels::Channels;
use stentor_domain::id::{DeliveryId, EventId};
use stentor_domain::key::Scope;
use stentor_domain::name::EventTypeName;
use stentor_domain::payload_format::PayloadFormat;
use stentor_store::StoreError;
use stentor_store::config::EndpointConfig;
use stentor_store::deliveries::KeptAttempt;
use stentor_store::hot::{Accept, Accepted, NewDelivery, NewEvent};
use stentor_store::once::{Done, Once};
use tokio::time::timeout;

/// What accepting and recording may add to the endpoint's own deadline before the caller is told that something is wrong.
const AROUND: Duration = Duration::from_secs(5);

/// A test that was made.
#[derive(Clone, Debug)]
pub struct TestSend {
    /// Its delivery.
    pub delivery: DeliveryId,
    /// Its only attempt.
    pub attempt: KeptAttempt,
}

impl Engine {
    /// Sends a test to an endpoint and waits for what comes of it.
    pub async fn test_endpoint<'a>(
        &self,
        caller: &Caller,
        which: impl Into<Which<'a>>,
        once: Option<Once<TestSend>>,
    ) -> Result<Done<TestSend>> {
        caller.may_change()?;
        let which = which.into();
        let configured = self.endpoint(caller, which)?;
        if let Some(before) = self.store.answered_before(&once, self.now()).await? {
            return Ok(before);
        }
        let delivery = DeliveryId(self.store.next_id());
        let ended = self.store.finished(delivery);
        self.accept_test(caller, which, delivery).await?;
        let deadline = configured.endpoint.settings.timeout().saturating_add(AROUND);
        let late =
            || StoreError::Unavailable("the test was not made in time; see the endpoint's deliveries".into());
        timeout(deadline, ended)
            .await
            .map_err(|_| late())?
            .map_err(|_| late())?;
        let scope = Scope::Tenant(configured.project, configured.endpoint.tenant);
        let kept = self.store.delivery_with_attempts(scope, delivery).await?;
        let attempt = kept
            .and_then(|(_, attempts)| attempts.into_iter().next())
            .ok_or_else(late)?;
        let made = TestSend { delivery, attempt };
        self.store.keep_answer(once, made.clone()).await?;
        Ok(Done::Now(made))
    }

    async fn accept_test(&self, caller: &Caller, which: Which<'_>, delivery: DeliveryId) -> Result<()> {
        for _ in 0..MATCH_ROUNDS_MAX {
            let configured = self.endpoint(caller, which)?;
            let event = self.test_event(&configured, delivery)?;
            match self
                .store
                .accept_events(Accept {
                    events: vec![event],
                    once: None,
                    known: vec![],
                })
                .await?
            {
                Accepted::Written { .. } => return Ok(()),
                // The configuration moved on; a test has no keys that could be in use.
                _ => continue,
            }
        }
        Err(StoreError::Unavailable("the tenant's configuration changes too fast".into()).into())
    }

    fn test_event(&self, configured: &EndpointConfig, delivery: DeliveryId) -> Result<NewEvent> {
        let endpoint = &configured.endpoint;
        let tenant = self
            .store
            .config()
            .tenant(endpoint.tenant)
            .ok_or(Error::NotFound("endpoint"))?;
        let now = self.now();
        let payload = match endpoint.settings.payload_format {
            // The body that contract v1 gives.
            PayloadFormat::Raw | PayloadFormat::CloudEventsBinary => format!(
                r#"{{"type": "webhook.test", "timestamp": "{}", "data": {{}}}}"#,
                now.iso_millis()
            ),
            // It comes in an envelope.
            _ => "{}".to_owned(),
        };
        Ok(NewEvent {
            id: EventId(self.store.next_id()),
            tenant: tenant.id,
            tenant_version: tenant.version,
            event_type: EventTypeName::test(),
            channels: Channels::default(),
            payload: payload.into(),
            event_id: None,
            occurred_at: None,
            accepted_at: now,
            deliveries: vec![NewDelivery {
                id: delivery,
                endpoint: endpoint.id.n(),
                shard: configured.shard,
            }],
            matched: 1,
            trigger: Trigger::Test,
            loops: 0,
            trace: None,
        })
    }
}
