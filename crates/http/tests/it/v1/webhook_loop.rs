//! Webhooks that come back as requests.

use crate::world::{Answer, World};
use serde_json::{Value, json};

fn event() -> Value {
    json!({"tenant": "acme", "type": "order.paid", "payload": {}})
}

async fn publish(world: &World, counts: &[&str]) -> Answer {
    let asker = counts
        .iter()
        .fold(world.root(), |asker, count| asker.and("webhook-loop", count));
    asker.post("/v1/events", event()).await
}

#[tokio::test]
async fn a_publish_is_refused_once_five_webhooks_led_to_it() {
    let world = World::start().await;
    world.tenant("default", "acme").await;
    for counts in [
        &["0"][..],
        &["1"],
        &["4"],
        &[" 4 "],
        &["04"],
        &["1", "2"],
        &["1, 3,2"],
    ] {
        publish(&world, counts).await.expect(202);
    }
    for counts in [
        &["5"][..],
        &["6"],
        &["255"],
        &["256"],
        &["99999999999999999999999999"],
        &["1", "5"],
        &["1, 7, 2"],
    ] {
        let refused = publish(&world, counts).await;
        assert_eq!(refused.verdict(), (422, "webhook_loop"), "{counts:?}");
    }
    let asker = world.root().and("webhook-loop", "5");
    let batch = json!({"events": [event(), event()]});
    assert_eq!(
        asker.post("/v1/events/batch", batch.clone()).await.verdict(),
        (422, "webhook_loop")
    );
    assert_eq!(
        asker.post("/v1/events/", event()).await.verdict(),
        (422, "webhook_loop")
    );
    let asker = world.root().and("webhook-loop", "4");
    asker.post("/v1/events/batch", batch).await.expect(202);
    asker.post("/v1/events/", event()).await.expect(202);
}

#[tokio::test]
async fn what_is_no_number_is_refused_rather_than_taken_for_none() {
    let world = World::start().await;
    world.tenant("default", "acme").await;
    for count in [
        "", " ", "one", "-1", "+1", "1.0", "0x1", "1;2", "1,,2", "1,", "\u{661}",
    ] {
        let (code, fields) = publish(&world, &[count]).await.refusal(422);
        assert_eq!(
            (code.as_str(), &fields[..]),
            ("invalid_request", &["webhook-loop".to_owned()][..])
        );
    }
}

#[tokio::test]
async fn a_webhook_orders_nothing_but_a_publish() {
    let world = World::start().await;
    let key = world.tenant_key("acme").await;
    let asker = world.with(&key).and("webhook-loop", "1");
    for path in [
        "/v1/endpoints",
        "/v1/endpoints/ep_0/test",
        "/v1/deliveries/dlv_0/retry",
        "/v1/deliveries/dlv_0/cancel",
    ] {
        assert_eq!(
            asker.post(path, json!({})).await.verdict(),
            (422, "webhook_loop"),
            "{path}"
        );
    }
    // In every contract's own words.
    for path in [
        "/webhooks/wh-1/test",
        "/apps/a/webhooks/b/test-ping",
        "/api/v1/webhooks",
    ] {
        let refused = asker.post(path, json!({})).await;
        assert!((400..500).contains(&refused.status), "{path}: {}", refused.raw);
        assert!(refused.raw.contains("webhook-loop"), "{path}: {}", refused.raw);
    }
    // Reading is nobody's loop.
    asker.get("/v1/endpoints").await.expect(200);
}
