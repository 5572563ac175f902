//! Payloads as large as they may be, in numbers.

use crate::world::Scene;
use std::collections::HashSet;
use stentor_domain::limits::{IN_FLIGHT_PER_ENDPOINT_MAX, PAYLOAD_BYTES_MAX};

#[tokio::test]
async fn a_claim_is_bounded_in_bytes_and_leaves_the_rest_due() {
    let scene = Scene::unattended().await;
    let payload = "1".repeat(PAYLOAD_BYTES_MAX);
    for _ in 0..20 {
        scene.accepted(&payload).await;
    }
    let first = scene.claim(1_000).await;
    assert_eq!(first.deliveries.len(), IN_FLIGHT_PER_ENDPOINT_MAX);
    assert_eq!(first.next_due_at, Some(scene.world.now()));
    let rest = scene.claim(1_000).await;
    assert_eq!(rest.next_due_at, None);

    let all = first.deliveries.iter().chain(&rest.deliveries);
    let all: HashSet<_> = all.map(|claimed| claimed.delivery).collect();
    assert_eq!(all.len(), 20);
}
