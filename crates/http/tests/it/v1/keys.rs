//! `/v1/keys`.

use std::time::Duration;

use crate::world::{Answer, World};
use serde_json::json;

#[tokio::test]
async fn a_key_is_shown_once_with_its_text_and_then_without() {
    let world = World::start().await;
    let tenant = world.tenant("default", "acme").await;
    let project = world.root().get("/v1/projects/default").await.text("id");
    let body = json!({
        "role": "tenant",
        "tenant": "acme",
        "read_only": true,
        "name": "their dashboard",
        "expires_at": "2024-06-01T02:00:00+02:00",
    });
    let made = world.key(body).await;
    let text = made.text("key");
    let random = text.strip_prefix("stn_tenant_").unwrap();
    assert!(random.len() == 43 && random.bytes().all(|byte| byte.is_ascii_alphanumeric()));
    let mut shown = json!({
        "id": made.text("id"),
        "role": "tenant",
        "project": project,
        "tenant": tenant,
        "read_only": true,
        "name": "their dashboard",
        "created_at": "2024-01-01T00:00:00.000Z",
        "expires_at": "2024-06-01T00:00:00.000Z",
        "last_used_at": null,
    });
    let listed = world.root().get("/v1/keys").await;
    assert_eq!(listed.body["data"][0], shown);
    shown["key"] = text.into();
    assert_eq!(made.body, shown);
}

#[tokio::test]
async fn each_role_reaches_as_far_as_the_contract_says() {
    let world = World::start().await;
    world.project("other").await;
    let tenant = world.tenant("default", "acme").await;
    let elsewhere = world.tenant("other", "acme").await;
    let root = world.key(json!({ "role": "root" })).await;
    let project = world.key(json!({ "role": "project", "project": "other" })).await;
    let own = world.key(json!({ "role": "tenant", "tenant": "acme" })).await;
    let reach = |key: Answer| {
        let (text, world) = (key.text("key"), &world);
        let paths = [
            "/v1/projects".to_owned(),
            format!("/v1/tenants/{tenant}"),
            format!("/v1/tenants/{elsewhere}"),
            "/v1/tenants".to_owned(),
        ];
        async move {
            let mut statuses = Vec::new();
            for path in paths {
                statuses.push(world.with(&text).get(&path).await.status);
            }
            statuses
        }
    };
    // A root key acts in `default` unless it names another project.
    assert_eq!(reach(root).await, [200, 200, 404, 200]);
    assert_eq!(reach(project).await, [403, 404, 200, 200]);
    // Tenants are not a tenant's business, its own entry included: it may hold the operator's notes.
    assert_eq!(reach(own).await, [403, 403, 403, 403]);
}

#[tokio::test]
async fn the_tenant_of_a_key_may_be_named_in_the_head() {
    let world = World::start().await;
    let tenant = world.tenant("default", "acme").await;
    let body = json!({ "role": "tenant" });
    let header = world.root().and("x-tenant", "acme");
    for made in [
        header.post("/v1/keys", body.clone()).await,
        world.root().post("/v1/keys?tenant=acme", body.clone()).await,
    ] {
        assert_eq!((made.status, made.text("tenant")), (201, tenant.clone()));
    }
    let unnamed = world.root().post("/v1/keys", body).await;
    assert_eq!(unnamed.verdict(), (422, "tenant_required"));
}

#[tokio::test]
async fn what_breaks_a_rule_is_named() {
    let world = World::start().await;
    for (body, field) in [
        (json!({}), "role"),
        (json!({ "role": null }), "role"),
        (json!({ "role": 1 }), "role"),
        (json!({ "role": "admin" }), "role"),
        (json!({ "role": "Root" }), "role"),
        (json!({ "role": "root", "project": "default" }), "project"),
        (json!({ "role": "root", "tenant": "acme" }), "tenant"),
        (json!({ "role": "project", "tenant": "acme" }), "tenant"),
        (json!({ "role": "root", "read_only": "yes" }), "read_only"),
        (json!({ "role": "root", "name": "" }), "name"),
        (json!({ "role": "root", "name": "x".repeat(256) }), "name"),
        (json!({ "role": "root", "name": 7 }), "name"),
        (
            json!({ "role": "root", "expires_at": "2024-01-01T00:00:00Z" }),
            "expires_at",
        ),
        (json!({ "role": "root", "expires_at": "tomorrow" }), "expires_at"),
        (
            json!({ "role": "root", "expires_at": "2030-01-01" }),
            "expires_at",
        ),
        (
            json!({ "role": "root", "expires_at": 1_900_000_000 }),
            "expires_at",
        ),
        (json!({ "role": "tenant" }), "tenant"),
    ] {
        let refused = world.root().post("/v1/keys", body.clone()).await;
        assert_eq!((refused.status, refused.faults()), (422, vec![field]), "{body}");
    }
    let both = json!({ "role": "root", "name": "", "expires_at": "2020-01-01T00:00:00Z" });
    let both = world.root().post("/v1/keys", both).await;
    assert_eq!(both.faults(), ["name", "expires_at"]);
    for missing in [
        json!({ "role": "project", "project": "nowhere" }),
        json!({ "role": "tenant", "tenant": "nobody" }),
    ] {
        let refused = world.root().post("/v1/keys", missing).await;
        assert_eq!(refused.verdict(), (404, "not_found"));
    }
    assert_eq!(
        world.root().get("/v1/keys").await.each("role"),
        ["root"],
        "nothing was made"
    );
}

