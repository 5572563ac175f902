//! Who is let in, whatever they ask for.

use std::time::Duration;

use crate::world::{FAILURES_PER_MINUTE, World};
use serde_json::json;

const PATH: &str = "/v1/projects";

#[tokio::test]
async fn a_key_is_taken_from_either_header() {
    let world = World::start().await;
    let bearer = format!("Bearer {}", world.root);
    let lower = format!("bearer {}", world.root);
    for headers in [
        vec![("authorization", &*bearer)],
        vec![("authorization", &*lower)],
        vec![("x-api-key", &*world.root)],
        vec![("authorization", &*bearer), ("x-api-key", &*world.root)],
    ] {
        assert_eq!(world.with_headers(headers).get(PATH).await.status, 200);
    }
}

#[tokio::test]
async fn two_different_keys_are_refused_even_if_both_are_valid() {
    let world = World::start().await;
    let other = world.key(json!({ "role": "root" })).await.text("key");
    let bearer = format!("Bearer {other}");
    let asker = world.root().and("authorization", &bearer);
    let refused = asker.get(PATH).await;
    assert_eq!(refused.verdict(), (401, "unauthenticated"));
    assert!(refused.text("detail").contains("two different keys"));
}

#[tokio::test]
async fn no_key_and_a_wrong_key_are_refused_alike() {
    let world = World::start().await;
    let basic = format!("Basic {}", world.root);
    for headers in [
        vec![],
        vec![(
            "x-api-key",
            "stn_root_0000000000000000000000000000000000000000000",
        )],
        vec![("authorization", &*basic)],
    ] {
        let refused = world.with_headers(headers).get(PATH).await;
        assert_eq!(refused.verdict(), (401, "unauthenticated"));
        assert_eq!(refused.headers["www-authenticate"], "Bearer");
        world.clock.step(Duration::from_secs(60));
    }
}

#[tokio::test]
async fn a_key_ends_when_it_said_it_would() {
    let world = World::start().await;
    let body = json!({ "role": "root", "expires_at": "2024-01-01T01:00:00Z" });
    let key = world.key(body).await.text("key");
    world.clock.step(Duration::from_secs(3_599));
    assert_eq!(world.with(&key).get(PATH).await.status, 200);
    world.clock.step(Duration::from_secs(1));
    assert_eq!(
        world.with(&key).get(PATH).await.verdict(),
        (401, "unauthenticated")
    );
}

#[tokio::test]
async fn a_guesser_is_slowed_down_and_valid_keys_from_its_address_are_not() {
    let world = World::start().await;
    let guesser = world.with("stn_root_guess");
    for _ in 0..FAILURES_PER_MINUTE {
        assert_eq!(guesser.get(PATH).await.status, 401);
    }
    world.clock.step(Duration::from_secs(20));
    let stopped = guesser.get(PATH).await;
    assert_eq!(stopped.verdict(), (429, "too_many_failed_authentications"));
    assert_eq!(stopped.headers["retry-after"], "40");
    assert_eq!(world.root().get(PATH).await.status, 200);
    world.clock.step(Duration::from_secs(40));
    assert_eq!(guesser.get(PATH).await.status, 401);
}
