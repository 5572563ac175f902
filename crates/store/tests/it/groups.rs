//! Members that share a commit, and those that fail in it.

use crate::world::{Scene, URL};
use futures_util::FutureExt as _;
use futures_util::future::join_all;
use std::sync::mpsc;
use stentor_store::hot::{Accepted, NewEvent};
use stentor_store::{Result, StoreError};

/// Accepts events, each by a caller of its own, that all wait while the writer is busy with something else.
pub(crate) async fn accept_behind_another(scene: &Scene, events: Vec<NewEvent>) -> Vec<Result<Accepted>> {
    // Of another tenant, so that what the events were matched against stays as it is.
    scene.world.tenant("other").await;
    let other = scene.world.endpoint("other", URL).await;
    let (go, gone) = mpsc::channel();
    let busy = scene
        .store()
        .update_endpoint(scene.by(), other, None, move |settings, _| {
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

#[tokio::test]
async fn a_member_that_fails_fails_alone() {
    let mut scene = Scene::new().await;
    let mut events: Vec<_> = (0..20).map(|n| scene.event(&n.to_string())).collect();
    // A key that is in use: no rule that is asked beforehand, but a fault of the database.
    events[7].deliveries[0].id = events[3].deliveries[0].id;
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