#[tokio::test]
async fn a_project_key_makes_sees_and_revokes_keys_of_its_own_project_only() {
    let world = World::start().await;
    world.project("other").await;
    world.tenant("default", "acme").await;
    world.tenant("other", "umbrella").await;
    let foreign = world
        .key(json!({ "role": "tenant", "tenant": "umbrella", "project": "other" }))
        .await;
    let colleague = world.key(json!({ "role": "project" })).await;
    let key = world.key(json!({ "role": "project" })).await;
    let text = key.text("key");
    let asker = world.with(&text);

    let made = asker
        .post("/v1/keys", json!({ "role": "tenant", "tenant": "acme" }))
        .await;
    assert_eq!(made.status, 201);
    for body in [json!({ "role": "root" }), json!({ "role": "project" })] {
        assert_eq!(asker.post("/v1/keys", body).await.verdict(), (403, "forbidden"));
    }
    for body in [
        json!({ "role": "tenant", "tenant": "umbrella", "project": "other" }),
        json!({ "role": "tenant", "tenant": "umbrella" }),
    ] {
        assert_eq!(asker.post("/v1/keys", body).await.verdict(), (404, "not_found"));
    }
    let own = [made.text("id"), key.text("id"), colleague.text("id")];
    assert_eq!(asker.get("/v1/keys").await.each("id"), own);
    assert_eq!(
        asker.get("/v1/keys?project=other").await.verdict(),
        (404, "not_found")
    );

    let root = world
        .root()
        .get("/v1/keys")
        .await
        .each("id")
        .pop()
        .map(str::to_owned);
    let mut verdicts = Vec::new();
    for id in [
        &made.text("id"),
        &colleague.text("id"),
        &foreign.text("id"),
        &root.unwrap(),
    ] {
        let answer = asker.delete(&format!("/v1/keys/{id}")).await;
        verdicts.push(answer.status);
    }
    assert_eq!(verdicts, [204, 403, 404, 404]);
}

#[tokio::test]
async fn a_root_key_lists_all_keys_or_those_of_a_project_in_pages() {
    let world = World::start().await;
    world.project("other").await;
    for project in ["default", "other", "default"] {
        world.key(json!({ "role": "project", "project": project })).await;
    }
    let roles = |answer: &Answer| answer.each("role").join(" ");
    assert_eq!(
        roles(&world.root().get("/v1/keys").await),
        "project project project root"
    );
    assert_eq!(
        roles(&world.root().get("/v1/keys?project=other").await),
        "project"
    );
    let page = world.root().get("/v1/keys?project=default&limit=1").await;
    assert_eq!(roles(&page), "project");
    let next = format!(
        "/v1/keys?project=default&limit=1&cursor={}",
        page.text("next_cursor")
    );
    let last = world.root().get(&next).await;
    assert_ne!(last.each("id"), page.each("id"));
    assert!(last.body["next_cursor"].is_null());
    assert_eq!(
        world.root().get("/v1/keys?cursor=!").await.verdict(),
        (400, "bad_cursor")
    );
    assert_eq!(world.root().get("/v1/keys?limit=251").await.faults(), ["limit"]);
}

#[tokio::test]
async fn tenant_keys_and_read_only_keys_change_no_keys() {
    let world = World::start().await;
    world.tenant("default", "acme").await;
    let tenant = world.key(json!({ "role": "tenant", "tenant": "acme" })).await;
    let reader = world.key(json!({ "role": "root", "read_only": true })).await;
    let (tenant_text, reader_text) = (tenant.text("key"), reader.text("key"));
    let path = format!("/v1/keys/{}", tenant.text("id"));
    let body = json!({ "role": "tenant", "tenant": "acme" });
    let (tenant, reader) = (world.with(&tenant_text), world.with(&reader_text));
    for refused in [
        tenant.get("/v1/keys").await,
        tenant.post("/v1/keys", body.clone()).await,
        tenant.delete(&path).await,
        reader.post("/v1/keys", body).await,
        reader.delete(&path).await,
    ] {
        assert_eq!(refused.verdict(), (403, "forbidden"));
    }
    assert_eq!(reader.get("/v1/keys").await.status, 200);
}

