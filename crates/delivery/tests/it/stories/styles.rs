//! The headers that receivers know from elsewhere, and what goes together.

use super::{URL, seconds, world};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use stentor_domain::contract::Contract;
use stentor_domain::id::EndpointId;
use stentor_engine::Error;
use stentor_testkit::{EndpointFields, Received, Reply, World};

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const OTHER: &str = "a secret of plain text";
const PAIR: &str =
    "whsk_6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbfVKIDij2HKpMKkioLlX0dRqSKJp4AJ6p9lMicMFs6Kvg==";
/// As many as go together.
const MANY: [&str; 6] = ["svix", "stripe", "github", "shopify", "v1", "prefix:X-Acme"];
/// Those that an ed25519 secret cannot key.
const HMAC_ONLY: [&str; 6] = ["organization", "apps", "v1", "stripe", "github", "shopify"];

fn styles(beside: &[&str]) -> EndpointFields {
    let words = ["standard"].iter().chain(beside);
    EndpointFields {
        header_styles: Some(words.map(|word| (*word).to_owned()).collect()),
        ..EndpointFields::default()
    }
}

fn with(secret: &str, beside: &[&str]) -> EndpointFields {
    EndpointFields {
        secret: Some(secret.into()),
        ..styles(beside)
    }
}

fn mac(secret: &str, content: &[u8]) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(content);
    mac.finalize().into_bytes().to_vec()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Fails unless the request carries the headers of [`MANY`]: those with room for one signature by the first of `secrets`.
fn check_many(received: &Received, secrets: &[&str]) {
    let timestamp = received.header("webhook-timestamp");
    for prefix in ["svix", "x-acme"] {
        for name in ["id", "timestamp", "signature"] {
            let own = received.header(&format!("{prefix}-{name}"));
            assert_eq!(
                own,
                received.header(&format!("webhook-{name}")),
                "{prefix}-{name}"
            );
        }
    }
    let count = received.header("webhook-signature").split(' ').count();
    assert_eq!(count, secrets.len());

    let both = [timestamp.as_bytes(), b".", &received.body].concat();
    let stripe = secrets
        .iter()
        .map(|secret| format!(",v1={}", hex(&mac(secret, &both))));
    let stripe = format!("t={timestamp}{}", stripe.collect::<String>());
    assert_eq!(received.header("stripe-signature"), stripe);
    let newest = secrets[0];
    let of_body = mac(newest, &received.body);
    for (name, value) in [
        ("x-hub-signature-256", format!("sha256={}", hex(&of_body))),
        ("x-shopify-hmac-sha256", STANDARD.encode(&of_body)),
        ("x-webhook-signature", format!("v1={}", hex(&mac(newest, &both)))),
    ] {
        assert_eq!(received.header(name), value, "{name}");
    }
}

/// The field and the rule of a refused change.
fn refusal<T: std::fmt::Debug>(refused: Result<T, Error>) -> (String, String) {
    let told = format!("{refused:?}");
    let mut faults = match refused {
        Err(Error::Invalid(faults)) => faults,
        _ => Vec::new(),
    };
    assert_eq!(faults.len(), 1, "{told}");
    let fault = faults.remove(0);
    (fault.field, fault.rule)
}

async fn change(world: &World, endpoint: EndpointId, fields: EndpointFields) -> Result<(), Error> {
    let changed = world.engine.update_endpoint(&world.root, endpoint, fields);
    changed.await.map(|_| ())
}

async fn create(world: &World, fields: EndpointFields) -> Result<(), Error> {
    let fields = EndpointFields {
        name: Some("an endpoint".into()),
        url: Some(URL.into()),
        ..fields
    };
    let made = world
        .engine
        .create_endpoint(&world.root, Contract::V1, Some("acme"), fields, None);
    made.await.map(|_| ())
}

#[tokio::test]
async fn many_styles_sign_at_once_and_the_attempt_shows_every_header() {
    let mut world = world().await;
    world.endpoint_with("acme", URL, with(SECRET, &MANY)).await;
    let event = world.publish("acme", "{\"a\": 1}").await;
    world.settle().await;
    let received = &world.receivers.take()[0];
    check_many(received, &[SECRET]);

    let sent = &world.attempts(event).await[0].exchange.sent_headers;
    assert_eq!(sent.lines().count(), received.headers.len());
    for (name, value) in &received.headers {
        let line = format!("{name}: {}", value.to_str().unwrap());
        assert_eq!(sent.lines().filter(|sent| **sent == line).count(), 1, "{line}");
    }
}

