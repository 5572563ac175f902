//! What a request carries, and how secrets change.

use super::{URL, seconds, world};
use stentor_delivery::sign::Signer;
use stentor_domain::Timestamp;
use stentor_domain::secret::{Secret, SigningSecret};
use stentor_testkit::{EndpointFields, Received, Reply};

pub(super) const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const PAIR: &str =
    "whsk_6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbfVKIDij2HKpMKkioLlX0dRqSKJp4AJ6p9lMicMFs6Kvg==";
const PUBLIC: &str = "whpk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4=";
const OTHER: &str = "a secret of plain text";

pub(super) fn with_secret(secret: &str) -> EndpointFields {
    EndpointFields {
        secret: Some(secret.into()),
        ..EndpointFields::default()
    }
}

/// The signatures that a request carries.
pub(super) fn signatures(received: &Received) -> Vec<&str> {
    received.header("webhook-signature").split(' ').collect()
}

/// The signature that `secret` gives a request.
pub(super) fn signature_by(secret: &str, received: &Received) -> String {
    let secret = SigningSecret {
        secret: Secret::parse(secret).unwrap(),
        created_at: Timestamp::EPOCH,
        expires_at: None,
    };
    let timestamp = received.header("webhook-timestamp");
    let sent_at = Timestamp::from_seconds(timestamp.parse().unwrap());
    Signer::new(&[secret]).sign(received.id(), timestamp, &received.body, sent_at)
}

#[tokio::test]
async fn a_request_carries_its_headers_and_the_attempt_shows_them() {
    let mut world = world().await;
    let fields = EndpointFields {
        custom_headers: Some(vec![
            ("X-Shop".into(), "north".into()),
            ("Authorization".into(), "Bearer abc".into()),
        ]),
        timeout_seconds: Some(7),
        ..with_secret(SECRET)
    };
    world.endpoint_with("acme", URL, fields).await;
    let event = world.publish("acme", "{}").await;
    world.settle().await;

    let received = &world.receivers.take()[0];
    assert_eq!(received.timeout, seconds(7));
    assert_eq!(received.header("content-type"), "application/json");
    assert!(received.header("user-agent").starts_with("Stentor/"));
    assert_eq!(received.header("x-shop"), "north");
    assert_eq!(received.header("authorization"), "Bearer abc");
    assert_eq!(
        received.header("webhook-timestamp"),
        world.now().seconds().to_string()
    );
    assert_eq!(signatures(received), [signature_by(SECRET, received)]);

    let id = world.delivery(event).await.id.to_string();
    let (_, attempts) = world.engine.get_delivery(&world.root, &id).await.unwrap();
    let sent = &attempts[0].attempt.exchange.sent_headers;
    for name in [
        "content-type",
        "user-agent",
        "webhook-id",
        "webhook-timestamp",
        "webhook-signature",
    ] {
        assert!(
            sent.contains(&format!("{name}: {}\n", received.header(name))),
            "{name}: {sent}"
        );
    }
    assert!(!sent.contains("abc"), "custom headers are kept apart, sealed");
    assert_eq!(attempts[0].custom_headers.pairs().len(), 2);
}

#[tokio::test]
async fn each_attempt_is_signed_anew_under_the_same_id() {
    let mut world = world().await;
    world.endpoint_with("acme", URL, with_secret(SECRET)).await;
    world
        .receivers
        .script(URL, &[Reply::Status(500), Reply::Status(200)]);
    let event = world.publish("acme", "{}").await;
    world.play(event).await;

    let received = world.receivers.take();
    assert_eq!(received.len(), 2);
    assert_eq!(received[0].id(), received[1].id());
    assert_ne!(
        received[0].header("webhook-timestamp"),
        received[1].header("webhook-timestamp")
    );
    for one in &received {
        assert_eq!(signatures(one), [signature_by(SECRET, one)]);
    }
}

#[tokio::test]
async fn a_rotated_secret_signs_beside_the_new_one_until_its_grace_ends() {
    let mut world = world().await;
    let endpoint = world.endpoint_with("acme", URL, with_secret(SECRET)).await;
    let new = world.rotate(endpoint, 3_600).await;

    world.publish("acme", "1").await;
    world.after(seconds(3_599)).await;
    world.publish("acme", "2").await;
    world.settle().await;
    for received in world.receivers.take() {
        let both = [signature_by(&new, &received), signature_by(SECRET, &received)];
        assert_eq!(signatures(&received), both, "the newest first");
    }

    world.publish("acme", "3").await;
    world.after(seconds(1)).await;
    let received = world.receivers.take();
    assert_eq!(signatures(&received[0]), [signature_by(&new, &received[0])]);
}

