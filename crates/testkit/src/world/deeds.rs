//! What people do in a story: tenants and endpoints are made and changed, events are published, deliveries are steered.
//! A tenant is named by its uid; where a story names an event, it is one with a single delivery.

use super::World;
use std::collections::BTreeMap;
use stentor_domain::contract::Contract;
use stentor_domain::delivery::Delivery;
use stentor_domain::id::{EndpointId, EventId};
use stentor_domain::limits::BATCH_EVENTS_MAX;
use stentor_domain::secret::Secret;
use stentor_engine::endpoints::{EndpointFields, RotationFields};
use stentor_engine::projects::ProjectPatch;
use stentor_engine::publish::{Publication, Published, Publishing};
use stentor_engine::tenants::NewTenant;
use stentor_engine::test_send::TestSend;
use stentor_engine::{Caller, DEFAULT_PROJECT, Result};
use stentor_store::once::Done;
use stentor_store::projects::NewProject;

impl World {
    /// A caller with the root key, on behalf of a tenant.
    pub fn on_behalf_of(&self, tenant: &str) -> Caller {
        Caller {
            tenant_named: Some(tenant.into()),
            ..self.root.clone()
        }
    }

    /// Makes a project that is a sandbox; all that follows is done in it.
    pub async fn sandbox(&mut self) {
        let new = NewProject {
            name: "sandbox".into(),
            sandbox: true,
        };
        now(self.engine.create_project(&self.root, new, None).await);
        self.root.project_named = Some("sandbox".into());
    }

    /// Gives the project in which everything is done a prefix for its signature headers.
    pub async fn sign_under(&self, prefix: &str) {
        let project = self.root.project_named.as_deref().unwrap_or(DEFAULT_PROJECT);
        let patch = ProjectPatch {
            signature_prefix: Some(Some(prefix.into())),
            ..ProjectPatch::default()
        };
        let changed = self.engine.update_project(&self.root, project, patch).await;
        changed.expect("the project is changed");
    }

    /// Makes a tenant.
    pub async fn tenant(&self, uid: &str) {
        let new = NewTenant {
            name: uid.into(),
            uid: Some(uid.into()),
            metadata: None,
        };
        now(self.engine.create_tenant(&self.root, None, new, None).await);
    }

    /// Makes an endpoint at `url` that wants everything.
    pub async fn endpoint(&self, tenant: &str, url: &str) -> EndpointId {
        self.endpoint_with(tenant, url, EndpointFields::default()).await
    }

    /// Makes an endpoint at `url` with what `fields` say.
    pub async fn endpoint_with(&self, tenant: &str, url: &str, fields: EndpointFields) -> EndpointId {
        self.endpoint_through(Contract::V1, tenant, url, fields).await
    }

    /// Makes an endpoint at `url` through `contract`: with what `fields` say, and otherwise with what the contract does.
    pub async fn endpoint_through(
        &self,
        contract: Contract,
        tenant: &str,
        url: &str,
        fields: EndpointFields,
    ) -> EndpointId {
        let fields = EndpointFields {
            name: Some("an endpoint".into()),
            url: Some(url.into()),
            ..fields
        };
        let made = self
            .engine
            .create_endpoint(&self.root, contract, Some(tenant), fields, None)
            .await;
        now(made).made.endpoint.id
    }

    /// Makes an operational endpoint at `url`, which wants everything that Stentor tells.
    pub async fn operational(&self, url: &str) -> EndpointId {
        self.operational_with(url, EndpointFields::default()).await
    }

    /// Makes an operational endpoint at `url` with what `fields` say.
    pub async fn operational_with(&self, url: &str, fields: EndpointFields) -> EndpointId {
        let fields = EndpointFields {
            name: Some("the operator".into()),
            url: Some(url.into()),
            ..fields
        };
        let made = self
            .engine
            .create_operational_endpoint(&self.root, None, fields, None)
            .await;
        now(made).made.endpoint.id
    }

    /// Changes an endpoint.
    pub async fn change(&self, endpoint: EndpointId, fields: EndpointFields) {
        self.engine
            .update_endpoint(&self.root, endpoint, fields)
            .await
            .expect("the endpoint is changed");
    }

    /// Pauses an endpoint.
    pub async fn pause(&self, endpoint: EndpointId) {
        self.change(endpoint, status("PAUSED")).await;
    }

    /// Makes an endpoint active.
    pub async fn resume(&self, endpoint: EndpointId) {
        self.change(endpoint, status("ACTIVE")).await;
    }

    /// Deletes an endpoint.
    pub async fn delete(&self, endpoint: EndpointId) {
        self.engine
            .delete_endpoint(&self.root, endpoint)
            .await
            .expect("the endpoint is deleted");
    }

    /// Deletes a tenant.
    pub async fn delete_tenant(&self, tenant: &str) {
        self.engine
            .delete_tenant(&self.root, tenant)
            .await
            .expect("the tenant is deleted");
    }

    /// Erases the content of an event.
    pub async fn erase(&self, event: EventId) {
        let id = event.to_string();
        let erased = self.engine.erase_event_content(&self.root, &id);
        erased.await.expect("the content is erased");
    }

