//! Members that share a commit, and those that fail in it.

use crate::world::Scene;
use futures_util::FutureExt as _;
use futures_util::future::join_all;
use std::path::Path;
use std::sync::mpsc;
use stentor_store::hot::{Accepted, NewEvent};
use stentor_store::{Result, StoreError};

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

/// Accepts events, each by a caller of its own, that all wait while the writer is busy with something else.
async fn accept_behind_another(scene: &Scene, events: Vec<NewEvent>) -> Vec<Result<Accepted>> {
    let (go, gone) = mpsc::channel();
    let busy = scene
        .store()
        .update_endpoint(scene.by(), scene.endpoint, None, move |settings, _| {
            settings.name = "renamed".into();
            gone.recv().unwrap();
            Ok(())
        });
    let accepts = join_all(events.into_iter().map(|event| scene.accept(vec![event])));
    // Each is polled once, in this order: by the time the writer may go on, all of them wait.
    let (busy, accepted, ()) = tokio::join!(busy, accepts, async { go.send(()).unwrap() });
    busy.unwrap();
    accepted
}

/// The version that a tenant has after the change that the others wait behind.
fn for_the_next_version(events: &mut [NewEvent]) {
    events.iter_mut().for_each(|event| event.tenant_version += 1);
}

#[tokio::test]
async fn those_who_wait_share_one_commit() {
    let scene = Scene::new().await;
    let mut events: Vec<_> = (0..300).map(|n| scene.event(&n.to_string())).collect();
    for_the_next_version(&mut events);
    let before = commits(&scene.world.database());
    let accepted = accept_behind_another(&scene, events).await;

    assert!(
        accepted
            .iter()
            .all(|one| matches!(one, Ok(Accepted::Written { .. })))
    );
    assert_eq!(
        commits(&scene.world.database()) - before,
        2,
        "the change, and all of the others"
    );
    assert_eq!(scene.number("SELECT count(*) FROM events"), 300);
}

#[tokio::test]
async fn a_member_that_fails_fails_alone() {
    let mut scene = Scene::new().await;
    let mut events: Vec<_> = (0..20).map(|n| scene.event(&n.to_string())).collect();
    // A key that is in use: no rule that is asked beforehand, but a fault of the database.
    events[7].deliveries[0].id = events[3].deliveries[0].id;
    for_the_next_version(&mut events);
    let accepted = accept_behind_another(&scene, events).await;

    let failed: Vec<usize> = (0..20).filter(|at| accepted[*at].is_err()).collect();
    assert_eq!(failed, [7]);
    assert_eq!(
        scene.number("SELECT count(*) FROM events"),
        19,
        "not even the event of the one that failed"
    );
    scene.world.settle().await;
    assert_eq!(scene.world.receivers.take().len(), 19, "each is handed over once");
}

#[tokio::test]
async fn what_is_refused_leaves_no_trace_in_its_group() {
    let mut scene = Scene::new().await;
    let mut events: Vec<_> = (0..20).map(|n| scene.event(&n.to_string())).collect();
    for_the_next_version(&mut events);
    events[7].tenant_version -= 1;
    let accepted = accept_behind_another(&scene, events).await;

    let stale: Vec<usize> = (0..20)
        .filter(|at| matches!(accepted[*at], Ok(Accepted::Stale)))
        .collect();
    assert_eq!(stale, [7]);
    assert_eq!(scene.number("SELECT count(*) FROM events"), 19);
    scene.world.settle().await;
    assert_eq!(scene.world.receivers.take().len(), 19);
}

#[tokio::test]
async fn what_was_asked_for_before_the_close_is_written_and_what_comes_later_is_refused() {
    let scene = Scene::new().await;
    let before = scene.event("1");
    let late = scene.event("2");
    let (accepted, ()) = tokio::join!(scene.accept(vec![before]), scene.store().close());
    assert!(matches!(accepted, Ok(Accepted::Written { .. })));
    assert!(matches!(scene.accept(vec![late]).await, Err(StoreError::Closed)));
    assert!(
        scene.store().release(vec![]).now_or_never().is_some(),
        "and at once"
    );
    assert_eq!(scene.number("SELECT count(*) FROM events"), 1);
}
