//! What the body of a delivery looks like, in every format.

use super::signing::{SECRET, signature_by, signatures, with_secret};
use super::{URL, seconds, world};
use stentor_domain::Timestamp;
use stentor_domain::contract::Contract;
use stentor_domain::id::EndpointId;
use stentor_domain::payload_format::PayloadFormat;
use stentor_engine::projects::ProjectPatch;
use stentor_engine::publish::Publication;
use stentor_testkit::{EndpointFields, Received, Reply, World, order_paid};

/// Duplicate keys, and numbers that no float holds, go through every format byte for byte.
const PAYLOAD: &str = r#"{"a": 1, "a": 1E400, "b": 12345678901234567890.10}"#;
/// When the event happened, weeks before it is published.
const HAPPENED: i64 = 1_700_000_000;

fn in_format(format: PayloadFormat) -> EndpointFields {
    EndpointFields {
        payload_format: Some(format.as_str().into()),
        ..with_secret(SECRET)
    }
}

async fn publish(world: &World) {
    let event = Publication {
        occurred_at: Some(Timestamp::from_seconds(HAPPENED)),
        ..order_paid("acme", PAYLOAD)
    };
    world.publish_all(vec![event]).await.unwrap();
}

fn tenant_id(world: &World) -> String {
    let caller = world.on_behalf_of("acme");
    world.engine.tenant(&caller, None).unwrap().id.to_string()
}

/// What arrives in a format, its ids replaced by words.
async fn arrived(format: PayloadFormat) -> (Received, String) {
    let mut world = world().await;
    world.endpoint_with("acme", URL, in_format(format)).await;
    publish(&world).await;
    world.settle().await;
    let received = world.receivers.take().remove(0);
    assert_eq!(
        signatures(&received),
        [signature_by(SECRET, &received)],
        "{format}"
    );
    let tenant = tenant_id(&world);
    let uuid = received.id().trim_start_matches("evt_").to_owned();
    let text = received.text().replace(&uuid, "UUID").replace(&tenant, "TENANT");
    (received, text)
}

#[tokio::test]
async fn every_format_as_its_receivers_know_it() {
    let mut shown = String::new();
    for format in PayloadFormat::ALL {
        let (received, body) = arrived(format).await;
        shown += &format!("{format}: {}\n{body}\n", received.header("content-type"));
    }
    insta::assert_snapshot!(shown);
}

#[tokio::test]
async fn a_binary_cloud_event_has_its_attributes_in_headers_which_no_custom_header_replaces() {
    let mut world = world().await;
    let fields = EndpointFields {
        custom_headers: Some(vec![
            ("CE-Type".into(), "mine".into()),
            ("X-Shop".into(), "north".into()),
        ]),
        ..in_format(PayloadFormat::CloudEventsBinary)
    };
    world.endpoint_with("acme", URL, fields).await;
    publish(&world).await;
    world.settle().await;
    let received = world.receivers.take().remove(0);
    assert_eq!(received.text(), PAYLOAD);
    assert_eq!(received.header("ce-specversion"), "1.0");
    assert_eq!(received.header("ce-id"), received.id());
    assert_eq!(received.header("ce-type"), "order.paid");
    assert_eq!(received.header("ce-time"), "2023-11-14T22:13:20.000Z");
    assert_eq!(
        received.header("ce-source"),
        format!("/v1/tenants/{}", tenant_id(&world))
    );
    assert_eq!(received.header("x-shop"), "north");
}

#[tokio::test]
async fn without_a_time_of_its_own_an_event_happened_when_it_was_accepted() {
    let mut world = world().await;
    world
        .endpoint_with("acme", URL, in_format(PayloadFormat::Standard))
        .await;
    let event = world.publish("acme", "{}").await;
    world.settle().await;
    let accepted = world.delivery(event).await.created_at.iso_millis();
    let expected = format!(r#"{{"type":"order.paid","timestamp":"{accepted}","data":{{}}}}"#);
    assert_eq!(world.receivers.take()[0].text(), expected);
}

#[tokio::test]
async fn a_retry_repeats_the_body_unless_the_format_was_changed_meanwhile() {
    let mut world = world().await;
    let endpoint = world
        .endpoint_with("acme", URL, in_format(PayloadFormat::Apps))
        .await;
    world
        .receivers
        .script(URL, &[Reply::Status(500), Reply::Status(500), Reply::Status(200)]);
    publish(&world).await;
    world.settle().await;
    world.after(seconds(10)).await;
    world.change(endpoint, in_format(PayloadFormat::Raw)).await;
    world.after(seconds(400)).await;
    let bodies: Vec<String> = world.receivers.take().iter().map(Received::text).collect();
    assert_eq!(
        bodies[0], bodies[1],
        "claimed from the store it is the same as handed over"
    );
    assert_eq!(bodies[2], PAYLOAD);
}

async fn plain(world: &World, through: Contract) -> EndpointId {
    let fields = EndpointFields::default();
    world.endpoint_through(through, "acme", URL, fields).await
}

#[tokio::test]
async fn a_project_sets_what_new_endpoints_of_a_contract_start_with() {
    let world = world().await;
    let before = plain(&world, Contract::Apps).await;
    let patch = ProjectPatch {
        payload_formats: vec![
            (Contract::Apps, Some("apps".into())),
            (Contract::V1, Some("thin".into())),
        ],
        ..ProjectPatch::default()
    };
    world
        .engine
        .update_project(&world.root, "default", patch)
        .await
        .unwrap();
    let formats = [
        before,
        plain(&world, Contract::Apps).await,
        plain(&world, Contract::Organization).await,
        world.endpoint("acme", URL).await,
        world
            .endpoint_with("acme", URL, in_format(PayloadFormat::Raw))
            .await,
    ];
    let mut started = Vec::new();
    for endpoint in formats {
        let found = world.engine.get_endpoint(&world.root, endpoint).await.unwrap();
        started.push(found.endpoint.settings.payload_format);
    }
    assert_eq!(
        started,
        [
            PayloadFormat::Raw,
            PayloadFormat::Apps,
            PayloadFormat::Raw,
            PayloadFormat::Thin,
            PayloadFormat::Raw
        ]
    );
}

#[tokio::test]
async fn a_test_comes_in_the_format_of_its_endpoint() {
    let mut world = world().await;
    let endpoint = world
        .endpoint_with("acme", URL, in_format(PayloadFormat::Organization))
        .await;
    world.test(endpoint).await.unwrap();
    let at = world.now().iso_millis();
    assert_eq!(
        world.receivers.take()[0].text(),
        format!(r#"{{"event":"webhook.test","timestamp":"{at}","data":{{}}}}"#)
    );
}
