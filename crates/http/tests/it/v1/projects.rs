//! `/v1/projects`.

use std::time::Duration;

use crate::world::World;
use serde_json::{Value, json};

#[tokio::test]
async fn a_project_is_made_read_renamed_and_deleted() {
    let world = World::start().await;
    let made = world
        .root()
        .post("/v1/projects", json!({ "name": "staging", "sandbox": false }))
        .await;
    let id = made.text("id");
    assert!(id.starts_with("prj_"));
    let shown = |name: &str, updated_at: &str| {
        json!({
            "id": id,
            "name": name,
            "sandbox": false,
            "signature_prefix": "x-webhook",
            "payload_formats": {"organization": "raw", "apps": "raw", "subscriptions": "raw", "v1": "raw"},
            "created_at": "2024-01-01T00:00:00.000Z",
            "updated_at": updated_at,
        })
    };
    assert_eq!(made.status, 201);
    assert_eq!(made.body, shown("staging", "2024-01-01T00:00:00.000Z"));

    world.clock.step(Duration::from_secs(60));
    let path = format!("/v1/projects/{id}");
    let renamed = world.root().patch(&path, json!({ "name": "test" })).await;
    assert_eq!(renamed.status, 200);
    assert_eq!(renamed.body, shown("test", "2024-01-01T00:01:00.000Z"));
    assert_eq!(world.root().get(&path).await.body, renamed.body);
    assert_eq!(world.root().get("/v1/projects/test").await.body, renamed.body);
    assert_eq!(
        world.root().get("/v1/projects/staging").await.verdict(),
        (404, "not_found")
    );

    assert_eq!(world.root().delete(&path).await.status, 204);
    for gone in [
        world.root().get(&path).await,
        world.root().patch(&path, json!({})).await,
        world.root().delete(&path).await,
        world.root().get("/v1/tenants?project=test").await,
    ] {
        assert_eq!(gone.verdict(), (404, "not_found"));
    }
}

#[tokio::test]
async fn a_project_is_a_sandbox_for_good_or_never() {
    let world = World::start().await;
    let made = |name: &'static str, sandbox: bool| {
        let body = json!({ "name": name, "sandbox": sandbox });
        async { world.root().post("/v1/projects", body).await.expect(201) }
    };
    for (name, sandbox) in [("trial", true), ("live", false)] {
        assert_eq!(made(name, sandbox).await["sandbox"], sandbox);
        let path = format!("/v1/projects/{name}");
        let other = json!({ "name": "renamed", "sandbox": !sandbox });
        let refused = world.root().patch(&path, other).await;
        assert_eq!(refused.verdict(), (409, "sandbox_is_fixed"));
        for same in [
            json!({ "sandbox": sandbox }),
            json!({ "sandbox": null }),
            json!({}),
        ] {
            let shown = world.root().patch(&path, same).await.expect(200);
            assert_eq!(
                (&shown["sandbox"], &shown["name"]),
                (&json!(sandbox), &json!(name))
            );
        }
    }
    let listed = world.root().get("/v1/projects").await;
    let sandboxes: Vec<bool> = listed.body["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|project| project["sandbox"].as_bool().unwrap())
        .collect();
    assert_eq!(sandboxes, [false, true, false]);

    let default = json!({ "sandbox": true });
    let refused = world.root().patch("/v1/projects/default", default).await;
    assert_eq!(refused.verdict(), (409, "sandbox_is_fixed"));
    let world = world.restart().await;
    assert!(world.store.config().project_named("trial").unwrap().sandbox);
    assert!(!world.store.config().project_named("live").unwrap().sandbox);
}

#[tokio::test]
async fn a_prefix_is_set_in_any_case_survives_and_is_taken_back() {
    let world = World::start().await;
    world.project("shop").await;
    let path = "/v1/projects/shop";
    let set = json!({ "signature_prefix": "X-Acme" });
    let shown = world.root().patch(path, set).await.expect(200);
    assert_eq!(shown["signature_prefix"], "x-acme");
    let renamed = json!({ "name": "store" });
    let shown = world.root().patch(path, renamed).await.expect(200);
    assert_eq!(shown["signature_prefix"], "x-acme");

    let world = world.restart().await;
    let path = "/v1/projects/store";
    assert_eq!(world.root().get(path).await.text("signature_prefix"), "x-acme");
    let prefix = |world: &World| {
        let project = world.store.config().project_named("store").unwrap();
        project.signature_prefix.to_string()
    };
    assert_eq!(prefix(&world), "x-acme");
    for default in [json!(null), json!("X-Webhook")] {
        let changes = [json!("acme2"), default].map(|prefix| json!({ "signature_prefix": prefix }));
        for change in changes {
            world.root().patch(path, change).await.expect(200);
        }
        assert_eq!(world.root().get(path).await.text("signature_prefix"), "x-webhook");
        assert_eq!(prefix(&world), "x-webhook");
    }
}

