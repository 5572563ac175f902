//! What is in the files, how long the log grows, and backups.

use crate::world::{Scene, URL, number, open, still};
use stentor_store::back_up_file;
use stentor_testkit::{EndpointFields, World, order_paid};

/// Publishes written by the test of the log, each of a few large events: 200 MB in all.
const PUBLISHES: usize = 200;
const EVENTS: usize = 5;
const PAYLOAD_BYTES: usize = 200_000;
/// Far above where the writer empties the log, far below what is written.
const LOG_BYTES_MAX: u64 = 48 * 1024 * 1024;

#[tokio::test]
async fn the_log_stays_short_while_much_is_written() {
    let scene = Scene::unattended().await;
    let payload = format!("\"{}\"", "x".repeat(PAYLOAD_BYTES));
    let log = format!("{}-wal", scene.world.database().display());
    let mut longest = 0;
    for _ in 0..PUBLISHES / 10 {
        let publishing = (0..10).map(|_| {
            let events = (0..EVENTS).map(|_| order_paid("acme", &payload)).collect();
            scene.world.publish_all(events)
        });
        for published in futures_util::future::join_all(publishing).await {
            assert_eq!(published.unwrap().len(), EVENTS);
        }
        longest = longest.max(std::fs::metadata(&log).unwrap().len());
    }
    assert!(longest < LOG_BYTES_MAX, "{longest} bytes");
    let written = std::fs::metadata(scene.world.database()).unwrap().len();
    assert!(
        written > 3 * LOG_BYTES_MAX,
        "{written} bytes are in the database itself"
    );
}

#[tokio::test]
async fn a_backup_taken_while_events_come_in_is_whole_and_opens() {
    let scene = Scene::new().await;
    let copy = scene.world.database().with_file_name("copy.db");
    let publishing = async {
        for n in 0..200 {
            scene.world.publish("acme", &n.to_string()).await;
        }
    };
    let (from, to) = (scene.world.database(), copy.clone());
    let backing_up = async {
        scene.world.publish("acme", "first").await;
        tokio::task::spawn_blocking(move || back_up_file(&from, &to))
            .await
            .unwrap()
    };
    let ((), backed_up) = tokio::join!(publishing, backing_up);
    backed_up.unwrap();

    let events = number(&copy, "SELECT count(*) FROM events");
    assert!((1..=201).contains(&events), "{events}");
    assert_eq!(
        number(&copy, "SELECT count(*) FROM work"),
        events,
        "an event has its delivery"
    );
    let connection = rusqlite::Connection::open(&copy).unwrap();
    let verdict: String = connection
        .query_row("PRAGMA integrity_check", [], |row| row.get(0))
        .unwrap();
    assert_eq!(verdict, "ok");
    drop(connection);
    let (store, fresh) = open(&copy, 7, still()).await.unwrap();
    assert_eq!(store.waiting_endpoints((0, i64::MIN), 10).await.unwrap().len(), 1);
    drop(fresh);
    store.close().await;
    assert!(
        back_up_file(&scene.world.database(), &copy).is_err(),
        "a backup replaces no other"
    );
}

#[tokio::test]
async fn nothing_secret_is_readable_in_the_files() {
    let world = World::new().await;
    world.tenant("acme").await;
    let fields = EndpointFields {
        secret: Some("a secret of plain text".into()),
        custom_headers: Some(vec![("Authorization".into(), "Bearer of good news".into())]),
        ..EndpointFields::default()
    };
    let endpoint = world.endpoint_with("acme", URL, fields).await;
    let mut world = world;
    world.publish("acme", "{}").await;
    world.settle().await;
    assert_eq!(
        world.receivers.take()[0].header("authorization"),
        "Bearer of good news"
    );
    let drawn = world.rotate(endpoint, 3_600).await;

    let database = world.database();
    let mut files = std::fs::read(&database).unwrap();
    files.extend(std::fs::read(format!("{}-wal", database.display())).unwrap());
    let holds = |text: &str| files.windows(text.len()).any(|part| part == text.as_bytes());
    assert!(holds("receiver.example"), "what is not secret is");
    for secret in [
        "a secret of plain text",
        "of good news",
        drawn.trim_start_matches("whsec_"),
    ] {
        assert!(!holds(secret), "{secret}");
    }
}
