//! PATCH: absent, null and a value are three things.

use super::{PATH, URL, characters, in_v1, made, made_at, places, register};
use crate::world::{Asker, World};
use serde_json::{Value, json};

/// The events that an endpoint wants, which only v1 shows.
async fn events(asker: &Asker<'_>) -> Value {
    in_v1(asker, &json!(1)).await["events"].clone()
}

#[tokio::test]
async fn absent_leaves_every_field_alone() {
    let world = World::start().await;
    register(&world, &["order.paid"]).await;
    let key = world.tenant_key("acme").await;
    let asker = world.with(&key);
    let path = made_at(&asker).await;
    let full = json!({"events": ["order.paid"], "url": "https://example.org/new", "description": "d", "enabled": false});
    let changed = asker.patch(&path, full.clone()).await.expect(200);
    for field in ["url", "description", "enabled"] {
        assert_eq!(changed[field], full[field], "{field}");
    }
    for nothing in [json!({}), json!({"unknown": 1, "id": 9, "created_at": null})] {
        assert_eq!(asker.patch(&path, nothing).await.expect(200), changed);
    }
    assert_eq!(events(&asker).await, json!(["order.paid"]));
    // A body is not needed to change nothing.
    let bare = asker
        .ask(http::Method::PATCH, &path, axum::body::Body::empty())
        .await;
    assert_eq!(bare.expect(200), changed);
}

#[tokio::test]
async fn null_clears_the_description_widens_events_to_all_and_leaves_url_and_enabled_alone() {
    let world = World::start().await;
    register(&world, &["order.paid"]).await;
    let key = world.tenant_key("acme").await;
    let asker = world.with(&key);
    let path = made_at(&asker).await;
    for enabled in [true, false] {
        let start = json!({"events": ["order.paid"], "description": "d", "enabled": enabled});
        asker.patch(&path, start).await.expect(200);
        let cleared = asker.patch(&path, json!({"description": null})).await.expect(200);
        assert_eq!(cleared["description"], json!(null));
        assert_eq!(events(&asker).await, json!(["order.paid"]));
        let nulls = json!({"url": null, "enabled": null, "events": null});
        let after = asker.patch(&path, nulls).await.expect(200);
        assert_eq!((&after["url"], &after["enabled"]), (&json!(URL), &json!(enabled)));
        assert_eq!(events(&asker).await, json!(["*"]));
    }
}

#[tokio::test]
async fn each_value_is_taken_alone_and_shown_in_the_published_order() {
    let world = World::start().await;
    register(&world, &["order.paid", "order.refunded"]).await;
    let key = world.tenant_key("acme").await;
    let asker = world.with(&key);
    let mut expected = made(&asker).await;
    expected.as_object_mut().unwrap().remove("client_secret");
    for (field, value) in [
        ("url", json!("https://example.org/a?b=1#c")),
        ("description", json!("what for")),
        ("enabled", json!(false)),
        ("enabled", json!(true)),
    ] {
        expected[field] = value.clone();
        let answer = asker.patch(&format!("{PATH}/1"), json!({field: value})).await;
        assert_eq!(answer.expect(200), expected);
        let at = ["url", "id", "description", "enabled", "created_at"]
            .map(|field| answer.raw.find(&format!("\"{field}\":")).unwrap());
        assert!(at.is_sorted(), "{}", answer.raw);
    }
    let two = json!({"events": ["order.paid", "order.refunded"]});
    asker.patch(&format!("{PATH}/1"), two.clone()).await.expect(200);
    assert_eq!(events(&asker).await, two["events"]);
    // A pattern is for types to come, too: none below it need be registered.
    let pattern = json!({"events": ["invoice.*", "order.paid"]});
    asker
        .patch(&format!("{PATH}/1"), pattern.clone())
        .await
        .expect(200);
    assert_eq!(events(&asker).await, pattern["events"]);
}

#[tokio::test]
async fn events_are_registered_types_and_the_fault_names_which_is_not() {
    let world = World::start().await;
    register(&world, &["order.paid", "order.gone"]).await;
    world
        .root()
        .delete("/v1/event-types/order.gone")
        .await
        .expect(204);
    let key = world.tenant_key("acme").await;
    let asker = world.with(&key);
    let path = made_at(&asker).await;
    for (named, at) in [
        (json!(["order.unknown"]), json!(["body", "events", 0])),
        (json!(["order.paid", "order.gone"]), json!(["body", "events", 1])),
        (json!(["*"]), json!(["body", "events", 0])),
        (json!(["order.paid", "with space"]), json!(["body", "events", 1])),
        (json!(["order.paid", 7]), json!(["body", "events", 1])),
        (json!([]), json!(["body", "events"])),
        (json!("order.paid"), json!(["body", "events"])),
        (json!(["order.*.late"]), json!(["body", "events", 0])),
        (json!(vec!["order.paid"; 501]), json!(["body", "events"])),
    ] {
        let refused = asker.patch(&path, json!({"events": named})).await;
        assert_eq!(places(&refused), json!([at]), "{named}");
    }
    assert_eq!(events(&asker).await, json!(["*"]));
    // Types of another project are not this one's.
    world.project("other").await;
    let elsewhere = json!({"name": "other.type", "description": "d", "project": "other"});
    world.root().post("/v1/event-types", elsewhere).await.expect(201);
    let refused = asker.patch(&path, json!({"events": ["other.type"]})).await;
    assert_eq!(places(&refused), json!([["body", "events", 0]]));
}

#[tokio::test]
async fn lengths_are_counted_in_characters_and_a_fault_changes_nothing() {
    let world = World::start().await;
    let key = world.tenant_key("acme").await;
    let asker = world.with(&key);
    let path = made_at(&asker).await;
    let url = |count: usize| format!("https://example.com/{}", characters(count - 20));
    let longest = json!({"url": url(2_083), "description": characters(1_000)});
    let fits = asker.patch(&path, longest.clone()).await.expect(200);
    for field in ["url", "description"] {
        assert_eq!(fits[field], longest[field]);
    }
    let too_long = json!({"url": url(2_084), "description": characters(1_001), "enabled": "no"});
    let refused = asker.patch(&path, too_long).await;
    let mut named = places(&refused).as_array().unwrap().clone();
    named.sort_by_key(Value::to_string);
    assert_eq!(
        json!(named),
        json!([["body", "description"], ["body", "enabled"], ["body", "url"]])
    );
    let refused = asker.patch(&path, json!({"url": "", "enabled": false})).await;
    assert_eq!(places(&refused), json!([["body", "url"]]));
    assert_eq!(asker.get(&path).await.expect(200), fits);
}
