//! How often a key may ask.

use super::{made, published, world};
use crate::world::Answer;
use serde_json::{Value, json};
use std::time::Duration;

/// Limit, remaining and reset, as the answer's headers tell them.
fn standing(answer: &Answer) -> [u64; 3] {
    ["limit", "remaining", "reset"].map(|name| {
        let value = &answer.headers[&format!("x-ratelimit-{name}")];
        value.to_str().unwrap().parse().unwrap()
    })
}

/// The instant at which every world's clock starts, in Unix seconds.
const START: u64 = 1_704_067_200;

#[tokio::test]
async fn every_authenticated_answer_tells_how_the_key_stands() {
    let (world, key) = world().await;
    let asker = world.with(&key);
    let path = made(&asker, published()).await;
    world.clock.step(Duration::from_secs(10));
    for (remaining, (operation, body)) in (95..99).rev().zip([
        ("GET /webhooks".to_owned(), Value::Null),
        ("POST /webhooks".to_owned(), json!({})),
        (format!("PUT {path}"), json!({})),
        ("DELETE /webhooks/unknown".to_owned(), Value::Null),
    ]) {
        let answer = asker.call(&operation, body).await;
        assert_eq!(standing(&answer), [100, remaining, START + 60], "{operation}");
    }
    let unknown = world.with("stn_ten_unknown").get("/webhooks").await;
    assert!(unknown.headers.get("x-ratelimit-limit").is_none());
}

#[tokio::test]
async fn beyond_the_limit_a_key_is_refused_in_the_contracts_words_until_a_place_is_free() {
    let (world, key) = world().await;
    let asker = world.with(&key);
    for _ in 0..100 {
        asker.get("/webhooks").await.expect(200);
        world.clock.step(Duration::from_millis(100));
    }
    let refused = asker.get("/webhooks").await;
    assert_eq!(refused.verdict(), (429, "rate_limited"));
    assert_eq!(
        (&refused.body["statusCode"], &refused.body["error"]),
        (&json!(429), &json!("Too Many Requests"))
    );
    assert!(refused.text("message").contains("100"));
    assert_eq!(refused.headers["retry-after"], "50");
    assert_eq!(standing(&refused), [100, 0, START + 60]);
    // Other keys, and other contracts, are counted by themselves.
    let other = world
        .key(json!({"role": "tenant", "tenant": "acme"}))
        .await
        .text("key");
    world.with(&other).get("/webhooks").await.expect(200);
    asker.get("/v1/endpoints").await.expect(200);
    world.clock.step(Duration::from_secs(50));
    asker.get("/webhooks").await.expect(200);
}

#[tokio::test]
async fn in_a_sandbox_there_is_room_for_more() {
    let (world, _) = world().await;
    let sandbox = json!({"name": "trial", "sandbox": true});
    world.root().post("/v1/projects", sandbox).await.expect(201);
    let tenant = world.tenant("trial", "guest").await;
    let key = json!({"role": "tenant", "tenant": tenant, "project": "trial"});
    let key = world.key(key).await.text("key");
    let answer = world.with(&key).get("/webhooks").await;
    assert_eq!(standing(&answer)[..2], [500, 499]);
}
