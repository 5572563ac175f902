//! What nobody can read in the database.

use crate::world::URL;
use stentor_testkit::{EndpointFields, World};

#[tokio::test]
async fn nothing_secret_is_readable_in_the_database() {
    let world = World::new().await;
    world.tenant("acme").await;
    let fields = EndpointFields {
        secret: Some("a secret of plain text".into()),
        custom_headers: Some(vec![("Authorization".into(), "Bearer of good news".into())]),
        ..EndpointFields::default()
    };
    let endpoint = world.endpoint_with("acme", URL, fields).await;
    let mut world = world;
    world.publish("acme", "{}").await;
    world.settle().await;
    assert_eq!(
        world.receivers.take()[0].header("authorization"),
        "Bearer of good news"
    );
    let drawn = world.rotate(endpoint, 3_600).await;

    let stored = world.database().bytes();
    let holds = |text: &str| stored.windows(text.len()).any(|part| part == text.as_bytes());
    assert!(holds("receiver.example"), "what is not secret is");
    for secret in [
        "a secret of plain text",
        "of good news",
        drawn.trim_start_matches("whsec_"),
    ] {
        assert!(!holds(secret), "{secret}");
    }
}
