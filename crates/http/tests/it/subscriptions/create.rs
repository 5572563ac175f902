//! Making a subscription: what it starts with, and what is shown this once.

use super::{PATH, URL, characters, in_v1, made, places};
use crate::world::World;
use serde_json::{Value, json};

#[tokio::test]
async fn it_is_answered_with_200_in_the_published_order_and_the_secret_this_once() {
    let world = World::start().await;
    let key = world.tenant_key("acme").await;
    let asker = world.with(&key);
    let body = json!({"url": "https://example.com", "description": "for orders"});
    let answer = asker.post(PATH, body).await;
    let shown = answer.expect(200);
    let secret = shown["client_secret"].as_str().unwrap();
    assert!(secret.starts_with("whsec_") && secret.len() <= 255);
    let expected = r#"{"url":"https://example.com","id":1,"description":"for orders","enabled":true,"created_at":"2024-01-01T00:00:00.000Z""#;
    assert_eq!(answer.raw, format!(r#"{expected},"client_secret":"{secret}"}}"#));
    let got = asker.get(&format!("{PATH}/1")).await;
    assert_eq!((got.status, got.raw), (200, format!("{expected}}}")));
    let list = asker.get(PATH).await;
    assert_eq!((list.status, list.raw), (200, format!("[{expected}}}]")));
}

#[tokio::test]
async fn it_starts_with_what_the_contract_documents() {
    let world = World::start().await;
    let key = world.tenant_key("acme").await;
    let asker = world.with(&key);
    let shown = made(&asker).await;
    assert_eq!(shown["description"], json!(null));
    let endpoint = in_v1(&asker, &shown["id"]).await;
    for (field, expected) in [
        ("status", json!("ACTIVE")),
        ("events", json!(["*"])),
        ("timeout_seconds", json!(20)),
        ("retry_schedule", json!(vec![3_600; 48])),
        ("retry_anchor", json!("first")),
        ("header_styles", json!(["standard"])),
        ("headers_json", json!({})),
        ("name", json!("example.com")),
    ] {
        assert_eq!(endpoint[field], expected, "{field}");
    }
}

#[tokio::test]
async fn what_a_change_can_set_is_ignored_here() {
    let world = World::start().await;
    let key = world.tenant_key("acme").await;
    let body = json!({"url": URL, "events": ["nobody.knows"], "enabled": false, "id": 7, "client_secret": "x", "name": 1});
    let shown = world.with(&key).post(PATH, body).await.expect(200);
    assert_eq!((&shown["id"], &shown["enabled"]), (&json!(1), &json!(true)));
    let endpoint = in_v1(&world.with(&key), &json!(1)).await;
    assert_eq!(endpoint["events"], json!(["*"]));
}

#[tokio::test]
async fn lengths_are_counted_in_characters() {
    let world = World::start().await;
    let key = world.tenant_key("acme").await;
    let post = |body: Value| {
        let asker = world.with(&key);
        async move { asker.post(PATH, body).await }
    };
    let base = "https://example.com/";
    for (count, fits) in [(2_083, true), (2_084, false)] {
        let url = format!("{base}{}", characters(count - base.len()));
        let answer = post(json!({"url": url})).await;
        if fits {
            assert_eq!(answer.expect(200)["url"], json!(url));
        } else {
            assert_eq!(places(&answer), json!([["body", "url"]]));
        }
    }
    for (count, fits) in [(1_000, true), (1_001, false)] {
        let description = characters(count);
        let answer = post(json!({"url": URL, "description": description})).await;
        if fits {
            assert_eq!(answer.expect(200)["description"], json!(description));
        } else {
            assert_eq!(places(&answer), json!([["body", "description"]]));
        }
    }
    assert_eq!(places(&post(json!({"url": ""})).await), json!([["body", "url"]]));
    let empty = post(json!({"url": URL, "description": ""})).await.expect(200);
    assert_eq!(empty["description"], json!(null));
}

#[tokio::test]
async fn a_repetition_by_key_answers_the_same_without_the_secret() {
    let world = World::start().await;
    let key = world.tenant_key("acme").await;
    let asker = world.with(&key).and("idempotency-key", "one");
    let mut first = asker.post(PATH, json!({"url": URL})).await.expect(200);
    first.as_object_mut().unwrap().remove("client_secret").unwrap();
    // The other spelling of the path is the same operation.
    for path in [PATH.to_owned(), format!("{PATH}/")] {
        let again = asker.post(&path, json!({"url": URL})).await;
        assert_eq!(again.headers["idempotency-replayed"], "true", "{path}");
        assert_eq!(again.expect(200), first);
    }
    let other = asker.post(PATH, json!({"url": "https://example.org"})).await;
    assert_eq!(other.expect(409).as_object().unwrap().len(), 1);
    assert_eq!(
        world
            .with(&key)
            .get(PATH)
            .await
            .expect(200)
            .as_array()
            .unwrap()
            .len(),
        1
    );
}
