//! How replays go on: across deaths, at their endpoint's pace, one after the other.

use super::*;

#[tokio::test]
async fn a_death_between_slices_repeats_nothing_and_leaves_nothing_out() {
    let mut world = world().await;
    let endpoint = world.endpoint("acme", URL).await;
    let events = world.publish_many("acme", 1_000).await;
    world.settle().await;
    received(&world);
    let replay = world.replay(all_of(endpoint)).await.unwrap();
    for slices in 0..8 {
        for _ in 0..=slices % 2 {
            world.tick_jobs().await;
        }
        world = world.kill_and_restart().await;
    }
    world.settle().await;

    assert_eq!(
        world.replay_line(replay).await,
        "done, looked at 1000 of 1000, replayed 1000, skipped 0"
    );
    let again = received(&world);
    assert_eq!(again.len(), 1_000);
    assert_eq!(again.iter().collect::<HashSet<_>>().len(), 1_000);
    for event in [events[0], events[500], events[999]] {
        assert_eq!(
            world.timeline(event).await,
            ["1 event 200", "2 replay 200", "delivered"]
        );
    }
}

#[tokio::test]
async fn a_death_while_it_looks_for_what_is_missing_makes_no_delivery_twice() {
    let mut world = world().await;
    world.publish_many("acme", 500).await;
    let endpoint = world.endpoint("acme", URL).await;
    let missing = ReplayFields {
        missing: true,
        ..all_of(endpoint)
    };
    let replay = world.replay(missing).await.unwrap();
    for _ in 0..5 {
        world.tick_jobs().await;
        world = world.kill_and_restart().await;
    }
    world.settle().await;
    assert_eq!(
        world.replay_line(replay).await,
        "done, looked at 500 of 500, replayed 500, skipped 0"
    );
    let received = received(&world);
    assert_eq!(received.len(), 500);
    assert_eq!(received.iter().collect::<HashSet<_>>().len(), 500);
}

/// AP-28.
#[tokio::test]
async fn a_large_replay_goes_at_its_endpoints_pace_and_buries_nothing() {
    let mut world = world().await;
    let endpoint = world.endpoint("acme", URL).await;
    let many = usize::try_from(REPLAY_DUE_MAX).unwrap() * 2;
    world.publish_many("acme", many).await;
    world.settle().await;
    received(&world);
    let replay = world.replay(all_of(endpoint)).await.unwrap();
    while world.tick_jobs().await > 0 {}
    assert_eq!(world.unfinished(), i64::from(REPLAY_DUE_MAX));
    assert_eq!(
        world.replay_line(replay).await,
        "running, looked at 1000 of 2000, replayed 1000, skipped 0"
    );
    world.drop_fresh().await;
    let fresh = world.publish("acme", "fresh").await;
    world.after(seconds(1)).await;

    let received = received(&world);
    assert_eq!(received.len(), many + 1);
    let place = received.iter().position(|id| *id == fresh.to_string()).unwrap();
    let ahead = usize::try_from(REPLAY_DUE_MAX + REPLAY_SLICE_ROWS).unwrap();
    assert!(place <= ahead, "{place} were sent before it");
    assert_eq!(
        world.replay_line(replay).await,
        "done, looked at 2000 of 2000, replayed 2000, skipped 0"
    );
}

