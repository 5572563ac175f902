//! Callers who go away while their change is on its way to the disk.

use crate::world::Scene;
use futures_util::FutureExt as _;
use stentor_domain::delivery::State;
use stentor_domain::key::Scope;

/// Looks into the database after which a change that is on its way should be there.
const LOOKS_MAX: usize = 500;

#[tokio::test]
async fn a_cancelled_delivery_is_not_sent_although_nobody_waited_for_the_answer() {
    let mut scene = Scene::new().await;
    let delivery = scene.accepted("{}").await;
    let cancelling = scene
        .store()
        .cancel_delivery(scene.by(), Scope::Root, delivery, None);
    // Polled once and dropped, as when a client goes away.
    assert!(cancelling.now_or_never().is_none());
    let mut looks = 0;
    while scene.number("SELECT count(*) FROM work WHERE cancel_requested = 1") == 0 {
        looks += 1;
        assert!(looks < LOOKS_MAX, "the change went with its caller");
        // A question and its answer: time for what is under way.
        scene.see(delivery).await;
    }
    // The dispatcher is told a moment after the commit, and before the next one is answered.
    scene.store().release(vec![]).await.unwrap();
    scene.world.settle().await;
    assert_eq!(scene.see(delivery).await.state, State::Cancelled);
    assert!(scene.world.receivers.take().is_empty());
}
