//! Endpoints that are deleted, and what is written for them afterwards.

use crate::world::Scene;
use stentor_domain::id::DeliveryId;
use stentor_store::hot::NewDelivery;

async fn sweep(scene: &Scene) {
    while scene.store().sweep_deleted(scene.world.now()).await.unwrap() > 0 {}
}

#[tokio::test]
async fn a_fan_out_that_comes_after_the_sweep_leaves_nothing_waiting_for_ever() {
    let scene = Scene::unattended().await;
    let mut event = scene.event("{}");
    event.matched = 2;
    let late = NewDelivery {
        id: DeliveryId(scene.store().next_id()),
        ..event.deliveries[0]
    };
    scene.accept(vec![event]).await.unwrap();
    let fanout = scene.store().next_fanout().await.unwrap().unwrap();
    scene.world.delete(scene.endpoint).await;
    sweep(&scene).await;

    let continued = scene
        .store()
        .continue_fanout(fanout, scene.world.now(), vec![late]);
    continued.await.unwrap();
    assert_eq!(scene.world.unfinished(), 1);
    sweep(&scene).await;
    assert_eq!(scene.world.unfinished(), 0);
}