    /// Erases the content of everything that a tenant has published so far.
    pub async fn erase_all_of(&self, tenant: &str) {
        let erased = self.engine.erase_tenant_content(&self.root, tenant);
        erased.await.expect("the content is erased");
    }

    /// Draws a new secret beside the earlier ones, which go on for `grace_seconds`. Answers its text.
    pub async fn rotate(&self, endpoint: EndpointId, grace_seconds: i64) -> String {
        let drawn = self.rotate_to(endpoint, None, grace_seconds).await;
        let drawn = drawn.expect("the secret is rotated");
        drawn.expect("no secret was given").expose().to_owned()
    }

    /// Gives an endpoint a secret beside the earlier ones, which go on for `grace_seconds`. Answers the one drawn where none
    /// is given.
    pub async fn rotate_to(
        &self,
        endpoint: EndpointId,
        secret: Option<&str>,
        grace_seconds: i64,
    ) -> Result<Option<Secret>> {
        let fields = RotationFields {
            secret: secret.map(str::to_owned),
            grace_seconds: Some(grace_seconds),
        };
        let rotated = self
            .engine
            .rotate_secret(&self.root, endpoint, Contract::V1, fields, None)
            .await;
        rotated.map(now_of)
    }

    /// Publishes an `order.paid` with this payload.
    pub async fn publish(&self, tenant: &str, payload: &str) -> EventId {
        let published = self.publish_all(vec![order_paid(tenant, payload)]).await;
        published
            .expect("the event is accepted")
            .first()
            .expect("one event")
            .id
    }

    /// Publishes so many, with the payloads `0`, `1` and so on, in batches as large as a producer would make.
    pub async fn publish_many(&self, tenant: &str, count: usize) -> Vec<EventId> {
        let mut events = Vec::new();
        while events.len() < count {
            let batch = events.len()..count.min(events.len() + BATCH_EVENTS_MAX);
            let batch = batch.map(|n| order_paid(tenant, &n.to_string())).collect();
            let published = self.publish_all(batch).await.expect("the events are accepted");
            events.extend(published.iter().map(|one| one.id));
        }
        events
    }

    /// Lets a tenant's endpoints answer an event, so that they are trusted with more than one request at once.
    pub async fn acquaint(&mut self, tenant: &str) {
        self.publish(tenant, "{}").await;
        self.settle().await;
        self.receivers.take();
    }

    /// Publishes events together.
    pub async fn publish_all(&self, publications: Vec<Publication>) -> Result<Vec<Published>> {
        let place = |at: usize| Some(format!("events.{at}"));
        let publishing = self.engine.publish(&self.root, publications, place, |_| Ok(None));
        match publishing.await? {
            Publishing::Accepted(published) => Ok(published),
            other => panic!("no idempotency key was given: {other:?}"),
        }
    }

    /// Sends a test to an endpoint, and answers what the caller hears of it.
    pub async fn test(&mut self, endpoint: EndpointId) -> Result<TestSend> {
        let (engine, root) = (self.engine.clone(), self.root.clone());
        let test = async move { engine.test_endpoint(&root, endpoint, None).await };
        let test = tokio::spawn(test);
        while !test.is_finished() {
            self.settle().await;
            tokio::task::yield_now().await;
        }
        test.await.expect("the test ends").map(now_of)
    }

    /// Tries the delivery of an event again.
    pub async fn retry(&self, event: EventId) -> Result<Delivery> {
        let id = self.delivery(event).await.id.to_string();
        let retried = self.engine.retry_delivery(&self.root, &id, None).await;
        retried.map(now_of)
    }

    /// Cancels the delivery of an event.
    pub async fn cancel(&self, event: EventId) -> Result<Delivery> {
        let id = self.delivery(event).await.id.to_string();
        let cancelled = self.engine.cancel_delivery(&self.root, &id, None).await;
        cancelled.map(now_of)
    }

    /// Settles, and steps the clock to whenever the delivery of an event is due, until it has ended or is held.
    pub async fn play(&mut self, event: EventId) {
        self.settle().await;
        while let Some(due_at) = self.delivery(event).await.next_attempt_at {
            self.clock.step_to(due_at);
            assert!(self.settle().await > 0, "what is due is attempted");
        }
    }

    /// How many requests each receiver has got since the last look.
    pub fn received_by_url(&self) -> BTreeMap<String, usize> {
        let mut counts = BTreeMap::new();
        for received in self.receivers.take() {
            *counts.entry(received.url).or_insert(0) += 1;
        }
        counts
    }
}

/// An event of a story.
pub fn order_paid(tenant: &str, payload: &str) -> Publication {
    Publication {
        tenant: Some(tenant.into()),
        event_type: "order.paid".into(),
        payload: payload.to_owned().into(),
        channels: vec![],
        event_id: None,
        occurred_at: None,
        loops: 0,
        trace: None,
    }
}

fn status(word: &str) -> EndpointFields {
    EndpointFields {
        status: Some(word.into()),
        ..EndpointFields::default()
    }
}

fn now<T: std::fmt::Debug>(done: Result<Done<T>>) -> T {
    now_of(done.expect("it is done"))
}

pub(super) fn now_of<T: std::fmt::Debug>(done: Done<T>) -> T {
    match done {
        Done::Now(made) => made,
        other => panic!("no idempotency key was given: {other:?}"),
    }
}