/// AP-28: one at a time.
#[tokio::test]
async fn a_second_replay_of_an_endpoint_waits_for_the_first_and_others_do_not() {
    let mut world = world().await;
    let endpoint = world.endpoint("acme", URL).await;
    let other = world.endpoint("acme", OTHER).await;
    world.publish_many("acme", 1_000).await;
    world.settle().await;
    world.receivers.take();
    let first = world.replay(all_of(endpoint)).await.unwrap();
    let second = world.replay(all_of(endpoint)).await.unwrap();
    let elsewhere = world.replay(all_of(other)).await.unwrap();
    let states = async |world: &World| {
        let mut states = Vec::new();
        for id in [first, second, elsewhere] {
            states.push(world.replay_now(id).await.state.as_str());
        }
        states
    };
    assert_eq!(states(&world).await, ["queued", "queued", "queued"]);
    for _ in 0..6 {
        world.tick_jobs().await;
    }
    assert_eq!(states(&world).await, ["running", "queued", "running"]);
    let considered = [
        world.replay_now(first).await.progress.considered,
        world.replay_now(elsewhere).await.progress.considered,
    ];
    assert_eq!(considered, [400, 400], "each has its turn");
    world.settle().await;
    assert_eq!(states(&world).await, ["done", "done", "done"]);
    let counts = world.received_by_url();
    // What the first one has brought and is on its way is not sent once more by the second.
    let twice = usize::try_from(world.replay_now(second).await.progress.replayed).unwrap();
    assert!(twice < 1_000);
    assert_eq!((counts[URL], counts[OTHER]), (1_000 + twice, 1_000));
}

#[tokio::test]
async fn an_endpoint_has_a_bounded_number_of_replays_to_come() {
    let world = world().await;
    let endpoint = world.endpoint("acme", URL).await;
    let mut asked = Vec::new();
    for _ in 0..REPLAYS_PER_ENDPOINT_MAX {
        asked.push(world.replay(all_of(endpoint)).await.unwrap());
    }
    let refused = world.replay(all_of(endpoint)).await;
    assert!(is_conflict(&refused, "replay_limit_reached"));
    world.cancel_replay(asked[3]).await.unwrap();
    world.replay(all_of(endpoint)).await.unwrap();
}

#[tokio::test]
async fn what_fails_for_good_does_not_stop_a_large_replay() {
    let mut world = world().await;
    let endpoint = world.endpoint("acme", URL).await;
    let many = usize::try_from(REPLAY_DUE_MAX).unwrap() * 5 / 2;
    world.publish_many("acme", many).await;
    world.settle().await;
    received(&world);
    // Every second one fails, and waits for its next attempt: more than may be due at once.
    let replies: Vec<_> = (0..many).map(|n| Reply::Status([500, 200][n % 2])).collect();
    world.receivers.script(URL, &replies);
    let replay = world.replay(all_of(endpoint)).await.unwrap();
    world.settle().await;
    assert_eq!(received(&world).len(), many);
    assert_eq!(
        world.replay_line(replay).await,
        "done, looked at 2500 of 2500, replayed 2500, skipped 0"
    );
    assert_eq!(world.unfinished(), 1_250);
}

#[tokio::test]
async fn a_replay_waits_behind_the_breaker_of_an_endpoint_that_fails() {
    let mut world = world().await;
    let endpoint = world.endpoint("acme", URL).await;
    let many = usize::try_from(REPLAY_DUE_MAX).unwrap() * 2;
    world.publish_many("acme", many).await;
    world.settle().await;
    received(&world);
    world.receivers.script(URL, &[Reply::Status(500)]);
    let replay = world.replay(all_of(endpoint)).await.unwrap();
    world.settle().await;
    let sent = received(&world).len();
    assert!(sent < 50, "{sent} were sent to an endpoint that takes none");
    let waits = world.replay_now(replay).await;
    assert_eq!(waits.state.as_str(), "running");
    let brought = u64::from(REPLAY_DUE_MAX + REPLAY_SLICE_ROWS);
    assert!(waits.progress.replayed <= brought, "{:?}", waits.progress);

    world.receivers.script(URL, &[Reply::Status(200)]);
    for _ in 0..1_000 {
        if world.unfinished() == 0 && world.replay_now(replay).await.finished_at.is_some() {
            break;
        }
        world.after(seconds(60)).await;
    }
    assert_eq!(
        world.replay_line(replay).await,
        "done, looked at 2000 of 2000, replayed 2000, skipped 0"
    );
    assert_eq!((world.unfinished(), ended(&world, "delivered")), (0, 2_000));
}
