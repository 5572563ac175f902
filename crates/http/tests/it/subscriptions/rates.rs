//! How often a key may ask: 50 times in any 60 seconds for each operation, 100 times for PATCH.

use super::{PATH, URL, made};
use crate::world::{Answer, Asker, World};
use serde_json::json;
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

/// Every operation with its quota.
const OPERATIONS: [(&str, usize); 6] = [
    ("GET /api/v1/webhooks/types", 50),
    ("GET /api/v1/webhooks", 50),
    ("POST /api/v1/webhooks", 50),
    ("GET /api/v1/webhooks/1", 50),
    ("PATCH /api/v1/webhooks/1", 100),
    ("DELETE /api/v1/webhooks/1", 50),
];

/// The headers that tell of the limit, in the order of their names.
fn told(answer: &Answer) -> Vec<String> {
    let mut lines: Vec<_> = answer
        .headers
        .iter()
        .filter(|(name, _)| name.as_str().contains("ratelimit") || *name == "retry-after")
        .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
        .collect();
    lines.sort();
    lines
}

/// Asks so often; answers how often it was admitted.
async fn admitted(asker: &Asker<'_>, operation: &str, times: usize) -> usize {
    let mut count = 0;
    for _ in 0..times {
        // What is at fault counts too, and makes nothing.
        count += usize::from(asker.call(operation, json!({"url": 7})).await.status != 429);
    }
    count
}

#[tokio::test]
async fn the_last_is_admitted_the_next_refused_until_the_first_is_a_minute_old() {
    for (operation, quota) in OPERATIONS {
        let world = World::start().await;
        let key = world.tenant_key("acme").await;
        let asker = world.with(&key);
        made(&asker).await;
        world.clock.step(60 * SECOND);
        assert_eq!(admitted(&asker, operation, 1).await, 1);
        world.clock.step(10 * SECOND);
        assert_eq!(admitted(&asker, operation, quota - 2).await, quota - 2);
        world.clock.step(Duration::from_micros(49_999_999));
        let last = asker.call(operation, json!({"url": 7})).await;
        assert_ne!(last.status, 429, "{operation}");
        let standing = [
            format!("ratelimit-policy: \"default\";q={quota};w=60"),
            "ratelimit: \"default\";r=0;t=1".to_owned(),
            format!("x-ratelimit-limit: {quota}"),
            "x-ratelimit-remaining: 0".to_owned(),
        ];
        assert_eq!(told(&last), standing, "{operation}");
        let refused = asker.call(operation, json!({"url": 7})).await;
        let document = refused.expect(429);
        assert!(document["message"].is_string() && document.as_object().unwrap().len() == 1);
        assert_eq!(refused.headers["retry-after"], "1");
        assert_eq!(told(&refused).len(), 5);
        world.clock.step(Duration::from_micros(1));
        assert_eq!(admitted(&asker, operation, 2).await, 1, "{operation}");
    }
}

#[tokio::test]
async fn each_operation_and_each_key_counts_by_itself() {
    let world = World::start().await;
    let (acme, ajax) = (world.tenant_key("acme").await, world.tenant_key("ajax").await);
    for key in [&acme, &ajax] {
        let asker = world.with(key);
        for (operation, quota) in OPERATIONS {
            assert_eq!(admitted(&asker, operation, quota + 2).await, quota, "{operation}");
        }
    }
    // Two keys of one tenant are two.
    let second = world
        .key(json!({"role": "tenant", "tenant": "acme"}))
        .await
        .text("key");
    assert_eq!(
        admitted(&world.with(&second), "GET /api/v1/webhooks", 51).await,
        50
    );
    // Contract v1 is not counted here.
    assert_eq!(world.with(&acme).get("/v1/endpoints").await.status, 200);
}

#[tokio::test]
async fn an_operation_is_one_however_its_path_is_spelled_and_whichever_subscription_it_names() {
    let world = World::start().await;
    let key = world.tenant_key("acme").await;
    let asker = world.with(&key);
    for (spellings, quota) in [
        (
            [
                "GET /api/v1/webhooks",
                "GET /api/v1/webhooks/",
                "HEAD /api/v1/webhooks?a=1",
            ],
            50,
        ),
        (
            [
                "GET /api/v1/webhooks/types",
                "GET /api/v1/webhooks/types/",
                "HEAD /api/v1/webhooks/types",
            ],
            50,
        ),
        (
            [
                "POST /api/v1/webhooks",
                "POST /api/v1/webhooks/",
                "POST /api/v1/webhooks?b",
            ],
            50,
        ),
        (
            [
                "GET /api/v1/webhooks/1",
                "GET /api/v1/webhooks/2/",
                "GET /api/v1/webhooks/x",
            ],
            50,
        ),
        (
            [
                "PATCH /api/v1/webhooks/1",
                "PATCH /api/v1/webhooks/2/",
                "PATCH /api/v1/webhooks/x",
            ],
            100,
        ),
        (
            [
                "DELETE /api/v1/webhooks/1",
                "DELETE /api/v1/webhooks/2/",
                "DELETE /api/v1/webhooks/x",
            ],
            50,
        ),
    ] {
        let mut count = 0;
        for spelling in spellings {
            count += admitted(&asker, spelling, 40).await;
        }
        assert_eq!(count, quota.min(120), "{spellings:?}");
    }
}

#[tokio::test]
async fn every_authenticated_answer_tells_how_the_key_stands() {
    let world = World::start().await;
    let key = world.tenant_key("acme").await;
    let asker = world.with(&key);
    for (operation, body, status) in [
        ("GET /api/v1/webhooks/types", json!(null), 200),
        ("GET /api/v1/webhooks", json!(null), 200),
        ("POST /api/v1/webhooks", json!({"url": URL}), 200),
        ("GET /api/v1/webhooks/1", json!(null), 200),
        ("PATCH /api/v1/webhooks/1", json!({}), 200),
        ("DELETE /api/v1/webhooks/1", json!(null), 204),
        ("GET /api/v1/webhooks/1", json!(null), 404),
        ("PATCH /api/v1/webhooks/x", json!({}), 422),
        ("POST /api/v1/webhooks", json!({}), 422),
    ] {
        let answer = asker.call(operation, body).await;
        assert_eq!(answer.status, status, "{operation}");
        assert_eq!(told(&answer).len(), 4, "{operation}: {:?}", answer.headers);
    }
    let first = asker.get(&format!("{PATH}/types")).await;
    assert_eq!(
        told(&first)[..2],
        [
            "ratelimit-policy: \"default\";q=50;w=60",
            "ratelimit: \"default\";r=48;t=60"
        ]
    );
    let stranger = world.with_headers(vec![]).get(PATH).await;
    assert_eq!((stranger.status, told(&stranger).len()), (401, 0));
}
