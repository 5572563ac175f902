//! What goes because somebody asked for it: the content of an event, and of everything that a tenant has published.

use super::{URL, seconds, world};
use stentor_domain::id::EventId;
use stentor_engine::Error;
use stentor_testkit::{Place, ReplayFields, Reply, TestDatabase, World, all_of};

const OTHER: &str = "https://other.example/";
/// Long enough to fill pages of its own.
const LONG: usize = 9_000;

fn canary(name: &str) -> String {
    format!(r#"{{"name":"{name}","more":"{}"}}"#, "x".repeat(LONG))
}

/// Is the text anywhere in what is stored? Asked of a database that nobody uses.
fn holds(database: &TestDatabase, text: &str) -> bool {
    if let Place::File(_) = database.place() {
        // The log is emptied by whatever is written next; here it is asked for.
        database.number("PRAGMA wal_checkpoint(TRUNCATE)");
    }
    let bytes = database.bytes();
    bytes.windows(text.len()).any(|part| part == text.as_bytes())
}

async fn answers(world: &World, event: EventId) -> Vec<bool> {
    let attempts = world.attempts(event).await;
    attempts.iter().map(|one| one.exchange.answer.is_some()).collect()
}

#[tokio::test]
async fn an_erased_event_is_nowhere_any_more_and_its_deliveries_say_why() {
    let mut world = world().await;
    world.endpoint("acme", URL).await;
    world.receivers.script(URL, &[Reply::Echo(503)]);
    let event = world.publish("acme", &canary("Marguerite")).await;
    let other = world.publish("acme", &canary("Theophile")).await;
    world.settle().await;
    world.after(seconds(60)).await;
    assert_eq!(answers(&world, event).await, [true, true]);

    world.erase(event).await;
    // From this moment, before anything has followed.
    assert_eq!(world.payload(event).await, Err("erased"));
    assert_eq!(answers(&world, event).await, [false, false]);
    let ended = ["1 event 503", "2 event 503", "cancelled: payload_expired"];
    assert_eq!(world.timeline(event).await, ended);
    let retried = world.retry(event).await;
    assert!(
        matches!(
            retried,
            Err(Error::Conflict {
                code: "payload_expired",
                ..
            })
        ),
        "{retried:?}"
    );

    world.settle().await;
    assert_eq!(world.timeline(event).await, ended);
    assert_eq!(world.number("SELECT count(*) FROM erasures"), 0);
    let mut found = (true, false);
    let look = |database: &TestDatabase| {
        found = (holds(database, "Marguerite"), holds(database, "Theophile"));
    };
    let world = world.kill_and_restart_after(look).await;
    assert_eq!(found, (false, true), "the one and not the other");
    assert_eq!(world.payload(other).await, Ok(canary("Theophile")));
    assert_eq!(answers(&world, other).await, [true, true]);
}

#[tokio::test]
async fn a_tenants_content_goes_and_nobody_elses_and_nothing_that_comes_later() {
    let mut world = world().await;
    let endpoint = world.endpoint("acme", URL).await;
    world.tenant("other").await;
    world.endpoint("other", OTHER).await;
    world.receivers.script(URL, &[Reply::Echo(200)]);
    world.receivers.script(OTHER, &[Reply::Echo(200)]);
    let delivered = world.publish("acme", &canary("Marguerite")).await;
    let others = world.publish("other", &canary("Theophile")).await;
    world.settle().await;
    world.pause(endpoint).await;
    let held = world.publish("acme", &canary("Marguerite")).await;
    world.settle().await;

    world.erase_all_of("acme").await;
    let later = world.publish("acme", "1").await;
    assert_eq!(world.payload(held).await, Err("erased"));
    assert_eq!(world.timeline(held).await, ["cancelled: payload_expired"]);
    world.settle().await;
    world.resume(endpoint).await;
    world.settle().await;

    assert_eq!(world.timeline(delivered).await, ["1 event 200", "delivered"]);
    assert_eq!(answers(&world, delivered).await, [false]);
    assert_eq!(world.timeline(held).await, ["cancelled: payload_expired"]);
    assert_eq!(world.payload(later).await.as_deref(), Ok("1"));
    assert_eq!(world.timeline(later).await, ["1 event 200", "delivered"]);
    assert_eq!(answers(&world, others).await, [true]);
    let mut found = (true, false);
    let look = |database: &TestDatabase| {
        found = (holds(database, "Marguerite"), holds(database, "Theophile"));
    };
    world.kill_and_restart_after(look).await;
    assert_eq!(found, (false, true));
}

#[tokio::test]
async fn nothing_of_a_tenant_is_sent_after_its_content_was_erased_but_what_is_on_its_way() {
    for (answer, end) in [(200, "delivered"), (503, "cancelled: payload_expired")] {
        let mut world = world().await;
        world.endpoint("acme", URL).await;
        world.receivers.script(URL, &[Reply::Echo(answer)]);
        let in_flight = world.publish("acme", r#""Marguerite""#).await;
        world.launch(1).await;
        let in_memory = world.publish("acme", "2").await;
        world.erase_all_of("acme").await;
        while world.tick_jobs().await > 0 {}
        world.land().await;
        world.settle().await;

        assert_eq!(
            world.timeline(in_flight).await,
            [format!("1 event {answer}"), end.into()]
        );
        assert_eq!(world.timeline(in_memory).await, ["cancelled: payload_expired"]);
        assert_eq!(world.receivers.take().len(), 1);
        // The answer came after the wish, and is gone all the same.
        let mut found = true;
        world
            .kill_and_restart_after(|database| found = holds(database, "Marguerite"))
            .await;
        assert!(!found);
    }
}

#[tokio::test]
async fn an_erasure_that_dies_at_any_slice_is_done_by_the_next_start() {
    for slices in [0, 1, 2, 4] {
        let mut world = world().await;
        let endpoint = world.endpoint("acme", URL).await;
        world.receivers.script(URL, &[Reply::Echo(200)]);
        world.publish("acme", &canary("Marguerite")).await;
        world.settle().await;
        world.pause(endpoint).await;
        world.publish("acme", &canary("Marguerite")).await;
        world.erase_all_of("acme").await;
        for _ in 0..slices {
            world.tick_jobs().await;
        }
        let mut world = world.kill_and_restart().await;
        world.settle().await;
        let mut found = true;
        let look = |database: &TestDatabase| found = holds(database, "Marguerite");
        let world = world.kill_and_restart_after(look).await;
        assert!(!found, "after {slices} slices");
        let audit = world.engine.list_audit(&world.root, None, 10).await.unwrap();
        let last = audit.items.first().map(|row| row.action.as_str());
        assert_eq!(last, Some("tenant.content_erasure_finished"));
    }
}

#[tokio::test]
async fn what_is_erased_twice_is_erased_once() {
    let mut world = world().await;
    let event = world.publish("acme", "1").await;
    world.erase(event).await;
    world.erase(event).await;
    world.settle().await;
    let wishes = "SELECT count(*) FROM audit WHERE action = 'event.content_erased'";
    assert_eq!(world.number(wishes), 1);
    assert_eq!(world.payload(event).await, Err("erased"));
}

#[tokio::test]
async fn what_was_erased_is_not_replayed_from_that_moment_on() {
    let mut world = world().await;
    let endpoint = world.endpoint("acme", URL).await;
    world.publish_many("acme", 3).await;
    world.settle().await;
    let other = world.endpoint("acme", OTHER).await;
    let missing = ReplayFields {
        missing: true,
        ..all_of(other)
    };
    world.receivers.take();

    world.erase_all_of("acme").await;
    let later = world.publish("acme", "4").await;
    // Before anything has followed.
    assert_eq!(world.dry_run(all_of(endpoint)).await.unwrap(), 0);
    assert_eq!(world.dry_run(missing).await.unwrap(), 0);
    world.replay(all_of(endpoint)).await.unwrap();
    world.settle().await;
    let received = world.receivers.take();
    assert!(received.iter().all(|one| one.id() == later.to_string()));
}
