//! The event types that there are.

use super::{PATH, register};
use crate::world::World;
use serde_json::json;

#[tokio::test]
async fn they_are_the_registered_ones_of_the_project_without_archived_ones() {
    let world = World::start().await;
    let key = world.tenant_key("acme").await;
    let asker = world.with(&key);
    let path = format!("{PATH}/types");
    assert_eq!(asker.get(&path).await.raw, "[]");
    register(&world, &["order.paid", "order.gone", "order.refunded"]).await;
    world
        .root()
        .delete("/v1/event-types/order.gone")
        .await
        .expect(204);
    world.project("other").await;
    let elsewhere = json!({"name": "other.type", "description": "d", "project": "other"});
    world.root().post("/v1/event-types", elsewhere).await.expect(201);
    let answer = asker.get(&path).await;
    assert_eq!(answer.status, 200);
    assert_eq!(
        answer.raw,
        r#"[{"description":"About order.refunded.","event":"order.refunded"},{"description":"About order.paid.","event":"order.paid"}]"#
    );
    // Nobody needs a tenant for them.
    assert_eq!(world.root().get(&format!("{path}/")).await.raw, answer.raw);
}

#[tokio::test]
async fn all_are_listed_however_many() {
    let world = World::start().await;
    let key = world.tenant_key("acme").await;
    let names: Vec<String> = (0..260).map(|number| format!("type.{number}")).collect();
    register(&world, &names.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let listed = world.with(&key).get(&format!("{PATH}/types")).await.expect(200);
    assert_eq!(listed.as_array().unwrap().len(), 260);
}

#[tokio::test]
async fn the_word_is_not_taken_for_an_id() {
    let world = World::start().await;
    let key = world.tenant_key("acme").await;
    for verb in ["PATCH", "DELETE", "POST", "PUT"] {
        for slash in ["", "/"] {
            let answer = world
                .with(&key)
                .call(&format!("{verb} {PATH}/types{slash}"), json!(null))
                .await;
            assert_eq!(answer.status, 405, "{verb}: {}", answer.raw);
            assert_eq!(answer.headers["allow"], "GET,HEAD");
        }
    }
}