#[tokio::test]
async fn during_a_rotation_only_headers_with_room_for_several_signatures_have_all() {
    let mut world = world().await;
    let endpoint = world.endpoint_with("acme", URL, with(OTHER, &MANY)).await;
    let new = world.rotate(endpoint, 60).await;
    world.publish("acme", "1").await;
    world.settle().await;
    check_many(&world.receivers.take()[0], &[&new, OTHER]);

    world.after(seconds(60)).await;
    world.publish("acme", "2").await;
    world.settle().await;
    check_many(&world.receivers.take()[0], &[&new]);
}

#[tokio::test]
async fn a_key_pair_that_ends_leaves_the_styles_of_an_hmac_to_the_secret_after_it() {
    let mut world = world().await;
    let endpoint = world.endpoint_with("acme", URL, with(PAIR, &["svix"])).await;
    world.rotate_to(endpoint, Some(OTHER), 60).await.unwrap();
    world
        .change(endpoint, styles(&["svix", "stripe", "github"]))
        .await;
    world.publish("acme", "1").await;
    world.settle().await;
    let received = &world.receivers.take()[0];
    let signatures: Vec<&str> = received.header("svix-signature").split(' ').collect();
    assert!(signatures[0].starts_with("v1,") && signatures[1].starts_with("v1a,"));
    let of_body = format!("sha256={}", hex(&mac(OTHER, &received.body)));
    assert_eq!(received.header("x-hub-signature-256"), of_body);
    assert_eq!(received.header("stripe-signature").matches(",v1=").count(), 1);
}

#[tokio::test]
async fn a_key_pair_and_a_style_of_an_hmac_never_come_together() {
    let world = world().await;
    let of_pair = world.endpoint_with("acme", URL, with(PAIR, &["svix"])).await;
    for style in HMAC_ONLY {
        let of_hmac = world
            .endpoint_with("acme", URL, with(SECRET, &["svix", style]))
            .await;
        let refused = [
            (create(&world, with(PAIR, &[style])).await, "secret"),
            (change(&world, of_pair, styles(&[style])).await, "header_styles"),
            (change(&world, of_pair, with(PAIR, &[style])).await, "secret"),
            (
                change(&world, of_hmac, with(PAIR, &["svix", style])).await,
                "secret",
            ),
            (
                world.rotate_to(of_hmac, Some(PAIR), 60).await.map(|_| ()),
                "secret",
            ),
        ];
        for (refused, at_fault) in refused {
            let (field, rule) = refusal(refused);
            assert_eq!(field, at_fault);
            assert!(
                rule.contains(&format!("header style {style} is an HMAC")),
                "{rule}"
            );
        }
        change(&world, of_hmac, with(PAIR, &["svix"])).await.unwrap();
        change(&world, of_hmac, with(SECRET, &[style])).await.unwrap();
    }
}

#[tokio::test]
async fn a_style_that_is_added_signs_what_waits_for_its_retry() {
    let mut world = world().await;
    let endpoint = world.endpoint_with("acme", URL, with(SECRET, &[])).await;
    world
        .receivers
        .script(URL, &[Reply::Status(500), Reply::Status(200)]);
    let event = world.publish("acme", "{}").await;
    world.settle().await;
    world.change(endpoint, styles(&MANY)).await;
    world.play(event).await;
    let received = world.receivers.take();
    assert!(!received[0].headers.contains_key("svix-id"));
    check_many(&received[1], &[SECRET]);
}

