//! What sending leaves on an endpoint: failures in a row, and the 410 that disables it.

use super::{call, in_snapshot, made, path, plain};
use crate::world::World;
use bytes::Bytes;
use serde_json::{Value, json};
use stentor_domain::Clock as _;
use stentor_domain::attempt::{Exchange, Outcome, Trigger};
use stentor_domain::id::{DeliveryId, EventId};
use stentor_domain::judge::Effect;
use stentor_domain::name::EventTypeName;
use stentor_store::hot::{Accept, NewDelivery, NewEvent, Next};

/// Lets an event be accepted for an endpoint, and its first attempt end with `status`.
async fn attempt(world: &mut World, endpoint: &Value, status: u16, effect: Effect) {
    let config = in_snapshot(world, endpoint).unwrap();
    let (tenant, at) = (config.endpoint.tenant, world.clock.now());
    let event = NewEvent {
        id: EventId(world.store.next_id()),
        tenant,
        tenant_version: world.store.config().tenant(tenant).unwrap().version,
        event_type: EventTypeName::test(),
        payload: Bytes::from_static(b"{}"),
        channels: Default::default(),
        event_id: None,
        occurred_at: None,
        accepted_at: at,
        deliveries: vec![NewDelivery {
            id: DeliveryId(world.store.next_id()),
            endpoint: config.endpoint.id.n(),
            shard: config.shard,
        }],
        matched: 1,
        trigger: Trigger::Event,
        loops: 0,
        trace: None,
    };
    let accept = Accept {
        events: vec![event],
        once: None,
        known: vec![],
    };
    world.store.accept_events(accept).await.unwrap();
    // What earlier changes have told is of no interest.
    let claimed = world.handed_over().await;
    let next = Next::Retry {
        due_at: at,
        failed: 1,
        first_at: Some(at),
    };
    let outcome = Outcome::Answered(status);
    world
        .record(&claimed, outcome, Exchange::default(), next, effect)
        .await;
}

#[tokio::test]
async fn failures_in_a_row_are_shown() {
    let mut world = World::start().await;
    let key = world.tenant_key("acme").await;
    let endpoint = made(&world, &key, plain()).await;
    attempt(&mut world, &endpoint, 500, Effect::Failed { pause: None }).await;
    let shown = call(&world, &key, &path("GET", &endpoint), json!(null)).await;
    assert_eq!(shown.expect(200)["consecutive_failures"], json!(1));
    let list = call(&world, &key, "GET /v1/endpoints", json!(null)).await;
    assert_eq!(list.expect(200)[0]["consecutive_failures"], json!(1));
}

#[tokio::test]
async fn an_endpoint_that_is_gone_is_disabled_with_its_reason_and_resumes_or_pauses() {
    let mut world = World::start().await;
    let key = world.tenant_key("acme").await;
    for (status, shown) in [("ACTIVE", json!(null)), ("PAUSED", json!("2024-01-01T00:00:00Z"))] {
        let endpoint = made(&world, &key, plain()).await;
        attempt(&mut world, &endpoint, 410, Effect::Gone).await;
        let gone = call(&world, &key, &path("GET", &endpoint), json!(null))
            .await
            .expect(200);
        let of = |endpoint: &Value| {
            ["status", "disabled_reason", "paused_at"].map(|field| endpoint[field].clone())
        };
        assert_eq!(of(&gone), [json!("DISABLED"), json!("gone"), json!(null)]);
        let body = json!({"status": status});
        let back = call(&world, &key, &path("PATCH", &endpoint), body)
            .await
            .expect(200);
        assert_eq!(of(&back), [json!(status), json!(null), shown]);
    }
}
