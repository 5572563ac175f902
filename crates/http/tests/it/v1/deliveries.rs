//! `/v1/deliveries`, as its callers see it.

use crate::world::World;
use bytes::Bytes;
use serde_json::{Value, json};
use std::time::Duration;
use stentor_domain::attempt::{Answer, Exchange, Outcome};
use stentor_domain::delivery::Reason;
use stentor_domain::judge::Effect;
use stentor_store::Handover;
use stentor_store::hot::{Claim, Claimed, Next};

const EXHAUSTED: Next = Next::Exhausted(Reason::ScheduleEnded);

/// A tenant's key, and its one endpoint, which wants everything.
async fn tenant_with_endpoint(world: &World, uid: &str) -> (String, String) {
    let key = world.tenant_key(uid).await;
    let body = json!({"name": "orders", "url": "https://example.com/hook",
                      "headers_json": {"X-Team": "blue", "X-Api-Key": "s3cret"}});
    let endpoint = world
        .with(&key)
        .call("POST /v1/endpoints", body)
        .await
        .expect(201);
    (key, text(&endpoint["id"]))
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

/// Publishes an event; gives its id, and its delivery as it is handed over.
async fn publish(world: &mut World, tenant: &str, event_type: &str) -> (String, Claimed) {
    let body = json!({"tenant": tenant, "type": event_type, "payload": {"a": 1}});
    let event = world
        .with(&world.root)
        .call("POST /v1/events", body)
        .await
        .expect(202);
    (text(&event["id"]), world.handed_over().await)
}

/// Records the attempt of a delivery in this node's memory.
async fn answer(world: &World, claimed: &Claimed, status: u16, next: Next) {
    let configured = world.store.config().endpoint(claimed.endpoint).unwrap();
    let exchange = Exchange {
        sent_headers: format!("webhook-id: {}\n", claimed.event.id),
        header_set: configured.header_set,
        answer: Some(Answer {
            headers: "content-type: text/plain\n".into(),
            body: Bytes::from_static(b"hello"),
            truncated: false,
        }),
        ..Exchange::default()
    };
    let outcome = Outcome::Answered(status);
    world.record(claimed, outcome, exchange, next, Effect::None).await;
}

/// Claims what waits for the endpoint of `claimed`.
async fn claim_again(world: &World, claimed: &Claimed) -> Claimed {
    let claim = Claim {
        endpoint: claimed.endpoint,
        shard: claimed.shard,
        now: world.store.clock().now(),
        limit: 1,
        in_order: false,
    };
    world.store.claim_due(claim).await.unwrap().deliveries.remove(0)
}

async fn ids(world: &World, key: &str, query: &str) -> Vec<String> {
    let page = world
        .with(key)
        .call(&format!("GET /v1/deliveries{query}"), Value::Null)
        .await
        .expect(200);
    let data = page["data"].as_array().unwrap();
    data.iter().map(|delivery| text(&delivery["id"])).collect()
}

#[tokio::test]
async fn a_delivery_fails_is_retried_and_shows_both_attempts() {
    let mut world = World::start().await;
    let (key, endpoint) = tenant_with_endpoint(&world, "acme").await;
    let (event, first) = publish(&mut world, "acme", "order.paid").await;
    let id = first.delivery.to_string();
    let get = format!("GET /v1/deliveries/{id}");
    let retry = format!("POST /v1/deliveries/{id}/retry");

    let item = world.with(&key).call(&get, Value::Null).await.expect(200);
    assert_eq!(item["status"], "pending");
    assert_eq!(item["event"], event);
    assert_eq!(item["endpoint"], endpoint);
    assert_eq!(item["attempts"], json!([]));

    answer(&world, &first, 500, EXHAUSTED).await;
    let item = world.with(&key).call(&get, Value::Null).await.expect(200);
    assert_eq!(
        (&item["status"], &item["reason"]),
        (&json!("exhausted"), &json!("schedule_ended"))
    );
    assert_eq!(item["next_attempt_at"], Value::Null);

    let again = world.with(&key).call(&retry, Value::Null).await.expect(202);
    assert_eq!((&again["id"], &again["status"]), (&json!(id), &json!("pending")));
    assert_eq!(again["trigger"], "retry");
    assert_eq!(again["attempts"], Value::Null);
    answer(&world, &claim_again(&world, &first).await, 204, Next::Delivered).await;

    let item = world.with(&key).call(&get, Value::Null).await.expect(200);
    assert_eq!(
        (&item["status"], &item["attempt_count"]),
        (&json!("delivered"), &json!(2))
    );
    let attempts = item["attempts"].as_array().unwrap();
    let short = |attempt: &Value| json!([attempt["number"], attempt["trigger"], attempt["status_code"]]);
    let short: Vec<_> = attempts.iter().map(short).collect();
    assert_eq!(short, [json!([1, "event", 500]), json!([2, "retry", 204])]);
    assert_ne!(attempts[0]["id"], attempts[1]["id"]);
    assert_eq!(
        attempts[0]["request_headers"],
        json!({"webhook-id": event, "X-Team": "blue", "X-Api-Key": "***"})
    );
    assert_eq!(attempts[0]["error"], "http_status");
    assert_eq!(attempts[1]["error_message"], Value::Null);
    assert_eq!(attempts[1]["response_body"], "hello");
}

#[tokio::test]
async fn lists_are_filtered_and_paged() {
    let mut world = World::start().await;
    let (key, endpoint) = tenant_with_endpoint(&world, "acme").await;
    let (other_key, _) = tenant_with_endpoint(&world, "other").await;
    let (event, done) = publish(&mut world, "acme", "order.paid").await;
    answer(&world, &done, 200, Next::Delivered).await;
    world.clock.step(Duration::from_secs(60));
    let begin = world.store.clock().now().iso_millis();
    let (_, waits) = publish(&mut world, "acme", "user.made").await;
    let (_, foreign) = publish(&mut world, "other", "user.made").await;
    let [done, waits, foreign] = [done, waits, foreign].map(|claimed| claimed.delivery.to_string());

    for (query, expected) in [
        (String::new(), vec![&*waits, &*done]),
        (format!("?endpoint={endpoint}"), vec![&*waits, &*done]),
        (format!("?event={event}"), vec![&*done]),
        ("?type=user.made".into(), vec![&*waits]),
        ("?status=delivered".into(), vec![&*done]),
        (format!("?since={begin}"), vec![&*waits]),
        (format!("?until={begin}&status=pending"), vec![]),
    ] {
        assert_eq!(ids(&world, &key, &query).await, expected, "{query}");
    }
    assert!(
        ids(&world, &other_key, &format!("?endpoint={endpoint}"))
            .await
            .is_empty()
    );
    assert_eq!(ids(&world, &world.root, "").await, [&*foreign, &*waits, &*done]);
    assert_eq!(ids(&world, &world.root, "?tenant=other").await, [&*foreign]);

    let first = world
        .with(&key)
        .call("GET /v1/deliveries?limit=1", Value::Null)
        .await
        .expect(200);
    assert_eq!(first["data"][0]["id"], waits);
    publish(&mut world, "acme", "order.paid").await;
    let next = format!("?limit=1&cursor={}", text(&first["next_cursor"]));
    assert_eq!(ids(&world, &key, &next).await, [done]);
}

#[tokio::test]
async fn every_bad_filter_is_named_at_once() {
    let world = World::start().await;
    let (key, _) = tenant_with_endpoint(&world, "acme").await;
    let bad = "GET /v1/deliveries?endpoint=x&event=ep_1&type=a..b&status=DONE&since=monday&until=2024-01-01";
    let (code, fields) = world.with(&key).call(bad, Value::Null).await.refusal(422);
    assert_eq!(code, "invalid_request");
    assert_eq!(fields, ["endpoint", "event", "type", "status", "since", "until"]);
    for (query, status) in [("?limit=0", 422), ("?cursor=x", 400)] {
        let answer = world
            .with(&key)
            .call(&format!("GET /v1/deliveries{query}"), Value::Null)
            .await;
        assert_eq!(answer.status, status, "{query}");
    }
}

#[tokio::test]
async fn a_delivery_of_another_tenant_does_not_exist_and_a_reader_changes_nothing() {
    let mut world = World::start().await;
    tenant_with_endpoint(&world, "acme").await;
    let (other, _) = tenant_with_endpoint(&world, "other").await;
    let body = json!({"role": "tenant", "tenant": "acme", "read_only": true});
    let reader = text(
        &world
            .with(&world.root)
            .call("POST /v1/keys", body)
            .await
            .expect(201)["key"],
    );
    let (_, claimed) = publish(&mut world, "acme", "order.paid").await;
    let path = format!("/v1/deliveries/{}", claimed.delivery);
    for call in [
        format!("GET {path}"),
        format!("POST {path}/retry"),
        format!("POST {path}/cancel"),
    ] {
        world.with(&other).call(&call, Value::Null).await.refusal(404);
        let expected = if call.starts_with("GET") { 200 } else { 403 };
        assert_eq!(
            world.with(&reader).call(&call, Value::Null).await.status,
            expected,
            "{call}"
        );
    }
    world
        .with(&world.root)
        .call("GET /v1/deliveries/dlv_x", Value::Null)
        .await
        .refusal(404);
}

#[tokio::test]
async fn a_cancel_answers_whether_the_delivery_has_ended() {
    let mut world = World::start().await;
    let (key, endpoint) = tenant_with_endpoint(&world, "acme").await;
    let (_, claimed) = publish(&mut world, "acme", "order.paid").await;
    let id = claimed.delivery;
    let cancel = format!("POST /v1/deliveries/{id}/cancel");
    let retry = format!("POST /v1/deliveries/{id}/retry");
    let in_flight = world.with(&key).call(&cancel, Value::Null).await.expect(202);
    assert_eq!(in_flight["status"], "pending");
    let (code, _) = world.with(&key).call(&retry, Value::Null).await.refusal(409);
    assert_eq!(code, "delivery_being_cancelled");
    answer(&world, &claimed, 500, EXHAUSTED).await;
    let (code, _) = world.with(&key).call(&cancel, Value::Null).await.refusal(409);
    assert_eq!(code, "delivery_finished");

    world.with(&key).call(&retry, Value::Null).await.expect(202);
    let ended = world
        .with(&key)
        .and("idempotency-key", "k1")
        .call(&cancel, Value::Null)
        .await;
    let item = ended.expect(200);
    assert_eq!(
        (&item["status"], &item["reason"]),
        (&json!("cancelled"), &json!("requested"))
    );
    let repeated = world
        .with(&key)
        .and("idempotency-key", "k1")
        .call(&cancel, Value::Null)
        .await;
    assert_eq!((repeated.status, &repeated.raw), (200, &ended.raw));
    assert_eq!(repeated.headers["idempotency-replayed"], "true");

    let path = format!("/v1/endpoints/{endpoint}");
    let paused = world
        .with(&key)
        .call(&format!("PATCH {path}"), json!({"status": "PAUSED"}))
        .await;
    paused.expect(200);
    let held = world.with(&key).call(&retry, Value::Null).await.expect(202);
    assert_eq!(
        (&held["status"], &held["reason"]),
        (&json!("held"), &json!("endpoint_paused"))
    );
    assert_eq!(held["next_attempt_at"], Value::Null);
    assert_eq!(
        world
            .with(&key)
            .call(&format!("DELETE {path}"), Value::Null)
            .await
            .status,
        204
    );
    let (code, _) = world.with(&key).call(&retry, Value::Null).await.refusal(409);
    assert_eq!(code, "endpoint_deleted");
    assert_eq!(ids(&world, &key, "?status=cancelled").await, [id.to_string()]);
}

#[tokio::test]
async fn an_id_implies_its_project_to_a_root_key_that_names_none() {
    let mut world = World::start().await;
    world.project("shop").await;
    world.tenant("shop", "acme").await;
    let body = json!({"name": "hook", "url": "https://example.com/hook", "tenant": "acme"});
    world
        .root()
        .post("/v1/endpoints?project=shop", body)
        .await
        .expect(201);
    let body = json!({"tenant": "acme", "type": "order.paid", "payload": 1});
    let event = world
        .root()
        .post("/v1/events?project=shop", body)
        .await
        .text("id");
    let Handover::Claimed(claimed) = world.fresh.next().await.unwrap() else {
        panic!("nothing was handed over")
    };
    let delivery = claimed[0].delivery;
    for path in [
        format!("/v1/events/{event}"),
        format!("/v1/deliveries/{delivery}"),
    ] {
        world.root().get(&path).await.expect(200);
        world
            .root()
            .get(&format!("{path}?project=shop"))
            .await
            .expect(200);
        world
            .root()
            .get(&format!("{path}?project=default"))
            .await
            .refusal(404);
    }
    world
        .root()
        .post(&format!("/v1/deliveries/{delivery}/cancel"), Value::Null)
        .await
        .expect(202);
}
