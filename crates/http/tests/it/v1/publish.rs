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
