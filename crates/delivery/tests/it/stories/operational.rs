//! What Stentor tells its operator: of endpoints that fail, come back or are disabled, and of deliveries that are exhausted.

use super::signing::{SECRET, signature_by, signatures, with_secret};
use super::{URL, seconds, world};
use serde_json::{Value, json};
use stentor_domain::attempt::ErrorClass;
use stentor_domain::id::{EndpointId, EventId};
use stentor_engine::endpoints::Which;
use stentor_store::endpoints::EndpointWithHealth;
use stentor_testkit::{EndpointFields, Publication, Received, Reply, World, order_paid};

/// Where an operator hears of it.
pub(super) const OPERATOR: &str = "https://operator.example/alerts?token=t-0";
const DAY: u64 = 24 * 3600;

/// What the operator was told since the last look, a type and a reason each.
pub(super) fn told(world: &World) -> Vec<String> {
    let word = |told: &Value, name: &str| told[name].as_str().unwrap().to_owned();
    let all = world.receivers.take_from(OPERATOR);
    all.iter()
        .map(body)
        .map(|told| format!("{} {}", word(&told, "type"), word(&told, "reason")))
        .collect()
}

fn body(received: &Received) -> Value {
    serde_json::from_slice(&received.body).unwrap()
}

/// So many retries, an hour apart.
fn retries(count: usize) -> EndpointFields {
    EndpointFields {
        retry_schedule: Some(vec![3_600; count]),
        ..EndpointFields::default()
    }
}

/// A delivery that is exhausted with its only attempt; nothing but the attempt has happened.
async fn exhaust(world: &mut World) -> EventId {
    world.receivers.script(URL, &[Reply::Status(500)]);
    let event = world.publish("acme", "{}").await;
    world.launch(1).await;
    world.land().await;
    event
}

fn waiting(world: &World) -> i64 {
    world.number("SELECT count(*) FROM notices")
}

async fn operational(world: &World, id: EndpointId) -> EndpointWithHealth {
    let found = world
        .engine
        .get_endpoint(&world.root, Which::Operational(Some(id)));
    found.await.unwrap()
}

async fn change(world: &World, id: EndpointId, fields: EndpointFields) {
    let which = Which::Operational(Some(id));
    let changed = world.engine.update_endpoint(&world.root, which, fields).await;
    changed.unwrap();
}

