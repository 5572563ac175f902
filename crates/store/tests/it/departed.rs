//! Callers who go away while their change is on its way to the disk.

use crate::world::Scene;
use futures_util::FutureExt as _;
use stentor_domain::delivery::State;
use stentor_domain::key::Scope;

#[tokio::test]
async fn a_cancelled_delivery_is_not_sent_although_nobody_waited_for_the_answer() {
    let mut scene = Scene::new().await;
    let delivery = scene.accepted("{}").await;
    let cancelling = scene
        .store()
        .cancel_delivery(scene.by(), Scope::Root, delivery, None);
    // Polled once and dropped, as when a client goes away.
    assert!(cancelling.now_or_never().is_none());
    // The writer keeps the order: with this answered, the change is committed.
    scene.store().release(vec![]).await.unwrap();
    scene.world.settle().await;

    let found = scene.store().delivery(Scope::Root, delivery).await.unwrap();
    assert_eq!(found.unwrap().state, State::Cancelled);
    assert!(scene.world.receivers.take().is_empty());
}
