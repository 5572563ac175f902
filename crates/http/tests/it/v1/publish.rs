//! `POST /v1/events` and `/v1/events/batch`: what an event may say about itself.

use crate::world::World;
use serde_json::{Value, json};

fn event(fields: Value) -> Value {
    let mut event = json!({"tenant": "acme", "type": "order.paid", "payload": {"n": 1}});
    event
        .as_object_mut()
        .unwrap()
        .extend(fields.as_object().unwrap().clone());
    event
}

#[tokio::test]
async fn the_channels_of_an_event_are_kept_and_shown() {
    let world = World::start().await;
    let key = world.tenant_key("acme").await;
    let names: Vec<String> = (0..9)
        .map(|n| format!("channel-{n}"))
        .chain(["x".repeat(128)])
        .collect();
    for (sent, shown) in [
        (json!({"channels": names}), json!(names)),
        (json!({"channels": ["eu", "us", "eu"]}), json!(["eu", "us"])),
        (json!({"channels": []}), json!([])),
        (json!({"channels": null}), json!([])),
        (json!({}), json!([])),
    ] {
        let made = world.root().post("/v1/events", event(sent)).await.expect(202);
        let path = format!("/v1/events/{}", made["id"].as_str().unwrap());
        assert_eq!(world.with(&key).get(&path).await.expect(200)["channels"], shown);
    }
    let list = world.with(&key).get("/v1/events").await.expect(200);
    assert_eq!(list["data"][3]["channels"], json!(["eu", "us"]));
}

#[tokio::test]
async fn a_bad_channel_is_named_with_its_event() {
    let world = World::start().await;
    world.tenant_key("acme").await;
    for (channels, field) in [
        (json!("eu"), "channels"),
        (json!(["eu", 7]), "channels.1"),
        (json!(["eu", ""]), "channels.1"),
        (json!(["e u"]), "channels.0"),
        (json!(["x".repeat(129)]), "channels.0"),
        (json!(vec!["eu"; 11]), "channels"),
    ] {
        let bad = event(json!({"channels": channels}));
        let single = world.root().post("/v1/events", bad.clone()).await;
        assert_eq!(single.refusal(422).1, [field], "{channels}");
        let batch = json!({"events": [event(json!({})), bad]});
        let batch = world.root().post("/v1/events/batch", batch).await;
        assert_eq!(batch.refusal(422).1, [format!("events.1.{field}")], "{channels}");
    }
    assert_eq!(
        world.root().get("/v1/events").await.expect(200)["data"],
        json!([])
    );
}

/// The lines that count why publishes were refused.
async fn refusals(world: &World) -> String {
    let shown = world.root().get("/metrics").await.raw;
    let lines = shown
        .lines()
        .filter(|line| line.starts_with("stentor_publishes_refused_total"));
    lines.collect::<Vec<_>>().join("\n")
}

#[tokio::test]
async fn refusals_of_both_ways_to_publish_are_counted_and_those_before_them_are_not() {
    let world = World::start().await;
    let root = world.root();
    for path in ["/v1/events", "/v1/events/", "/v1/events/batch"] {
        assert_eq!(
            world.with("stn_root_guess").post(path, json!({})).await.status,
            401
        );
        assert_eq!(root.post(path, json!([])).await.status, 422);
        assert_eq!(root.delete(path).await.status, 405);
        let looped = root.clone().and("webhook-loop", "5");
        assert_eq!(
            looped.post(path, json!({})).await.verdict(),
            (422, "webhook_loop")
        );
    }
    insta::assert_snapshot!(refusals(&world).await, @r#"
    stentor_publishes_refused_total{code="invalid_request"} 3
    stentor_publishes_refused_total{code="unauthenticated"} 3
    "#);
}