#[tokio::test]
async fn a_rotation_without_grace_ends_the_earlier_secret_at_once() {
    let mut world = world().await;
    let endpoint = world.endpoint_with("acme", URL, with_secret(SECRET)).await;
    world.publish("acme", "{}").await;
    let new = world.rotate(endpoint, 0).await;
    world.settle().await;

    let received = world.receivers.take();
    assert_eq!(signatures(&received[0]), [signature_by(&new, &received[0])]);
}

#[tokio::test]
async fn after_a_rotation_without_grace_what_waits_for_its_retry_is_signed_with_the_new_secret_alone() {
    let mut world = world().await;
    let endpoint = world.endpoint_with("acme", URL, with_secret(SECRET)).await;
    let earlier = world.rotate(endpoint, 3_600).await;
    world
        .receivers
        .script(URL, &[Reply::Status(500), Reply::Status(200)]);
    let event = world.publish("acme", "{}").await;
    world.settle().await;
    let new = world.rotate(endpoint, 0).await;
    world.play(event).await;

    let received = world.receivers.take();
    let both = [&earlier, SECRET].map(|secret| signature_by(secret, &received[0]));
    assert_eq!(signatures(&received[0]), both);
    assert_eq!(signatures(&received[1]), [signature_by(&new, &received[1])]);
}

#[tokio::test]
async fn a_change_from_one_kind_of_secret_to_the_other_has_a_grace_in_which_both_sign() {
    let mut world = world().await;
    let fields = EndpointFields {
        header_styles: Some(vec!["standard".into()]),
        ..with_secret(SECRET)
    };
    let endpoint = world.endpoint_with("acme", URL, fields).await;
    for (given, earlier, public_key) in [(PAIR, SECRET, Some(PUBLIC)), (SECRET, PAIR, None)] {
        let rotated = world.rotate_to(endpoint, Some(given), 60).await.unwrap();
        assert_eq!(rotated, None, "no secret was drawn");
        let known = world.engine.get_endpoint(&world.root, endpoint).await.unwrap();
        assert_eq!(known.endpoint.public_key.as_deref(), public_key);

        world.publish("acme", "1").await;
        world.settle().await;
        world.after(seconds(60)).await;
        world.publish("acme", "2").await;
        world.settle().await;
        let [before, after] = &world.receivers.take()[..] else {
            panic!("two deliveries")
        };
        let both = [signature_by(given, before), signature_by(earlier, before)];
        assert_eq!(signatures(before), both);
        assert_eq!(signatures(after), [signature_by(given, after)]);
    }
}

#[tokio::test]
async fn a_rotation_draws_a_secret_of_the_newest_ones_kind() {
    let world = world().await;
    let endpoint = world.endpoint_with("acme", URL, with_secret(PAIR)).await;
    let drawn = world.rotate(endpoint, 60).await;
    assert!(drawn.starts_with("whsk_") && drawn.len() == PAIR.len());
    let known = world.engine.get_endpoint(&world.root, endpoint).await.unwrap();
    assert_eq!(
        known.endpoint.public_key,
        Secret::parse(&drawn).unwrap().public_key()
    );
    world.rotate_to(endpoint, Some(SECRET), 60).await.unwrap();
    assert!(world.rotate(endpoint, 60).await.starts_with("whsec_"));
}

#[tokio::test]
async fn a_secret_that_is_replaced_signs_no_more_not_even_retries() {
    let mut world = world().await;
    let endpoint = world.endpoint_with("acme", URL, with_secret(SECRET)).await;
    world
        .receivers
        .script(URL, &[Reply::Status(500), Reply::Status(200)]);
    let event = world.publish("acme", "{}").await;
    world.settle().await;
    world.change(endpoint, with_secret(OTHER)).await;
    world.play(event).await;

    let received = world.receivers.take();
    assert_eq!(signatures(&received[0]), [signature_by(SECRET, &received[0])]);
    assert_eq!(signatures(&received[1]), [signature_by(OTHER, &received[1])]);
}