#[tokio::test]
async fn projects_are_listed_newest_first_in_pages() {
    let world = World::start().await;
    for name in ["one", "two", "three"] {
        world.project(name).await;
    }
    let first = world.root().get("/v1/projects?limit=3").await;
    assert_eq!(first.each("name"), ["three", "two", "one"]);
    let second = format!("/v1/projects?limit=3&cursor={}", first.text("next_cursor"));
    let second = world.root().get(&second).await;
    assert_eq!(second.each("name"), ["default"]);
    assert!(second.body["next_cursor"].is_null());
    assert_eq!(world.root().get("/v1/projects?limit=0").await.faults(), ["limit"]);
    assert_eq!(
        world.root().get("/v1/projects?cursor=x").await.verdict(),
        (400, "bad_cursor")
    );
}

#[tokio::test]
async fn a_name_is_unique_while_its_project_is_there() {
    let world = World::start().await;
    let (first, second) = (world.project("one").await, world.project("two").await);
    for taken in [
        world.root().post("/v1/projects", json!({ "name": "one" })).await,
        world
            .root()
            .patch(&format!("/v1/projects/{second}"), json!({ "name": "one" }))
            .await,
    ] {
        assert_eq!(taken.verdict(), (409, "name_taken"));
    }
    world.root().delete(&format!("/v1/projects/{first}")).await;
    let again = world.root().post("/v1/projects", json!({ "name": "one" })).await;
    assert_eq!(again.status, 201);
    assert_eq!(
        world.root().get("/v1/projects/one").await.text("id"),
        again.text("id")
    );
}

#[tokio::test]
async fn what_breaks_a_rule_is_named() {
    let world = World::start().await;
    let id = world.project("one").await;
    let path = format!("/v1/projects/{id}");
    for (body, field) in [
        (json!({}), "name"),
        (json!({ "name": null }), "name"),
        (json!({ "name": 1 }), "name"),
        (json!({ "name": "" }), "name"),
        (json!({ "name": "a\nb" }), "name"),
        (json!({ "name": "x".repeat(256) }), "name"),
        (json!({ "name": "prj_1" }), "name"),
        (json!({ "name": "two", "sandbox": "yes" }), "sandbox"),
    ] {
        let refused = world.root().post("/v1/projects", body.clone()).await;
        assert_eq!((refused.status, refused.faults()), (422, vec![field]), "{body}");
        if body.get("name").is_some() {
            let refused = world.root().patch(&path, body.clone()).await;
            assert_eq!((refused.status, refused.faults()), (422, vec![field]), "{body}");
        }
    }
    for prefix in [
        json!(""),
        json!("x acme"),
        json!("x-acme-"),
        json!("1x"),
        json!("svix"),
        json!("X-Hub"),
        json!("a".repeat(65)),
        json!(7),
    ] {
        let body = json!({ "signature_prefix": prefix });
        let refused = world.root().patch(&path, body).await;
        assert_eq!(
            (refused.status, refused.faults()),
            (422, vec!["signature_prefix"]),
            "{prefix}"
        );
    }
    let both = json!({ "name": "", "signature_prefix": "stripe" });
    let refused = world.root().patch(&path, both).await;
    assert_eq!(refused.faults(), ["name", "signature_prefix"]);
    let formats = json!({ "payload_formats": { "v1": "xml", "apps": 7 } });
    assert_eq!(
        world.root().patch(&path, formats).await.refusal(422).1,
        ["payload_formats.apps"]
    );
    let formats = json!({ "payload_formats": { "v1": "xml" } });
    assert_eq!(
        world.root().patch(&path, formats).await.refusal(422).1,
        ["payload_formats.v1"]
    );
    let formats = json!({ "payload_formats": ["raw"] });
    assert_eq!(
        world.root().patch(&path, formats).await.refusal(422).1,
        ["payload_formats"]
    );
    let unchanged = json!({ "signature_prefix": null, "sandbox": false, "unknown": 1 });
    assert_eq!(world.root().patch(&path, unchanged).await.text("name"), "one");
}

#[tokio::test]
async fn formats_are_changed_one_by_one_and_null_is_raw() {
    let world = World::start().await;
    let change = async |formats: Value| {
        let body = json!({ "payload_formats": formats });
        let changed = world.root().patch("/v1/projects/default", body).await;
        changed.expect(200)["payload_formats"].clone()
    };
    let all =
        |apps: &str, v1: &str| json!({"organization": "raw", "apps": apps, "subscriptions": "raw", "v1": v1});
    assert_eq!(change(json!({})).await, all("raw", "raw"));
    assert_eq!(change(json!({"apps": "apps"})).await, all("apps", "raw"));
    assert_eq!(
        change(json!({"v1": "thin", "other": "x"})).await,
        all("apps", "thin")
    );
    assert_eq!(change(json!({"apps": null})).await, all("raw", "thin"));
    assert_eq!(
        change(Value::Null).await,
        all("raw", "thin"),
        "null leaves all alone"
    );
    let shown = world.root().get("/v1/projects/default").await.expect(200);
    assert_eq!(shown["payload_formats"], all("raw", "thin"));
}