#[tokio::test]
async fn no_custom_header_has_a_name_of_the_endpoints_own_prefix() {
    let world = world().await;
    let forged = EndpointFields {
        custom_headers: Some(vec![("X-Acme-Id".into(), "forged".into())]),
        ..EndpointFields::default()
    };
    let expected = (
        "headers_json.X-Acme-Id".to_owned(),
        "is what header style prefix:x-acme sets; leave out one of them".to_owned(),
    );
    let together = EndpointFields {
        custom_headers: forged.custom_headers.clone(),
        ..styles(&["prefix:x-acme"])
    };
    assert_eq!(refusal(create(&world, together).await), expected);
    let with_style = world.endpoint_with("acme", URL, styles(&["prefix:x-acme"])).await;
    assert_eq!(
        refusal(change(&world, with_style, forged.clone()).await),
        expected
    );
    let with_header = world.endpoint_with("acme", URL, forged).await;
    let refused = change(&world, with_header, styles(&["prefix:x-acme"])).await;
    assert_eq!(refusal(refused), expected);
}

#[tokio::test]
async fn where_the_project_takes_the_prefix_of_an_endpoint_the_endpoints_own_headers_stand() {
    let mut world = world().await;
    let both = ["apps", "prefix:x-acme"];
    let endpoint = world.endpoint_with("acme", URL, with(SECRET, &both)).await;
    world.sign_under("x-acme").await;
    let (field, rule) = refusal(change(&world, endpoint, styles(&both)).await);
    assert_eq!(field, "header_styles");
    assert!(rule.contains("apps and prefix:x-acme"), "{rule}");

    let event = world.publish("acme", "{}").await;
    world.settle().await;
    let received = &world.receivers.take()[0];
    for name in ["id", "timestamp", "signature"] {
        let names = ["webhook", "x-acme"].map(|prefix| format!("{prefix}-{name}"));
        assert_eq!(received.header(&names[0]), received.header(&names[1]));
    }
    let sent = &world.attempts(event).await[0].exchange.sent_headers;
    assert_eq!(sent.matches("x-acme-").count(), 3, "each once: {sent}");
    world.sign_under("x-other").await;
    world.publish("acme", "{}").await;
    world.settle().await;
    let received = &world.receivers.take()[0];
    assert_eq!(received.header("x-other-signature").len(), 64);
}

#[tokio::test]
async fn style_apps_signs_under_the_prefix_of_the_project_from_the_next_attempt_on() {
    let mut world = world().await;
    world.endpoint_with("acme", URL, with(SECRET, &["apps"])).await;
    world
        .receivers
        .script(URL, &[Reply::Status(500), Reply::Status(200)]);
    let event = world.publish("acme", "{}").await;
    world.settle().await;
    world.sign_under("X-Acme").await;
    world.play(event).await;

    let received = world.receivers.take();
    let [first, second] = &received[..] else {
        panic!("two attempts")
    };
    assert_eq!(first.header("x-webhook-signature").len(), 64);
    assert_eq!(
        second.header("x-acme-signature"),
        first.header("x-webhook-signature")
    );
    assert_eq!(
        second.header("x-acme-timestamp"),
        world.attempted_at(event).await[1].millis().to_string()
    );
    for gone in ["x-webhook-signature", "x-webhook-timestamp"] {
        assert!(!second.headers.contains_key(gone));
    }
}

#[tokio::test]
async fn a_custom_header_never_stands_in_the_place_of_a_signature() {
    let mut world = world().await;
    let names = ["X-Acme-Signature", "x-acme-timestamp"];
    let fields = EndpointFields {
        custom_headers: Some(names.map(|name| (name.into(), "forged".into())).into()),
        ..with(SECRET, &["apps"])
    };
    world.endpoint_with("acme", URL, fields).await;
    world.publish("acme", "{}").await;
    world.settle().await;
    let before = &world.receivers.take()[0];
    assert_eq!(
        before.header("x-acme-signature"),
        "forged",
        "nobody else's name yet"
    );

    world.sign_under("x-acme").await;
    let event = world.publish("acme", "{}").await;
    world.settle().await;
    let received = &world.receivers.take()[0];
    for name in names {
        assert_eq!(received.headers.get_all(name).iter().count(), 1);
        assert_ne!(received.header(name), "forged");
    }
    assert_eq!(
        received.header("x-acme-signature"),
        before.header("x-webhook-signature"),
        "the same body and secret"
    );
    let sent = &world.attempts(event).await[0].exchange.sent_headers;
    assert!(sent.contains(&format!(
        "x-acme-signature: {}\n",
        received.header("x-acme-signature")
    )));
}
