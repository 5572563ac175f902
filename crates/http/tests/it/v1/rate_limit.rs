//! The limit that an operator may set for contract v1.

use crate::world::{Asker, FAILURES_PER_MINUTE, World};
use http::Method;
use serde_json::json;
use std::num::NonZeroU32;
use std::time::Duration;
use stentor_http::{Front, RequestQuotas};

const PATH: &str = "/v1/endpoints";

/// A server with this limit, and a key for its project.
async fn world(most: u32) -> (World, String) {
    let mut world = World::start().await;
    world.tenant("default", "acme").await;
    let key = world.key(json!({ "role": "project" })).await.text("key");
    let quotas = RequestQuotas {
        v1: NonZeroU32::new(most),
        ..RequestQuotas::default()
    };
    world.serve(quotas, Front::new);
    (world, key)
}

async fn is_refused(asker: &Asker<'_>) -> bool {
    asker.get(PATH).await.verdict() == (429, "rate_limited")
}

#[tokio::test]
async fn all_operations_count_together_and_only_the_refusal_tells_of_it() {
    let (world, key) = world(3).await;
    let asker = world.with(&key).and("x-tenant", "acme");
    let event = json!({ "type": "order.paid", "payload": {} });
    asker.post("/v1/events", event.clone()).await.expect(202);
    world.clock.step(Duration::from_millis(500));
    asker.get("/v1/endpoints/").await.expect(200);
    let found = asker.get("/v1/endpoints/ep_nowhere").await;
    assert_eq!(found.status, 404);
    assert!(found.headers.keys().all(|name| !name.as_str().contains("rate")));
    world.clock.step(Duration::from_secs(20));

    let refused = asker.post("/v1/events", event).await;
    assert_eq!(refused.verdict(), (429, "rate_limited"));
    assert_eq!(refused.headers["retry-after"], "40");
    insta::assert_snapshot!(refused.text("detail"), @"A key may make 3 such requests in any 60 seconds, and this one has; try again in 40 s.");
    assert_eq!(world.root().get(PATH).await.verdict().0, 422);

    world.clock.step(Duration::from_millis(39_500));
    assert!(!is_refused(&asker).await && is_refused(&asker).await);
}

#[tokio::test]
async fn a_request_whose_headers_are_bad_counts_too() {
    for (name, value) in [("x-tenant", "é"), ("idempotency-key", "")] {
        let (world, key) = world(1).await;
        assert_eq!(world.with(&key).and(name, value).get(PATH).await.status, 422);
        assert!(is_refused(&world.with(&key)).await, "{name}");
    }
}

#[tokio::test]
async fn what_needs_no_key_or_has_no_route_is_neither_limited_nor_counted() {
    let (world, key) = world(1).await;
    let asker = world.with(&key);
    for _ in 0..3 {
        let wrong = asker.ask(Method::PUT, PATH, "".into()).await;
        assert_eq!(wrong.verdict(), (405, "method_not_allowed"));
        assert_eq!(wrong.headers["allow"], "POST,GET,HEAD");
        assert_eq!(asker.get("/v1/nothing").await.status, 404);
        for path in ["/healthz", "/openapi.json"] {
            assert_eq!(asker.get(path).await.status, 200);
        }
    }
    let stranger = world.with_headers(vec![]);
    assert_eq!(stranger.ask(Method::PUT, PATH, "".into()).await.status, 405);
    assert!(!is_refused(&asker).await && is_refused(&asker).await);
}

#[tokio::test]
async fn a_failed_authentication_counts_once_and_for_the_address_alone() {
    let (world, key) = world(1).await;
    let guesser = world.with("stn_tenant_guess");
    for _ in 0..FAILURES_PER_MINUTE {
        assert_eq!(guesser.get(PATH).await.verdict(), (401, "unauthenticated"));
    }
    assert_eq!(
        guesser.get(PATH).await.verdict(),
        (429, "too_many_failed_authentications")
    );
    assert!(!is_refused(&world.with(&key)).await);
}