#[tokio::test]
async fn a_revoked_key_is_unknown_at_once_and_gone_from_the_list() {
    let world = World::start().await;
    let key = world.key(json!({ "role": "project" })).await;
    let (path, text) = (format!("/v1/keys/{}", key.text("id")), key.text("key"));
    assert_eq!(world.with(&text).get("/v1/tenants").await.status, 200);
    assert_eq!(world.root().delete(&path).await.status, 204);
    assert_eq!(
        world.with(&text).get("/v1/tenants").await.verdict(),
        (401, "unauthenticated")
    );
    assert_eq!(world.root().get("/v1/keys").await.each("role"), ["root"]);
    for missing in [&path, "/v1/keys/nonsense", "/v1/keys/key_"] {
        assert_eq!(world.root().delete(missing).await.verdict(), (404, "not_found"));
    }
    let world = world.restart().await;
    assert_eq!(world.with(&text).get("/v1/tenants").await.status, 401);
}

#[tokio::test]
async fn the_last_root_key_that_may_change_things_cannot_be_revoked() {
    let world = World::start().await;
    let first = world.root().get("/v1/keys").await.each("id")[0].to_owned();
    let first = format!("/v1/keys/{first}");
    let refused = world.root().delete(&first).await;
    assert_eq!(refused.verdict(), (409, "last_root_key"));

    world.key(json!({ "role": "root", "read_only": true })).await;
    let ending = json!({ "role": "root", "expires_at": "2024-01-01T01:00:00Z" });
    let ending = world.key(ending).await;
    world.clock.step(Duration::from_secs(3_600));
    assert_eq!(
        world.root().delete(&first).await.status,
        409,
        "neither a reader nor an ended key manages anything"
    );
    let ending = format!("/v1/keys/{}", ending.text("id"));
    assert_eq!(world.root().delete(&ending).await.status, 204);

    let second = world.key(json!({ "role": "root" })).await.text("key");
    assert_eq!(world.with(&second).delete(&first).await.status, 204);
    assert_eq!(world.root().get("/v1/keys").await.status, 401);
}

#[tokio::test]
async fn a_repeated_creation_answers_without_the_text_and_makes_no_second_key() {
    let world = World::start().await;
    let asker = world.root().and("idempotency-key", "once");
    let body = json!({ "role": "project", "name": "worker" });
    let first = asker.post("/v1/keys", body.clone()).await;
    let again = asker.post("/v1/keys", body).await;
    assert_eq!(again.status, 201);
    assert_eq!(again.headers["idempotency-replayed"], "true");
    let mut without = first.body.clone();
    without.as_object_mut().unwrap().remove("key").unwrap();
    assert_eq!(again.body, without);
    let other = asker.post("/v1/keys", json!({ "role": "project" })).await;
    assert_eq!(other.verdict(), (409, "idempotency_key_reused"));
    let listed = world.root().get("/v1/keys").await;
    assert_eq!(listed.each("role"), ["project", "root"]);
}

#[tokio::test]
async fn the_keys_of_a_deleted_tenant_open_nothing() {
    let world = World::start().await;
    let tenant = world.tenant("default", "acme").await;
    let key = world.key(json!({ "role": "tenant", "tenant": "acme" })).await;
    let text = key.text("key");
    assert_eq!(world.with(&text).get("/v1/event-types").await.status, 200);
    world.root().delete(&format!("/v1/tenants/{tenant}")).await;
    assert_eq!(world.with(&text).get("/v1/event-types").await.status, 401);
}

#[tokio::test]
async fn the_last_use_is_known_to_the_minute_once_it_is_written() {
    let world = World::start().await;
    let key = world.key(json!({ "role": "project" })).await;
    let text = key.text("key");
    world.clock.step(Duration::from_secs(90));
    world.with(&text).get("/v1/tenants").await;
    assert_eq!(world.store.write_key_uses().await.unwrap(), 2);
    let last_use = || async {
        let listed = world.root().get("/v1/keys").await;
        listed.body["data"][0]["last_used_at"].clone()
    };
    assert_eq!(last_use().await, "2024-01-01T00:01:00.000Z");

    world.clock.step(Duration::from_secs(600));
    world.with(&text).get("/v1/tenants").await;
    world.store.write_key_uses().await.unwrap();
    assert_eq!(last_use().await, "2024-01-01T00:11:00.000Z");
    world.store.write_key_uses().await.unwrap();
    assert_eq!(world.store.write_key_uses().await.unwrap(), 0);
}
