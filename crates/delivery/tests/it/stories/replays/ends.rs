//! Replays that are cancelled, and endpoints that do not take what is replayed.

use super::*;

/// AP-28: cancelled.
#[tokio::test]
async fn a_cancelled_replay_replays_nothing_more_and_ends_what_it_brought() {
    let mut world = world().await;
    let endpoint = world.endpoint("acme", URL).await;
    world.publish_many("acme", 3_000).await;
    world.settle().await;
    received(&world);
    let replay = world.replay(all_of(endpoint)).await.unwrap();
    let queued = world.replay(all_of(endpoint)).await.unwrap();
    while world.tick_jobs().await > 0 {}
    world.launch(16).await;
    let in_flight = received(&world);
    let cancelled = world.cancel_replay(replay).await.unwrap();
    assert_eq!(cancelled.state.as_str(), "cancelled");
    assert!(is_conflict(&world.cancel_replay(replay).await, "replay_finished"));
    world.cancel_replay(queued).await.unwrap();
    while world.tick_jobs().await > 0 {}
    world.land().await;
    world.settle().await;
    world.after(seconds(100)).await;

    assert_eq!(received(&world), [""; 0], "only what was in flight was sent");
    assert_eq!(in_flight.len(), 16);
    assert_eq!(world.unfinished(), 0);
    assert_eq!(
        (ended(&world, "delivered"), ended(&world, "cancelled")),
        (2_016, 984)
    );
    assert_eq!(
        world.replay_line(replay).await,
        "cancelled: requested, looked at 1000 of 3000, replayed 1000, skipped 0"
    );
    assert_eq!(
        world.replay_line(queued).await,
        "cancelled: requested, looked at 0, replayed 0, skipped 0"
    );
    // They can be replayed in their turn.
    let cancelled = ReplayFields {
        status: Some("cancelled".into()),
        ..all_of(endpoint)
    };
    world.replay(cancelled).await.unwrap();
    world.settle().await;
    assert_eq!(received(&world).len(), 984);
    assert_eq!(
        (ended(&world, "delivered"), ended(&world, "cancelled")),
        (3_000, 0)
    );
}

#[tokio::test]
async fn a_wish_to_cancel_a_replay_survives_the_death_of_the_process() {
    let mut world = world().await;
    let endpoint = world.endpoint("acme", URL).await;
    world.publish_many("acme", 500).await;
    world.settle().await;
    received(&world);
    let replay = world.replay(all_of(endpoint)).await.unwrap();
    for _ in 0..3 {
        world.tick_jobs().await;
    }
    world.cancel_replay(replay).await.unwrap();
    world.tick_jobs().await;
    let mut world = world.kill_and_restart().await;
    while world.tick_jobs().await > 0 {}
    world.settle().await;
    assert_eq!(received(&world).len(), 0);
    assert_eq!(world.unfinished(), 0);
}

#[tokio::test]
async fn what_is_replayed_to_a_paused_endpoint_is_held() {
    let mut world = world().await;
    let endpoint = world.endpoint("acme", URL).await;
    let event = world.publish("acme", "{}").await;
    world.settle().await;
    world.pause(endpoint).await;
    let replay = world.replay(all_of(endpoint)).await.unwrap();
    assert_eq!(
        world.replay_line(replay).await,
        "queued: endpoint_paused, looked at 0, replayed 0, skipped 0"
    );
    world.after(seconds(10)).await;
    assert_eq!(
        world.timeline(event).await,
        ["1 event 200", "held: endpoint_paused"]
    );
    world.resume(endpoint).await;
    world.settle().await;
    assert_eq!(
        world.timeline(event).await,
        ["1 event 200", "2 replay 200", "delivered"]
    );
}

/// AP-29.
#[tokio::test]
async fn nothing_is_replayed_to_an_endpoint_that_is_disabled_or_deleted() {
    let mut world = world().await;
    let endpoint = world.endpoint("acme", URL).await;
    world.receivers.script(URL, &[Reply::Status(410)]);
    world.publish("acme", "{}").await;
    world.settle().await;
    assert!(is_conflict(
        &world.replay(all_of(endpoint)).await,
        "endpoint_disabled"
    ));
    assert!(is_conflict(
        &world.dry_run(all_of(endpoint)).await,
        "endpoint_disabled"
    ));
    world.delete(endpoint).await;
    for refused in [
        world.replay(all_of(endpoint)).await.err(),
        world.dry_run(all_of(endpoint)).await.err(),
    ] {
        assert!(matches!(refused, Some(Error::NotFound("endpoint"))));
    }
}

#[tokio::test]
async fn a_replay_waits_while_its_endpoint_is_disabled() {
    let mut world = world().await;
    let endpoint = world.endpoint("acme", URL).await;
    let many = world.publish_many("acme", 500).await;
    world.settle().await;
    received(&world);
    let replay = world.replay(all_of(endpoint)).await.unwrap();
    world.tick_jobs().await;
    world.tick_jobs().await;
    world.receivers.script(URL, &[Reply::Status(410)]);
    world.publish("acme", "{}").await;
    world.settle().await;
    let waits = world.replay_line(replay).await;
    assert!(
        waits.starts_with("running: endpoint_disabled, looked at "),
        "{waits}"
    );
    let sent = received(&world).len();
    world.after(seconds(1_000)).await;
    assert_eq!(world.replay_line(replay).await, waits);
    assert_eq!(received(&world).len(), 0);

    world.receivers.script(URL, &[Reply::Status(200)]);
    world.resume(endpoint).await;
    world.settle().await;
    assert!(received(&world).len() + sent > 500);
    for event in [many[0], many[499]] {
        assert_eq!(world.timeline(event).await.last().unwrap(), "delivered");
    }
    assert_eq!(world.replay_now(replay).await.state.as_str(), "done");
}

#[tokio::test]
async fn a_replay_ends_with_its_endpoint_or_its_tenant() {
    for with_tenant in [false, true] {
        let mut world = world().await;
        let endpoint = world.endpoint("acme", URL).await;
        world.publish_many("acme", 500).await;
        world.settle().await;
        received(&world);
        let running = world.replay(all_of(endpoint)).await.unwrap();
        let queued = world.replay(all_of(endpoint)).await.unwrap();
        for _ in 0..3 {
            world.tick_jobs().await;
        }
        let why = if with_tenant {
            world.delete_tenant("acme").await;
            "tenant_deleted"
        } else {
            world.delete(endpoint).await;
            "endpoint_deleted"
        };
        // From that moment on, and once it is written down.
        for _ in 0..2 {
            for replay in [running, queued] {
                let line = world.replay_line(replay).await;
                assert!(line.starts_with(&format!("cancelled: {why}, ")), "{line}");
                assert!(world.replay_now(replay).await.finished_at.is_some());
            }
            world.settle().await;
        }
        assert!(is_conflict(
            &world.cancel_replay(running).await,
            "replay_finished"
        ));
        assert_eq!((received(&world).len(), world.unfinished()), (0, 0));
        let to_do = world.number("SELECT count(*) FROM jobs WHERE swept_at IS NULL");
        assert_eq!(to_do, 0);
    }
}