#[tokio::test]
async fn an_exhausted_delivery_is_told_signed_with_all_that_names_it_and_nothing_that_is_secret() {
    let mut world = world().await;
    world.operational_with(OPERATOR, with_secret(SECRET)).await;
    let fields = EndpointFields {
        uid: Some(Some("orders".into())),
        ..retries(1)
    };
    let url = "https://receiver.example/hook?token=t-1";
    let endpoint = world.endpoint_with("acme", url, fields).await;
    world
        .receivers
        .script(url, &[Reply::Status(503), Reply::Fails(ErrorClass::Timeout)]);
    let event = world.publish("acme", r#"{"card":"4111"}"#).await;
    world.settle().await;
    assert_eq!(told(&world), [""; 0]);
    world.after(seconds(7_200)).await;

    let delivery = world.delivery(event).await;
    let [received] = &world.receivers.take_from(OPERATOR)[..] else {
        panic!("one event is told");
    };
    assert_eq!(signatures(received), [signature_by(SECRET, received)]);
    assert_eq!(
        body(received),
        json!({
            "type": "delivery.exhausted",
            "occurred_at": world.now().iso_millis(),
            "reason": "schedule_ended",
            "message": "Its schedule has come to its end: attempt 2, the last, ended with timeout. It is not tried again unless \
                        somebody asks for that.",
            "project": world.engine.project(&world.root, None).unwrap().id.to_string(),
            "tenant": {"id": delivery.tenant.to_string(), "uid": "acme"},
            "endpoint": {"id": endpoint.to_string(), "uid": "orders", "name": "an endpoint"},
            "attempt": {"number": 2, "status_code": null, "error": "timeout"},
            "delivery": {"id": delivery.id.to_string(), "event": event.to_string(), "event_type": "order.paid"},
        })
    );
    assert!(!received.text().contains("t-1") && !received.text().contains("4111"));
    assert_eq!(waiting(&world), 0);
}

#[tokio::test]
async fn an_endpoint_that_fails_and_comes_back_is_told_as_it_turns() {
    let mut world = world().await;
    world.operational(OPERATOR).await;
    world.endpoint_with("acme", URL, retries(1)).await;
    world.receivers.script(URL, &[Reply::Status(500)]);
    for failures in 1..=10 {
        assert_eq!(told(&world), [""; 0], "before failure {failures}");
        world.publish("acme", "{}").await;
        world.settle().await;
    }
    let [failing] = &world.receivers.take_from(OPERATOR)[..] else {
        panic!("one event is told");
    };
    let failing = body(failing);
    assert_eq!(failing["type"], "endpoint.failing");
    assert_eq!(failing["reason"], "failures_in_a_row");
    assert!(
        failing["message"]
            .as_str()
            .unwrap()
            .starts_with("10 attempts failed in a row, the last with status 500."),
        "{failing}"
    );
    assert_eq!(
        failing["health"],
        json!({
            "consecutive_failures": 10,
            "failing_since": world.now().iso_millis(),
            "next_probe_at": world.now().plus(seconds(30)).iso_millis(),
        })
    );
    assert_eq!(failing["attempt"]["status_code"], 500);

    // Probes that fail are no news.
    world.after(seconds(31)).await;
    world.after(seconds(61)).await;
    assert_eq!(told(&world), [""; 0]);
    world.receivers.script(URL, &[Reply::Status(200)]);
    world.publish_many("acme", 50).await;
    world.after(seconds(4_000)).await;
    assert_eq!(told(&world), ["endpoint.recovered answers_again"]);
    assert_eq!(waiting(&world), 0);
}

#[tokio::test]
async fn an_endpoint_that_is_disabled_by_policy_is_told_with_its_reason() {
    let mut world = world().await;
    world.operational(OPERATOR).await;
    let endpoint = world.endpoint("acme", URL).await;
    world.receivers.script(URL, &[Reply::Status(410)]);
    world.publish("acme", "{}").await;
    world.settle().await;
    let [gone] = &world.receivers.take_from(OPERATOR)[..] else {
        panic!("one event is told");
    };
    let gone = body(gone);
    assert_eq!(gone["type"], "endpoint.disabled");
    assert_eq!(gone["reason"], "gone");
    assert!(
        gone["message"]
            .as_str()
            .unwrap()
            .starts_with("The receiver answered 410 Gone.")
    );
    assert_eq!(gone["endpoint"]["id"], endpoint.to_string());
    assert_eq!(gone["health"]["consecutive_failures"], 1);

    world.resume(endpoint).await;
    world.receivers.script(URL, &[Reply::Status(500)]);
    for _ in 0..6 {
        world.publish("acme", "{}").await;
        for _ in 0..24 {
            world.after(seconds(3_600)).await;
        }
    }
    let told = told(&world);
    let of_endpoint: Vec<_> = told.iter().filter(|one| one.starts_with("endpoint")).collect();
    assert_eq!(
        of_endpoint,
        ["endpoint.failing failures_in_a_row", "endpoint.disabled failing"]
    );
    assert_eq!(waiting(&world), 0);
}

#[tokio::test]
async fn what_an_owner_does_is_no_news() {
    let mut world = world().await;
    world.operational(OPERATOR).await;
    let endpoint = world.endpoint_with("acme", URL, retries(0)).await;
    world.receivers.script(URL, &[Reply::Status(500)]);
    let event = world.publish("acme", "{}").await;
    world.launch(1).await;
    world.cancel(event).await.unwrap();
    world.land().await;
    world.settle().await;
    assert_eq!(
        world.timeline(event).await,
        ["1 event 500", "cancelled: requested"]
    );
    world.test(endpoint).await.unwrap();
    world.pause(endpoint).await;
    world.resume(endpoint).await;
    world.delete(endpoint).await;
    world.settle().await;
    assert_eq!(told(&world), [""; 0]);
}

#[tokio::test]
async fn nothing_is_told_of_an_operational_endpoint_whatever_it_does() {
    for reply in [
        Reply::Status(500),
        Reply::Status(410),
        Reply::Fails(ErrorClass::Connect),
    ] {
        let mut world = world().await;
        let operator = world.operational_with(OPERATOR, retries(0)).await;
        world.receivers.script(OPERATOR, std::slice::from_ref(&reply));
        world.endpoint_with("acme", URL, retries(0)).await;
        world.receivers.script(URL, &[Reply::Status(500)]);
        for _ in 0..30 {
            world.publish("acme", "{}").await;
            // The longest wait between two probes, and more.
            world.after(seconds(601)).await;
        }
        world.after(seconds(DAY)).await;
        let failed = operational(&world, operator).await.health.consecutive_failures;
        assert!(failed > 0, "{reply:?}: it fails");
        let kinds = told(&world);
        assert!(
            kinds.iter().filter(|one| one.starts_with("delivery")).count() <= 30
                && kinds.iter().filter(|one| one.starts_with("endpoint")).count() <= 1,
            "{reply:?}: {kinds:?}"
        );
        let of_customers = "SELECT count(*) FROM events WHERE type = 'order.paid'";
        assert_eq!(world.number(of_customers), 30);
        let own = world.number("SELECT count(*) FROM events WHERE type <> 'order.paid'");
        assert!(
            own <= 31,
            "{reply:?}: {own} events about thirty deliveries of one endpoint"
        );
        assert_eq!(waiting(&world), 0, "{reply:?}");
    }
}

#[tokio::test]
async fn no_notice_is_left_where_nobody_wants_to_hear() {
    let mut world = world().await;
    world.endpoint_with("acme", URL, retries(0)).await;
    exhaust(&mut world).await;
    assert_eq!(waiting(&world), 0, "nobody is there");

    let wants_other = EndpointFields {
        events: Some(vec!["endpoint.*".into()]),
        ..EndpointFields::default()
    };
    world.operational_with(OPERATOR, wants_other).await;
    exhaust(&mut world).await;
    assert_eq!(waiting(&world), 0, "nobody wants it");

    let gone = world.operational("https://gone.example/").await;
    world
        .receivers
        .script("https://gone.example/", &[Reply::Status(410)]);
    exhaust(&mut world).await;
    assert_eq!(waiting(&world), 1, "now somebody does");
    world.settle().await;
    assert!(!operational(&world, gone).await.endpoint.status.matches_events());
    exhaust(&mut world).await;
    assert_eq!(waiting(&world), 0, "who does is disabled");

    let event = world.publish("acme", "{}").await;
    world.settle().await;
    assert_eq!(
        world.timeline(event).await.last().unwrap(),
        "exhausted: schedule_ended"
    );
}

#[tokio::test]
async fn each_project_hears_of_its_own() {
    let mut world = world().await;
    world.operational(OPERATOR).await;
    world.root.project_named = Some("default".into());
    world.endpoint_with("acme", URL, retries(0)).await;
    let new = stentor_store::projects::NewProject {
        name: "staging".into(),
        sandbox: false,
    };
    world.engine.create_project(&world.root, new, None).await.unwrap();
    world.root.project_named = Some("staging".into());
    world.operational("https://staging.example/").await;
    world.root.project_named = Some("default".into());
    exhaust(&mut world).await;
    world.settle().await;
    assert_eq!(told(&world), ["delivery.exhausted schedule_ended"]);
    assert_eq!(world.receivers.take_from("https://staging.example/").len(), 0);
}

#[tokio::test]
async fn a_death_after_the_attempt_delays_what_there_is_to_tell() {
    let mut world = world().await;
    world.operational(OPERATOR).await;
    world.endpoint_with("acme", URL, retries(0)).await;
    exhaust(&mut world).await;
    world.store.close().await;
    assert!(
        world.engine.tick_jobs().await.is_err(),
        "nothing can be published"
    );
    let mut world = world.kill_and_restart().await;
    assert_eq!(waiting(&world), 1, "it stays");
    world.settle().await;
    assert_eq!(told(&world), ["delivery.exhausted schedule_ended"]);
    assert_eq!(waiting(&world), 0);
}

#[tokio::test]
async fn a_death_between_publishing_and_forgetting_tells_nothing_twice() {
    let mut world = world().await;
    world.operational(OPERATOR).await;
    let endpoint = world.endpoint_with("acme", URL, retries(0)).await;
    exhaust(&mut world).await;
    world
        .database()
        .execute("CREATE TABLE kept AS SELECT * FROM notices");
    world.settle().await;
    assert_eq!(told(&world).len(), 1);
    // As if the process had died before it forgot; and what is told would be spelled otherwise by now.
    let renamed = EndpointFields {
        name: Some("another name".into()),
        ..EndpointFields::default()
    };
    world.change(endpoint, renamed).await;
    let unforget = "INSERT INTO notices SELECT * FROM kept";
    let mut world = world
        .kill_and_restart_after(|database| database.execute(unforget))
        .await;
    assert_eq!(waiting(&world), 1);
    world.settle().await;
    assert_eq!(told(&world), [""; 0]);
    assert_eq!(waiting(&world), 0);
}

#[tokio::test]
async fn what_happened_is_told_even_if_its_endpoint_or_tenant_goes_meanwhile() {
    for tenant_too in [false, true] {
        let mut world = world().await;
        world.operational(OPERATOR).await;
        let endpoint = world.endpoint_with("acme", URL, retries(0)).await;
        exhaust(&mut world).await;
        if tenant_too {
            world.delete_tenant("acme").await;
        } else {
            world.delete(endpoint).await;
        }
        world.settle().await;
        let [received] = &world.receivers.take_from(OPERATOR)[..] else {
            panic!("one event is told");
        };
        assert_eq!(body(received)["endpoint"]["id"], endpoint.to_string());
        assert_eq!(body(received)["tenant"]["uid"], "acme");
    }
}

#[tokio::test]
async fn what_nobody_listens_to_any_more_is_forgotten() {
    let mut world = world().await;
    let operator = world.operational(OPERATOR).await;
    world.endpoint_with("acme", URL, retries(0)).await;
    exhaust(&mut world).await;
    let which = Which::Operational(Some(operator));
    world.engine.delete_endpoint(&world.root, which).await.unwrap();
    assert_eq!(waiting(&world), 1);
    world.settle().await;
    assert_eq!(waiting(&world), 0);
    assert_eq!(world.number("SELECT count(*) FROM events"), 1);
}

#[tokio::test]
async fn a_filter_chooses_what_an_operator_hears_and_a_pause_holds_it() {
    let mut world = world().await;
    world.tenant("other").await;
    let filtered = EndpointFields {
        filter: Some(Some(r#"{"tenant.uid": "other"}"#.into())),
        ..EndpointFields::default()
    };
    let operator = world.operational_with(OPERATOR, filtered).await;
    world.endpoint_with("acme", URL, retries(0)).await;
    let url = "https://other.example/";
    world.endpoint_with("other", url, retries(0)).await;
    world.receivers.script(url, &[Reply::Status(500)]);
    let paused = EndpointFields {
        status: Some("PAUSED".into()),
        ..EndpointFields::default()
    };
    change(&world, operator, paused).await;
    exhaust(&mut world).await;
    world.publish("other", "{}").await;
    world.settle().await;
    assert_eq!(told(&world), [""; 0]);
    let active = EndpointFields {
        status: Some("ACTIVE".into()),
        ..EndpointFields::default()
    };
    change(&world, operator, active).await;
    world.settle().await;
    let received = world.receivers.take_from(OPERATOR);
    assert_eq!(received.len(), 1);
    assert_eq!(body(&received[0])["tenant"]["uid"], "other");
}

#[tokio::test]
async fn more_than_are_published_together_are_all_told_in_order() {
    let mut world = world().await;
    let one_by_one = EndpointFields {
        ordered: Some(true),
        ..EndpointFields::default()
    };
    world.operational_with(OPERATOR, one_by_one).await;
    world.endpoint_with("acme", URL, retries(0)).await;
    world.receivers.script(URL, &[Reply::Status(400)]);
    // Nobody is disabled, or asked to wait for longer than the story takes.
    let mut exhausted = Vec::new();
    for _ in 0..120 {
        exhausted.push(exhaust(&mut world).await.to_string());
        world.clock.step(seconds(601));
    }
    assert!(waiting(&world) > 120);
    world.settle().await;
    let received = world.receivers.take_from(OPERATOR);
    let bodies: Vec<Value> = received.iter().map(body).collect();
    let events: Vec<&str> = bodies
        .iter()
        .filter(|told| told["type"] == "delivery.exhausted")
        .map(|told| told["delivery"]["event"].as_str().unwrap())
        .collect();
    assert_eq!(events, exhausted);
    assert_eq!(waiting(&world), 0);
}

#[tokio::test]
async fn what_is_told_counts_the_webhooks_that_led_to_it() {
    let mut world = world().await;
    world.operational(OPERATOR).await;
    world.endpoint_with("acme", URL, retries(0)).await;
    world.receivers.script(URL, &[Reply::Status(500)]);
    let event = Publication {
        loops: 3,
        ..order_paid("acme", "{}")
    };
    world.publish_all(vec![event]).await.unwrap();
    world.settle().await;
    let received = world.receivers.take_from(OPERATOR);
    assert_eq!(received[0].header("webhook-loop"), "4");
}
