//! What is PostgreSQL's own: days, and what a success touches. A run about SQLite leaves this module out by its name.

use crate::world::{Scene, URL};
use std::time::Duration;
use stentor_domain::id::EventId;
use stentor_testkit::{Reply, World, order_paid};

const DAY: Duration = Duration::from_secs(86_400);
/// Looks at what connections told, before their tellings count as complete.
const TELLING_LOOKS_MAX: usize = 1_000;
const DAYS: &str = "SELECT count(*) FROM pg_inherits WHERE inhparent = 'deliveries'::regclass";
/// Rows added, changed and removed in the tables of the hot path and of the control plane, partitions counted apart.
const TOUCHED: &str = "SELECT name || ' +' || sum(n_tup_ins) || ' ~' || sum(n_tup_upd) || ' -' || sum(n_tup_del)
     FROM pg_stat_user_tables, LATERAL (SELECT regexp_replace(relname, '_[0-9]{8}$', '') AS name) AS names
     WHERE name IN ('events', 'deliveries', 'work', 'attempts', 'endpoint_health', 'tenants', 'endpoints', 'fanout', 'notices')
     GROUP BY name HAVING sum(n_tup_ins + n_tup_upd + n_tup_del) > 0 ORDER BY name";

async fn published(scene: &Scene, payload: &str) -> EventId {
    scene.world.publish("acme", payload).await
}

#[tokio::test]
async fn days_are_made_a_week_ahead_and_one_more_each_day() {
    let scene = Scene::new().await;
    // Today, seven more, and the default.
    assert_eq!(scene.number(DAYS), 9);
    assert_eq!(scene.store().make_days(scene.world.now()).await.unwrap(), 0);
    scene.world.clock.step(DAY);
    assert_eq!(scene.store().make_days(scene.world.now()).await.unwrap(), 2);
    assert_eq!(scene.number(DAYS), 10);
}

#[tokio::test]
async fn a_day_that_has_ended_goes_whole_and_leaves_the_others_alone() {
    let mut scene = Scene::new().await;
    scene
        .world
        .receivers
        .script(URL, &[Reply::Status(503), Reply::Status(200)]);
    let old = published(&scene, "1").await;
    scene.world.settle().await;
    scene.world.after(Duration::from_secs(60)).await;
    assert_eq!(
        scene.world.attempts(old).await.len(),
        2,
        "one of them is kept apart"
    );
    scene.world.after(2 * DAY).await;
    let young = published(&scene, "2").await;
    scene.world.settle().await;

    let dropped = scene.store().drop_days_before(scene.world.now()).await.unwrap();
    assert_eq!(dropped.len(), 4, "two days of events and deliveries: {dropped:?}");
    assert!(scene.world.deliveries(old).await.is_empty());
    assert_eq!(scene.number("SELECT count(*) FROM attempts"), 0);
    assert_eq!(scene.world.deliveries(young).await.len(), 1);
    assert_eq!(scene.number("SELECT count(*) FROM events"), 1);
}

#[tokio::test]
async fn a_day_stays_as_long_as_a_delivery_of_its_events_is_unfinished() {
    let mut scene = Scene::new().await;
    scene.world.pause(scene.endpoint).await;
    let held = published(&scene, "1").await;
    scene.world.after(2 * DAY).await;
    let dropped = scene.store().drop_days_before(scene.world.now()).await.unwrap();
    assert_eq!(dropped, ["events_20240102", "deliveries_20240102"]);

    scene.world.resume(scene.endpoint).await;
    scene.world.settle().await;
    assert_eq!(scene.world.timeline(held).await, ["1 event 200", "delivered"]);
}

#[tokio::test]
async fn an_id_whose_event_went_with_its_day_may_be_used_anew() {
    let mut scene = Scene::new().await;
    let with_id = |payload: &str| {
        let mut publication = order_paid("acme", payload);
        publication.event_id = Some("order-7".into());
        vec![publication]
    };
    scene.world.publish_all(with_id("1")).await.unwrap();
    scene.world.settle().await;
    scene.world.after(2 * DAY).await;
    scene.store().drop_days_before(scene.world.now()).await.unwrap();

    let anew = scene.world.publish_all(with_id("2")).await.unwrap();
    assert!(!anew[0].existing);
    scene.world.settle().await;
    assert_eq!(
        scene.world.timeline(anew[0].id).await,
        ["1 event 200", "delivered"]
    );
}

#[tokio::test]
async fn what_finds_no_day_of_its_own_is_as_good_as_anything_else() {
    let mut scene = Scene::new().await;
    scene.world.after(30 * DAY).await;
    let stray = published(&scene, "1").await;
    scene.world.settle().await;
    assert_eq!(scene.world.timeline(stray).await, ["1 event 200", "delivered"]);
    assert_eq!(scene.number("SELECT count(*) FROM events_default"), 1);
    // Its day cannot be made any more, which the log says; those after it are.
    assert_eq!(scene.store().make_days(scene.world.now()).await.unwrap(), 14);
    assert_eq!(scene.number(DAYS), 9 + 7);
}

#[tokio::test]
async fn a_success_adds_three_rows_and_removes_one() {
    let Scene { world, endpoint } = Scene::new().await;
    // Connections tell what they did at their end at the latest: what comes before is told before the count begins.
    let world = world.kill_and_restart().await;
    let touched = |world: &World| world.database().texts(TOUCHED);
    for _ in 0..TELLING_LOOKS_MAX {
        let told = touched(&world).join(" ");
        if told.contains("endpoints") && told.contains("tenants") {
            break;
        }
        std::thread::yield_now();
    }
    world.database().execute("SELECT pg_stat_reset()");
    let mut scene = Scene { world, endpoint };
    for n in 0..10 {
        published(&scene, &n.to_string()).await;
    }
    scene.world.settle().await;
    scene.store().close().await;
    let complete = ["deliveries +10 ~0 -0", "events +10 ~0 -0", "work +10 ~0 -10"];
    for _ in 0..TELLING_LOOKS_MAX {
        if touched(&scene.world) == complete {
            return;
        }
        std::thread::yield_now();
    }
    assert_eq!(touched(&scene.world), complete);
}
