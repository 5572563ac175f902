//! The file itself: its lock, its version, its log, and backups. Nothing here is about other databases.

use crate::groups::accept_behind_another;
use crate::opening::assert_refused;
use crate::world::{Scene, open, still};
use std::path::Path;
use stentor_store::hot::Accepted;
use stentor_store::retention::Removal;
use stentor_store::{Database, back_up_file};
use stentor_testkit::{TestDatabase, order_paid};

/// Publishes written by the test of the log, each of a few large events: 200 MB in all.
const PUBLISHES: usize = 200;
const EVENTS: usize = 5;
const PAYLOAD_BYTES: usize = 200_000;
/// Far above where the writer empties the log, far below what is written.
const LOG_BYTES_MAX: u64 = 48 * 1024 * 1024;

const LOG_HEADER: usize = 32;
const FRAME_HEADER: usize = 24;

/// Commits in the write-ahead log: frames that say how many pages the database has after them (file format of SQLite).
fn commits(database: &Path) -> usize {
    let log = std::fs::read(format!("{}-wal", database.display())).unwrap();
    let four = |at: usize| u32::from_be_bytes(log[at..at + 4].try_into().unwrap());
    let page = usize::try_from(four(8)).unwrap();
    let frames = (LOG_HEADER..log.len()).step_by(FRAME_HEADER + page);
    frames.filter(|frame| four(frame + 4) > 0).count()
}

#[tokio::test]
async fn a_second_process_on_the_same_file_is_refused_until_the_first_has_ended() {
    let database = TestDatabase::new();
    let first = open(database.location(), 1, still()).await.unwrap();
    assert_refused(database.location(), 1, "another process uses").await;
    assert!(stentor_store::migrate(&database.location()).await.is_err());
    drop(first);
    open(database.location(), 1, still()).await.unwrap();
}

#[tokio::test]
async fn a_database_of_a_newer_program_is_refused_and_left_alone() {
    let database = TestDatabase::new();
    drop(open(database.location(), 1, still()).await.unwrap());
    let connection = rusqlite::Connection::open(database.file()).unwrap();
    connection.pragma_update(None, "user_version", 99).unwrap();
    drop(connection);
    assert_refused(database.location(), 1, "schema version 99").await;
    assert_eq!(database.number("PRAGMA user_version"), 99);
}

#[tokio::test]
async fn what_is_no_database_is_refused() {
    let database = TestDatabase::new();
    std::fs::write(
        database.file(),
        "something else, long enough to be looked at".repeat(100),
    )
    .unwrap();
    assert!(open(database.location(), 1, still()).await.is_err());
    assert_eq!(&std::fs::read(database.file()).unwrap()[..14], b"something else");
}

#[tokio::test]
async fn those_who_wait_share_one_commit() {
    let scene = Scene::new().await;
    let events: Vec<_> = (0..300).map(|n| scene.event(&n.to_string())).collect();
    let before = commits(&scene.world.database().file());
    let accepted = accept_behind_another(&scene, events).await;

    assert!(
        accepted
            .iter()
            .all(|one| matches!(one, Ok(Accepted::Written { .. })))
    );
    assert_eq!(
        commits(&scene.world.database().file()) - before,
        4,
        "a tenant, its endpoint, the change, and all of the others"
    );
    assert_eq!(scene.number("SELECT count(*) FROM events"), 300);
}

#[tokio::test]
async fn the_log_stays_short_while_much_is_written() {
    let scene = Scene::unattended().await;
    let payload = format!("\"{}\"", "x".repeat(PAYLOAD_BYTES));
    let log = format!("{}-wal", scene.world.database().file().display());
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
    let written = std::fs::metadata(scene.world.database().file()).unwrap().len();
    assert!(
        written > 3 * LOG_BYTES_MAX,
        "{written} bytes are in the database itself"
    );
}

#[tokio::test]
async fn a_backup_taken_while_events_come_in_is_whole_and_opens() {
    let scene = Scene::new().await;
    let copy = scene.world.database().file().with_file_name("copy.db");
    let publishing = async {
        for n in 0..200 {
            scene.world.publish("acme", &n.to_string()).await;
        }
    };
    let (from, to) = (scene.world.database().file(), copy.clone());
    let backing_up = async {
        scene.world.publish("acme", "first").await;
        tokio::task::spawn_blocking(move || back_up_file(&from, &to))
            .await
            .unwrap()
    };
    let ((), backed_up) = tokio::join!(publishing, backing_up);
    backed_up.unwrap();

    let connection = rusqlite::Connection::open(&copy).unwrap();
    let number = |question: &str| -> i64 { connection.query_row(question, [], |row| row.get(0)).unwrap() };
    let events = number("SELECT count(*) FROM events");
    assert!((1..=201).contains(&events), "{events}");
    assert_eq!(
        number("SELECT count(*) FROM work"),
        events,
        "an event has its delivery"
    );
    let verdict: String = connection
        .query_row("PRAGMA integrity_check", [], |row| row.get(0))
        .unwrap();
    assert_eq!(verdict, "ok");
    drop(connection);
    let (store, fresh) = open(Database::File(copy.clone()), 7, still()).await.unwrap();
    assert_eq!(store.waiting_endpoints((0, i64::MIN), 10).await.unwrap().len(), 1);
    drop(fresh);
    store.close().await;
    assert!(
        back_up_file(&scene.world.database().file(), &copy).is_err(),
        "a backup replaces no other"
    );
}

#[tokio::test]
async fn what_was_purged_gives_its_space_back_but_for_what_is_used_next() {
    let scene = Scene::unattended().await;
    let tenant = scene.tenant().n();
    // 60 MB, of which 16 MiB may stay for what comes.
    scene.world.database().execute(&format!(
        "WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < 600)
         INSERT INTO events (n, tag, tenant, type, payload, deliveries)
         SELECT n, n, {tenant}, 'order.paid', zeroblob(100000), 1 FROM numbers"
    ));
    let pages = || scene.number("PRAGMA page_count");
    let full = pages();
    let mut next = Some(0);
    while let Some(after) = next {
        let slice = scene.store().remove(Removal::Events, 1_000, after).await.unwrap();
        next = slice.next;
    }
    assert_eq!(pages(), full, "removing alone gives nothing back");
    while scene.store().give_back_space().await.unwrap() > 0 {}
    assert!(pages() < full / 2, "{full} pages became {}", pages());
    assert!(scene.number("PRAGMA freelist_count") >= 4_000);
    scene.accepted("1").await;
}
