//! `/v1/audit`.

use crate::world::{Answer, World};
use serde_json::json;

fn timeline(answer: &Answer) -> Vec<String> {
    let (actions, objects) = (answer.each("action"), answer.each("object"));
    let lines = actions.iter().zip(objects);
    lines
        .map(|(action, object)| format!("{action} {object}"))
        .collect()
}

#[tokio::test]
async fn every_change_leaves_a_row_that_says_who_what_when_and_where_from() {
    let world = World::start().await;
    let root = world.root().get("/v1/keys").await.each("id")[0].to_owned();
    let project = world.project("shop").await;
    world
        .root()
        .patch(&format!("/v1/projects/{project}"), json!({ "name": "store" }))
        .await;
    let tenant = world.tenant("store", "acme").await;
    let body = json!({ "role": "tenant", "tenant": "acme", "project": "store", "read_only": true });
    let key = world.key(body).await.text("id");
    world.root().delete(&format!("/v1/keys/{key}")).await;
    let path = "/v1/event-types/order.made?project=store";
    let event_type = json!({ "name": "order.made", "description": "", "project": "store" });
    world.root().post("/v1/event-types", event_type.clone()).await;
    world.root().patch(path, json!({ "description": "x" })).await;
    world.root().delete(path).await;
    world.root().post("/v1/event-types", event_type).await;

    let log = world.root().get("/v1/audit?project=store").await;
    assert_eq!(
        timeline(&log),
        [
            "event_type.restored order.made".to_owned(),
            "event_type.archived order.made".to_owned(),
            "event_type.updated order.made".to_owned(),
            "event_type.created order.made".to_owned(),
            format!("key.revoked {key}"),
            format!("key.created {key}"),
            format!("tenant.created {tenant}"),
            format!("project.updated {project}"),
            format!("project.created {project}"),
        ]
    );
    let row = &log.body["data"][5];
    assert!(row["id"].as_str().unwrap().starts_with("aud_"));
    assert_eq!(
        row,
        &json!({
            "id": row["id"],
            "at": "2024-01-01T00:00:00.000Z",
            "key": root,
            "action": "key.created",
            "object": key,
            "tenant": tenant,
            "project": project,
            "address": "192.0.2.1",
            "detail": "tenant, read-only",
        })
    );
}

#[tokio::test]
async fn what_was_refused_or_repeated_leaves_no_row() {
    let world = World::start().await;
    let before = timeline(&world.root().get("/v1/audit").await);
    let asker = world.root().and("idempotency-key", "once");
    for _ in 0..2 {
        asker.post("/v1/projects", json!({ "name": "one" })).await;
    }
    world.root().post("/v1/projects", json!({ "name": "one" })).await;
    world.root().delete("/v1/projects/default").await;
    let after = timeline(&world.root().get("/v1/audit").await);
    assert_eq!(after.len(), before.len() + 1);
    assert!(after[0].starts_with("project.created "));
}

#[tokio::test]
async fn the_first_start_is_in_the_log_as_done_by_the_server() {
    let world = World::start().await;
    let log = world.root().get("/v1/audit").await;
    assert_eq!(log.each("action"), ["key.created", "project.created"]);
    let row = &log.body["data"][0];
    assert!(row["key"].is_null() && row["address"].is_null() && row["project"].is_null());
}

#[tokio::test]
async fn a_root_key_sees_all_a_project_key_its_own_and_a_tenant_key_nothing() {
    let world = World::start().await;
    world.project("other").await;
    world.tenant("default", "acme").await;
    let project = world.key(json!({ "role": "project", "read_only": true })).await;
    let tenant = world.key(json!({ "role": "tenant", "tenant": "acme" })).await;
    let (project, tenant) = (project.text("key"), tenant.text("key"));

    let own = world.with(&project).get("/v1/audit").await;
    assert_eq!(
        own.each("action"),
        ["key.created", "key.created", "tenant.created", "project.created"]
    );
    let all = world.root().get("/v1/audit").await;
    assert_eq!(all.each("action").len(), 6);
    let foreign = world.with(&project).get("/v1/audit?project=other").await;
    assert_eq!(foreign.verdict(), (404, "not_found"));
    let refused = world.with(&tenant).get("/v1/audit").await;
    assert_eq!(refused.verdict(), (403, "forbidden"));
}

#[tokio::test]
async fn the_log_comes_in_pages() {
    let world = World::start().await;
    world.project("one").await;
    let first = world.root().get("/v1/audit?limit=2").await;
    assert_eq!(first.each("action"), ["project.created", "key.created"]);
    let next = format!("/v1/audit?limit=2&cursor={}", first.text("next_cursor"));
    let last = world.root().get(&next).await;
    assert_eq!(last.each("action"), ["project.created"]);
    assert!(last.body["next_cursor"].is_null());
    assert_eq!(world.root().get("/v1/audit?limit=0").await.faults(), ["limit"]);
    assert_eq!(
        world.root().get("/v1/audit?cursor=x").await.verdict(),
        (400, "bad_cursor")
    );
}