#[tokio::test]
async fn a_project_in_use_and_the_default_one_stay() {
    let world = World::start().await;
    world.project("busy").await;
    let tenant = world.tenant("busy", "acme").await;
    let delete = || async { world.root().delete("/v1/projects/busy").await };
    assert_eq!(delete().await.verdict(), (409, "project_not_empty"));
    world
        .root()
        .delete(&format!("/v1/tenants/{tenant}?project=busy"))
        .await;

    let event_type = json!({ "name": "order.made", "description": "", "project": "busy" });
    world.root().post("/v1/event-types", event_type).await;
    assert_eq!(delete().await.verdict(), (409, "project_not_empty"));
    world
        .root()
        .delete("/v1/event-types/order.made?project=busy")
        .await;
    assert_eq!(delete().await.status, 204);

    let default = "/v1/projects/default";
    assert_eq!(
        world.root().delete(default).await.verdict(),
        (409, "default_project")
    );
    let renamed = world.root().patch(default, json!({ "name": "main" })).await;
    assert_eq!(renamed.verdict(), (409, "default_project"));
    let same = world.root().patch(default, json!({ "name": "default" })).await;
    assert_eq!(same.status, 200);
}

#[tokio::test]
async fn the_keys_of_a_deleted_project_open_nothing() {
    let world = World::start().await;
    world.project("gone").await;
    let key = world
        .key(json!({ "role": "project", "project": "gone" }))
        .await
        .text("key");
    assert_eq!(world.with(&key).get("/v1/tenants").await.status, 200);
    world.root().delete("/v1/projects/gone").await;
    assert_eq!(world.with(&key).get("/v1/tenants").await.status, 401);
}

#[tokio::test]
async fn only_root_keys_see_projects_and_only_full_ones_change_them() {
    let world = World::start().await;
    let tenant = world.tenant("default", "acme").await;
    let project_key = world.key(json!({ "role": "project" })).await.text("key");
    let tenant_key = world.key(json!({ "role": "tenant", "tenant": tenant })).await;
    let reader = world.key(json!({ "role": "root", "read_only": true })).await;
    let path = "/v1/projects/default";
    for key in [&project_key, &tenant_key.text("key")] {
        let asker = world.with(key);
        for refused in [
            asker.get("/v1/projects").await,
            asker.get(path).await,
            asker.post("/v1/projects", json!({ "name": "x" })).await,
            asker.patch(path, json!({})).await,
            asker.delete(path).await,
        ] {
            assert_eq!(refused.verdict(), (403, "forbidden"));
        }
    }
    let key = reader.text("key");
    let reader = world.with(&key);
    assert_eq!(reader.get("/v1/projects").await.status, 200);
    for refused in [
        reader.post("/v1/projects", json!({ "name": "x" })).await,
        reader.patch(path, json!({})).await,
        reader.delete(path).await,
    ] {
        assert_eq!(refused.verdict(), (403, "forbidden"));
    }
}

#[tokio::test]
async fn a_repeated_creation_answers_as_the_first_and_makes_nothing() {
    let world = World::start().await;
    let asker = world.root().and("idempotency-key", "once");
    let first = asker.post("/v1/projects", json!({ "name": "one" })).await;
    let again = asker.post("/v1/projects", json!({ "name": "one" })).await;
    assert_eq!((again.status, &again.body), (201, &first.body));
    assert!(!first.headers.contains_key("idempotency-replayed"));
    assert_eq!(again.headers["idempotency-replayed"], "true");
    let other = asker.post("/v1/projects", json!({ "name": "two" })).await;
    assert_eq!(other.verdict(), (409, "idempotency_key_reused"));
    assert_eq!(
        world.root().get("/v1/projects").await.each("name"),
        ["one", "default"]
    );
}

#[tokio::test]
async fn an_idempotency_key_is_another_one_in_a_project_that_the_body_names() {
    let world = World::start().await;
    world.project("shop").await;
    let asker = world.root().and("idempotency-key", "once");
    for (path, mut body) in [
        ("/v1/tenants", json!({ "name": "Acme" })),
        (
            "/v1/event-types",
            json!({ "name": "order.paid", "description": "" }),
        ),
        ("/v1/keys", json!({ "role": "project" })),
    ] {
        asker.post(path, body.clone()).await.expect(201);
        body["project"] = json!("shop");
        asker.post(path, body.clone()).await.expect(201);
        let again = asker.post(path, body).await;
        assert_eq!(again.headers["idempotency-replayed"], "true", "{path}");
    }
}
