//! Which keys reach which endpoints.

use super::{call, in_snapshot, made, path, plain, plain_with, send};
use crate::world::World;
use serde_json::{Value, json};

async fn key(world: &World, fields: Value) -> String {
    let made = call(world, &world.root, "POST /v1/keys", fields)
        .await
        .expect(201);
    made["key"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn another_tenants_endpoint_does_not_exist() {
    let world = World::start().await;
    let (acme, other) = (world.tenant_key("acme").await, world.tenant_key("other").await);
    let endpoint = made(&world, &acme, plain()).await;
    for (verb, below) in [
        ("GET", ""),
        ("PATCH", ""),
        ("DELETE", ""),
        ("POST", "/rotate-secret"),
    ] {
        let target = format!("{}{below}", path(verb, &endpoint));
        assert_eq!(
            call(&world, &other, &target, json!(null)).await.refusal(404).0,
            "not_found",
            "{target}"
        );
    }
    assert_eq!(
        call(&world, &other, "GET /v1/endpoints", json!(null)).await.raw,
        "[]"
    );
    let body = plain_with(json!({"tenant": "acme"}));
    assert_eq!(
        call(&world, &other, "POST /v1/endpoints", body)
            .await
            .refusal(404)
            .0,
        "not_found"
    );
    assert!(in_snapshot(&world, &endpoint).is_some());
}

#[tokio::test]
async fn an_id_that_was_never_given_does_not_exist() {
    let world = World::start().await;
    let acme = world.tenant_key("acme").await;
    let endpoint = made(&world, &acme, plain()).await;
    let id = endpoint["id"].as_str().unwrap();
    let last = if id.ends_with('0') { '1' } else { '0' };
    let guessed = format!("{}{last}", &id[..id.len() - 1]);
    for id in [
        &guessed,
        &id.to_uppercase(),
        &id[3..],
        "ep_",
        "..",
        "%00",
        "orders",
    ] {
        let answer = call(&world, &acme, &format!("GET /v1/endpoints/{id}"), json!(null)).await;
        assert_eq!(answer.refusal(404).0, "not_found", "{id}");
    }
}

#[tokio::test]
async fn a_key_above_tenants_names_one_except_where_the_path_does() {
    let world = World::start().await;
    world.tenant_key("acme").await;
    world.tenant_key("other").await;
    let project = key(&world, json!({"role": "project", "project": "default"})).await;
    for above in [&world.root, &project] {
        for operation in ["GET /v1/endpoints", "POST /v1/endpoints"] {
            let body = if operation.starts_with("GET") {
                json!(null)
            } else {
                plain()
            };
            let unnamed = call(&world, above, operation, body).await;
            assert_eq!(
                unnamed.refusal(422),
                ("tenant_required".into(), vec!["tenant".into()])
            );
        }
        let in_body = plain_with(json!({"tenant": "acme"}));
        let endpoint = made(&world, above, in_body).await;
        let by_header = [("x-tenant", "acme")];
        send(&world, above, "POST /v1/endpoints", &by_header, plain())
            .await
            .expect(201);
        call(&world, above, "POST /v1/endpoints?tenant=acme", plain())
            .await
            .expect(201);
        let unknown = call(&world, above, "POST /v1/endpoints?tenant=nobody", plain()).await;
        assert_eq!(unknown.refusal(404).0, "not_found");

        call(&world, above, &path("GET", &endpoint), json!(null))
            .await
            .expect(200);
        call(&world, above, &path("PATCH", &endpoint), json!({"name": "x"}))
            .await
            .expect(200);
        let named_another = [("x-tenant", "other")];
        let answer = send(
            &world,
            above,
            &path("GET", &endpoint),
            &named_another,
            json!(null),
        )
        .await;
        assert_eq!(answer.refusal(404).0, "not_found");
        call(&world, above, &path("DELETE", &endpoint), json!(null))
            .await
            .expect(204);
    }
    let list = call(
        &world,
        &project,
        "GET /v1/endpoints?tenant=acme&limit=1",
        json!(null),
    )
    .await;
    assert_eq!(list.expect(200).as_array().unwrap().len(), 1);
    let link = list.headers["link"].to_str().unwrap();
    assert!(link.contains("tenant=acme") && link.contains("limit=1"), "{link}");
}

#[tokio::test]
async fn another_projects_endpoint_does_not_exist() {
    let world = World::start().await;
    let acme = world.tenant_key("acme").await;
    call(
        &world,
        &world.root,
        "POST /v1/projects",
        json!({"name": "staging"}),
    )
    .await
    .expect(201);
    let staging = key(&world, json!({"role": "project", "project": "staging"})).await;
    let endpoint = made(&world, &acme, plain()).await;
    assert_eq!(
        call(&world, &staging, &path("GET", &endpoint), json!(null))
            .await
            .refusal(404)
            .0,
        "not_found"
    );
    let named = format!("{}?project=staging", path("GET", &endpoint));
    assert_eq!(
        call(&world, &world.root, &named, json!(null))
            .await
            .refusal(404)
            .0,
        "not_found"
    );
}

#[tokio::test]
async fn a_read_only_key_looks_but_does_not_touch() {
    let world = World::start().await;
    let acme = world.tenant_key("acme").await;
    let reader = key(
        &world,
        json!({"role": "tenant", "tenant": "acme", "read_only": true}),
    )
    .await;
    let endpoint = made(&world, &acme, plain()).await;
    call(&world, &reader, &path("GET", &endpoint), json!(null))
        .await
        .expect(200);
    call(&world, &reader, "GET /v1/endpoints", json!(null))
        .await
        .expect(200);
    let changes = [
        ("POST /v1/endpoints".to_owned(), plain()),
        (path("PATCH", &endpoint), json!({"name": "x"})),
        (path("DELETE", &endpoint), json!(null)),
        (format!("{}/rotate-secret", path("POST", &endpoint)), json!({})),
    ];
    for (change, body) in changes {
        assert_eq!(
            call(&world, &reader, &change, body).await.refusal(403).0,
            "forbidden",
            "{change}"
        );
    }
}

#[tokio::test]
async fn endpoints_go_with_their_tenant() {
    let world = World::start().await;
    let acme = world.tenant_key("acme").await;
    let endpoint = made(&world, &acme, plain()).await;
    call(&world, &world.root, "DELETE /v1/tenants/acme", json!(null))
        .await
        .expect(204);
    for verb in ["GET", "PATCH", "DELETE"] {
        assert_eq!(
            call(&world, &world.root, &path(verb, &endpoint), json!(null))
                .await
                .refusal(404)
                .0,
            "not_found"
        );
    }
    assert!(in_snapshot(&world, &endpoint).is_none());
    assert!(in_snapshot(&world.restart().await, &endpoint).is_none());
}
