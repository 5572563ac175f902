//! Whose a delivery is, in which order, and what a record of somebody else may do.

use crate::world::{Scene, due_times};
use std::time::Duration;
use stentor_domain::key::Scope;
use stentor_store::Recorded;

const MINUTE: Duration = Duration::from_secs(60);

#[tokio::test]
async fn what_is_due_first_is_claimed_first_and_nothing_early() {
    let scene = Scene::unattended().await;
    let mut accepted = Vec::new();
    for n in 0..5 {
        scene.world.clock.step(Duration::from_secs(1));
        accepted.push(scene.accepted(&n.to_string()).await);
    }
    // The oldest fails: it is due again after all the others.
    let first = scene.claim(1).await.deliveries;
    assert_eq!(first[0].delivery, accepted[0]);
    scene.finish(&first[0], 500).await;

    let some = scene.claim(2).await;
    let order: Vec<_> = some.deliveries.iter().map(|one| one.delivery).collect();
    assert_eq!(order, accepted[1..3]);
    assert!(due_times(&some).is_sorted());
    assert!(some.next_due_at.unwrap() <= scene.world.now());
    let rest = scene.claim(100).await;
    assert_eq!(rest.deliveries.len(), 2);
    assert_eq!(rest.next_due_at, Some(scene.world.now().plus(MINUTE)));
    scene.world.clock.step(MINUTE);
    let again = &scene.claim(100).await.deliveries[0];
    assert_eq!((again.delivery, again.attempt, again.failed), (accepted[0], 2, 1));
    assert_eq!(again.first_at, Some(scene.world.now().minus(MINUTE)));
}

#[tokio::test]
async fn what_is_claimed_is_nobody_elses_until_it_is_given_back() {
    let scene = Scene::unattended().await;
    scene.accepted("1").await;
    let claimed = scene.claim(100).await.deliveries;
    assert_eq!(claimed.len(), 1);
    assert_eq!(scene.claim(100).await.deliveries.len(), 0);
    scene.store().release(vec![claimed[0].release()]).await.unwrap();
    let again = scene.claim(100).await.deliveries;
    assert_eq!((again[0].attempt, again[0].due_at), (1, claimed[0].due_at));
}

#[tokio::test]
async fn a_second_record_of_an_attempt_is_kept_and_changes_nothing() {
    let scene = Scene::unattended().await;
    let id = scene.accepted("1").await;
    let claimed = scene.claim(1).await.deliveries.remove(0);
    assert_eq!(scene.finish(&claimed, 200).await, Recorded::Counted);
    scene.world.clock.step(MINUTE);
    assert_eq!(scene.finish(&claimed, 500).await, Recorded::Fenced);

    let (delivery, attempts) = scene
        .store()
        .delivery_with_attempts(Scope::Root, id)
        .await
        .unwrap()
        .unwrap();
    assert_eq!((delivery.state.as_str(), delivery.attempts), ("delivered", 1));
    let statuses: Vec<_> = attempts
        .iter()
        .map(|one| one.attempt.outcome.status().unwrap())
        .collect();
    assert_eq!(statuses, [200, 500]);
    assert_eq!(
        scene.number("SELECT count(*) FROM endpoint_health"),
        0,
        "nor the endpoint's health"
    );
    assert_eq!(scene.claim(100).await.deliveries.len(), 0);
}

#[tokio::test]
async fn a_record_of_an_earlier_life_leaves_the_state_alone() {
    for status in [200, 500] {
        let scene = Scene::unattended().await;
        let id = scene.accepted("1").await;
        let stale = scene.claim(1).await.deliveries.remove(0);
        let endpoint = scene.endpoint;
        let mut world = scene.world.kill_and_restart().await;
        world.drop_fresh().await;
        let scene = Scene { world, endpoint };
        assert_eq!(scene.finish(&stale, status).await, Recorded::Fenced);
        scene.store().release(vec![stale.release()]).await.unwrap();

        let claimed = scene.claim(1).await.deliveries.remove(0);
        assert_eq!((claimed.delivery, claimed.attempt), (id, 1));
        // And once more while this life owns it under another number.
        scene.world.clock.step(MINUTE);
        assert_eq!(scene.finish(&claimed, 500).await, Recorded::Counted);
        scene.world.clock.step(MINUTE);
        let second = scene.claim(1).await.deliveries.remove(0);
        assert_eq!(scene.finish(&stale, status).await, Recorded::Fenced);
        assert_eq!(scene.finish(&second, 200).await, Recorded::Counted);

        let found = scene
            .store()
            .delivery_with_attempts(Scope::Root, id)
            .await
            .unwrap();
        let (delivery, attempts) = found.unwrap();
        assert_eq!((delivery.state.as_str(), delivery.attempts), ("delivered", 2));
        assert_eq!(attempts.len(), 4);
    }
}

#[tokio::test]
async fn waiting_endpoints_come_in_pages_each_once_with_its_earliest_time() {
    let scene = Scene::unattended().await;
    let mut expected = vec![scene.endpoint.n()];
    for n in 0..24 {
        expected.push(
            scene
                .world
                .endpoint("acme", &format!("https://receiver.example/{n}"))
                .await
                .n(),
        );
    }
    let first = scene.world.now();
    for n in 0..3 {
        scene.world.publish("acme", &n.to_string()).await;
        scene.world.clock.step(MINUTE);
    }
    let (mut pages, mut after) = (Vec::new(), (0, i64::MIN));
    loop {
        let page = scene.store().waiting_endpoints(after, 10).await.unwrap();
        let Some(last) = page.last() else { break };
        after = (last.shard, last.endpoint);
        pages.push(page);
    }
    assert_eq!(pages.iter().map(Vec::len).collect::<Vec<_>>(), [10, 10, 5]);
    let all = pages.concat();
    assert!(all.is_sorted_by_key(|one| (one.shard, one.endpoint)));
    assert!(all.iter().all(|one| one.due_at == first));
    let mut endpoints: Vec<i64> = all.iter().map(|one| one.endpoint).collect();
    endpoints.sort_unstable();
    assert_eq!(endpoints, expected);
}
