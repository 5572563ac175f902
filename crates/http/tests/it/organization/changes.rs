//! `PUT /webhooks/:id` and `DELETE /webhooks/:id`.

use super::{in_v1, listed, made, published, told, world};
use serde_json::{Value, json};
use std::time::Duration;

/// The fields in the order of the published text.
const IN_ORDER: [&str; 8] = [
    "id",
    "url",
    "events",
    "description",
    "active",
    "consecutiveFailures",
    "createdAt",
    "updatedAt",
];

#[tokio::test]
async fn only_what_is_sent_is_changed_and_the_answer_is_the_object_of_the_list() {
    let (world, key) = world().await;
    let asker = world.with(&key);
    let path = made(&asker, published()).await;
    let mut expected = listed(&asker, &path).await;
    for (name, value) in [
        ("url", json!("https://yourapp.com/webhooks/vignetim-v2")),
        ("events", json!(["*"])),
        ("description", json!("Updated to receive all events")),
        ("description", json!(null)),
        ("active", json!(false)),
        ("active", json!(true)),
    ] {
        world.clock.step(Duration::from_millis(1_500));
        let change = json!({ name: value });
        let answer = asker.call(&format!("PUT {path}/"), change.clone()).await;
        let shown = answer.expect(200);
        expected[name] = value;
        expected["updatedAt"] = shown["updatedAt"].clone();
        assert_eq!(shown, expected, "{change}");
        assert_ne!(shown["updatedAt"], shown["createdAt"]);
        let places: Vec<usize> = IN_ORDER
            .iter()
            .map(|name| answer.raw.find(&format!("\"{name}\":")).unwrap())
            .collect();
        assert!(places.is_sorted(), "{}", answer.raw);
        assert_eq!(listed(&asker, &path).await, expected);
    }
    let kept = asker.call(&format!("PUT {path}"), json!({})).await.expect(200);
    for name in ["url", "events", "description", "active"] {
        assert_eq!(kept[name], expected[name]);
    }
}

#[tokio::test]
async fn null_for_what_cannot_be_null_is_refused_with_all_else_and_changes_nothing() {
    let (world, key) = world().await;
    let asker = world.with(&key);
    let path = made(&asker, published()).await;
    let before = listed(&asker, &path).await;
    let change = json!({"url": null, "events": null, "description": null, "active": null});
    let answer = asker.call(&format!("PUT {path}"), change).await;
    assert_eq!(
        told(&answer, 400, "validation_failed"),
        [
            "url: must not be null",
            "events: must not be null",
            "active: must not be null"
        ]
    );
    let change = json!({"active": "yes", "events": [], "url": "http://example.com/"});
    let answer = asker.call(&format!("PUT {path}"), change).await;
    assert_eq!(told(&answer, 400, "url_not_allowed").len(), 3);
    assert_eq!(listed(&asker, &path).await, before);
}

#[tokio::test]
async fn active_switches_on_from_every_state_and_off_only_what_is_on() {
    let (world, key) = world().await;
    let asker = world.with(&key);
    let path = made(&asker, published()).await;
    let native = in_v1(&path);
    let status = async || asker.get(&native).await.text("status");
    let put = async |active: bool| {
        let answer = asker
            .call(&format!("PUT {path}"), json!({ "active": active }))
            .await;
        assert_eq!(answer.expect(200)["active"], active);
    };
    put(true).await;
    assert_eq!(status().await, "ACTIVE");
    put(false).await;
    assert_eq!(status().await, "DISABLED");
    assert_eq!(asker.get(&native).await.text("disabled_reason"), "owner");
    put(true).await;
    assert_eq!(status().await, "ACTIVE");

    let paused = asker.patch(&native, json!({"status": "PAUSED"})).await;
    assert_eq!(paused.text("status"), "PAUSED");
    assert_eq!(listed(&asker, &path).await["active"], false);
    put(false).await;
    assert_eq!(
        status().await,
        "PAUSED",
        "a PUT of the whole object changes nothing"
    );
    put(true).await;
    assert_eq!(status().await, "ACTIVE");
}

#[tokio::test]
async fn a_deleted_endpoint_is_gone_for_every_operation() {
    let (world, key) = world().await;
    let asker = world.with(&key);
    let path = made(&asker, published()).await;
    let deleted = asker.delete(&path).await;
    assert_eq!((deleted.status, deleted.raw.as_str()), (204, ""));
    assert_eq!(asker.get("/webhooks").await.raw, "{\"data\":[]}");
    for operation in [
        format!("PUT {path}"),
        format!("DELETE {path}"),
        format!("POST {path}/test"),
    ] {
        let answer = asker.call(&operation, Value::Null).await;
        assert_eq!(answer.verdict(), (404, "not_found"), "{operation}");
    }
    assert_eq!(asker.get(&in_v1(&path)).await.status, 404);
}
