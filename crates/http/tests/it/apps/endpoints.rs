//! Webhook endpoints: made, listed, changed and deleted.

use super::{WEBHOOKS, assert_fields, data, listed, made, names_in_order, path, plain, text, world};
use serde_json::{Value, json};
use std::time::Duration;

const MADE: [&str; 6] = ["id", "url", "events", "active", "createdAt", "secret"];
const LISTED: [&str; 6] = ["id", "url", "events", "active", "createdAt", "updatedAt"];
const CHANGED: [&str; 5] = ["id", "url", "events", "active", "updatedAt"];

/// The same endpoint in contract v1.
fn in_v1(endpoint: &Value) -> String {
    format!("/v1/endpoints/ep_{}", text(endpoint, "id"))
}

#[tokio::test]
async fn every_operation_shows_the_fields_that_the_text_shows_and_no_others() {
    let (world, key) = world().await;
    let asker = world.with(&key);
    let answer = asker.post(WEBHOOKS, plain()).await;
    let made = data(&answer, 201);
    assert_fields(&made, &MADE);
    names_in_order(&answer.raw, &MADE);
    assert_eq!(made["url"], "https://example.com/hook");
    assert_eq!(made["events"], json!(["order.paid", "order.failed"]));
    assert_eq!(made["active"], true);
    let secret = text(&made, "secret");
    assert!(secret.starts_with("whsec_") && secret.len() == 50, "{secret}");

    world.clock.step(Duration::from_millis(1_500));
    let answer = asker
        .call(
            &format!("PUT {}", path(&made)),
            json!({"events": ["order.*", "user.made"]}),
        )
        .await;
    let changed = data(&answer, 200);
    assert_fields(&changed, &CHANGED);
    names_in_order(&answer.raw, &CHANGED);
    assert_eq!(changed["events"], json!(["order.*", "user.made"]));

    let answer = asker.get(WEBHOOKS).await;
    names_in_order(&answer.raw, &LISTED);
    let [shown] = &listed(&asker).await[..] else {
        panic!("one endpoint")
    };
    assert_fields(shown, &LISTED);
    assert_eq!(
        (&shown["createdAt"], &shown["updatedAt"]),
        (&made["createdAt"], &changed["updatedAt"])
    );
    assert_ne!(shown["createdAt"], shown["updatedAt"]);

    let deleted = asker.delete(&path(&made)).await;
    assert_eq!((deleted.status, deleted.raw.as_str()), (204, ""));
    assert!(listed(&asker).await.is_empty());
}

#[tokio::test]
async fn an_endpoint_made_here_has_what_the_contract_documents() {
    let (world, key) = world().await;
    let asker = world.with(&key);
    let made = made(&asker, plain()).await;
    let shown = asker.get(&in_v1(&made)).await.expect(200);
    assert_eq!(shown["timeout_seconds"], 20);
    assert_eq!(shown["header_styles"], json!(["standard", "apps"]));
    assert_eq!(shown["name"], "example.com");
    assert_eq!(shown["events"], made["events"]);
}

#[tokio::test]
async fn the_list_holds_all_endpoints_of_the_app_whoever_made_them_newest_first() {
    let (world, key) = world().await;
    let asker = world.with(&key);
    let elsewhere = json!({"name": "made in v1", "url": "https://example.com/v1"});
    asker.post("/v1/endpoints", elsewhere).await.expect(201);
    let mut expected = vec!["https://example.com/v1".to_owned()];
    for number in 0..30 {
        let url = format!("https://example.com/{number}");
        made(&asker, json!({"url": url, "events": ["*"]})).await;
        expected.insert(0, url);
    }
    let urls: Vec<_> = listed(&asker).await.iter().map(|one| text(one, "url")).collect();
    assert_eq!(urls, expected);
    let other = world.tenant_key("other").await;
    let theirs = data(&world.with(&other).get("/apps/other/webhooks").await, 200);
    assert_eq!(theirs, json!([]));
}

#[tokio::test]
async fn a_change_changes_what_is_sent_and_nothing_else() {
    let (world, key) = world().await;
    let asker = world.with(&key);
    let made = made(&asker, plain()).await;
    let mut expected = listed(&asker).await.remove(0);
    for (field, value) in [
        ("url", json!("https://example.com/other?token=1")),
        ("events", json!(["user.made"])),
        ("active", json!(false)),
        ("active", json!(true)),
    ] {
        world.clock.step(Duration::from_secs(1));
        let change = json!({field: value, "unknown": [1]});
        let changed = data(&asker.call(&format!("PUT {}", path(&made)), change).await, 200);
        expected[field] = value;
        expected["updatedAt"] = changed["updatedAt"].clone();
        assert_eq!(listed(&asker).await, [expected.clone()]);
        for field in ["id", "url", "events", "active"] {
            assert_eq!(changed[field], expected[field], "{field}");
        }
    }
}

#[tokio::test]
async fn inactive_is_whatever_stops_deliveries_and_switching_it_off_again_changes_nothing() {
    let (world, key) = world().await;
    let asker = world.with(&key);
    let made = made(&asker, plain()).await;
    let put = format!("PUT {}", path(&made));
    let paused = asker.patch(&in_v1(&made), json!({"status": "PAUSED"})).await;
    paused.expect(200);
    assert_eq!(listed(&asker).await[0]["active"], false);
    let changed = data(&asker.call(&put, json!({"active": false})).await, 200);
    assert_eq!(changed["active"], false);
    assert_eq!(asker.get(&in_v1(&made)).await.text("status"), "PAUSED");

    assert_eq!(
        data(&asker.call(&put, json!({"active": true})).await, 200)["active"],
        true
    );
    assert_eq!(asker.get(&in_v1(&made)).await.text("status"), "ACTIVE");
    assert_eq!(
        data(&asker.call(&put, json!({"active": false})).await, 200)["active"],
        false
    );
    assert_eq!(asker.get(&in_v1(&made)).await.text("status"), "DISABLED");
}

#[tokio::test]
async fn an_app_is_named_by_id_or_uid_with_a_slash_behind_or_none() {
    let (world, key) = world().await;
    let asker = world.with(&key);
    let made = made(&asker, plain()).await;
    let tenant = world.root().get("/v1/tenants/acme").await.text("id");
    for app in ["acme", &tenant] {
        for slash in ["", "/"] {
            let list = data(&asker.get(&format!("/apps/{app}/webhooks{slash}")).await, 200);
            assert_eq!(list[0]["id"], made["id"]);
            let one = format!("PUT /apps/{app}/webhooks/{}{slash}", text(&made, "id"));
            data(&asker.call(&one, json!({})).await, 200);
        }
    }
}

#[tokio::test]
async fn a_repeated_creation_makes_one_endpoint_and_shows_its_secret_once() {
    let (world, key) = world().await;
    let asker = world.with(&key).and("idempotency-key", "k1");
    let first = data(&asker.post(WEBHOOKS, plain()).await, 201);
    let again = asker.post(WEBHOOKS, plain()).await;
    assert_eq!(again.headers["idempotency-replayed"], "true");
    let mut expected = first.clone();
    expected.as_object_mut().unwrap().remove("secret");
    assert_eq!(data(&again, 201), expected);
    assert_eq!(listed(&asker).await.len(), 1);

    let other = json!({"url": "https://example.com/other", "events": ["*"]});
    let conflict = asker.post(WEBHOOKS, other).await;
    assert_eq!(super::code(&conflict, 409), "idempotency_key_reused");
}
