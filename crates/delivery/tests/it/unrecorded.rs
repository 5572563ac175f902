//! A store that takes no record any more, and a server that is to stop.

use std::time::Duration;
use stentor_testkit::World;

/// A store in trouble, far longer than a stop that waits for it would take to give up.
const HANGS: Duration = Duration::from_secs(30);

#[tokio::test]
async fn a_stop_ends_although_nothing_can_be_recorded_and_the_next_start_sends_again() {
    let mut world = World::new().await;
    world.tenant("acme").await;
    world.endpoint("acme", "https://receiver.example/").await;
    let event = world.publish("acme", "{}").await;
    world.launch(1).await;
    let connection = rusqlite::Connection::open(world.database()).unwrap();
    let trouble = "CREATE TRIGGER trouble BEFORE UPDATE ON work BEGIN SELECT RAISE(ABORT, 'in trouble'); END";
    connection.execute_batch(trouble).unwrap();

    let stopped = tokio::time::timeout(HANGS, world.break_off()).await;
    stopped.expect("the stop ends");

    let recovered = |connection: &rusqlite::Connection| {
        connection.execute_batch("DROP TRIGGER trouble").unwrap();
    };
    let mut world = world.kill_and_restart_after(recovered).await;
    world.settle().await;
    assert_eq!(world.timeline(event).await, ["1 event 200", "delivered"]);
    assert_eq!(world.receivers.take().len(), 2);
}
