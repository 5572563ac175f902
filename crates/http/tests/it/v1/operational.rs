//! `/v1/operational-endpoints`, as their callers see them, and as nobody else does.

use crate::world::World;
use serde_json::{Value, json};
use stentor_domain::attempt::{Exchange, Outcome};
use stentor_domain::delivery::Reason;
use stentor_domain::judge::Effect;
use stentor_store::hot::Next;

const PATH: &str = "/v1/operational-endpoints";

fn plain() -> Value {
    json!({"name": "alerts", "url": "https://operator.example.com/alerts"})
}

fn with(fields: Value) -> Value {
    let mut body = plain();
    let fields = fields.as_object().unwrap().clone();
    body.as_object_mut().unwrap().extend(fields);
    body
}

fn text(value: &Value, field: &str) -> String {
    value[field].as_str().unwrap().to_owned()
}

/// Makes one in project `default`; gives its path.
async fn made(world: &World) -> String {
    let made = world.root().post(PATH, plain()).await.expect(201);
    format!("{PATH}/{}", text(&made, "id"))
}

async fn project_key(world: &World, project: &str) -> String {
    let key = json!({"role": "project", "project": project});
    world.key(key).await.text("key")
}

/// The id of the tenant that nobody sees.
fn hidden(world: &World) -> String {
    let config = world.store.config();
    let project = config.project_named("default").unwrap().id;
    config.operational_tenant(project).unwrap().id.to_string()
}

/// Lets a delivery of tenant `acme` be exhausted, and what there is to tell be published. Gives the id of the delivery that
/// tells it, which is handed over.
async fn tell(world: &mut World) -> String {
    let customer = json!({"name": "orders", "url": "https://example.com/hook", "tenant": "acme"});
    world.root().post("/v1/endpoints", customer).await.expect(201);
    let event = json!({"tenant": "acme", "type": "order.paid", "payload": {}});
    world.root().post("/v1/events", event).await.expect(202);
    let claimed = world.handed_over().await;
    let next = Next::Exhausted(Reason::ScheduleEnded);
    let (outcome, exchange) = (Outcome::Answered(500), Exchange::default());
    world
        .record(&claimed, outcome, exchange, next, Effect::None)
        .await;
    while world.engine.tick_jobs().await.unwrap() > 0 {}
    world.handed_over().await.delivery.to_string()
}

#[tokio::test]
async fn they_are_made_read_changed_and_deleted_as_endpoints_are() {
    let world = World::start().await;
    for key in [world.root.clone(), project_key(&world, "default").await] {
        let asker = world.with(&key);
        assert_eq!(asker.get(PATH).await.raw, "[]");
        let first = asker.post(PATH, plain()).await.expect(201);
        assert!(text(&first, "secret").starts_with("whsec_"));
        assert_eq!(first["events"], json!(["*"]));
        assert_eq!(first["payload_format"], "raw");
        let some = with(
            json!({"uid": "pager", "events": ["endpoint.*", "delivery.exhausted"], "secret": "a secret of my own"}),
        );
        let second = asker.post(PATH, some.clone()).await.expect(201);
        assert_eq!(second["secret"], Value::Null);
        assert_eq!(asker.post(PATH, some).await.refusal(409).0, "uid_taken");

        let page = asker.get(&format!("{PATH}?limit=1")).await;
        assert_eq!(page.expect(200)[0]["id"], second["id"]);
        let link = page.headers["link"].to_str().unwrap();
        let next = link.trim_start_matches('<').split('>').next().unwrap();
        assert_eq!(asker.get(next).await.expect(200)[0]["id"], first["id"]);

        let path = format!("{PATH}/{}", text(&second, "id"));
        assert_eq!(asker.get(&path).await.expect(200)["uid"], "pager");
        let paused = asker
            .patch(&path, json!({"status": "PAUSED", "name": "pager"}))
            .await;
        assert_eq!(paused.expect(200)["status"], "PAUSED");
        let rotated = asker.post(&format!("{path}/rotate-secret"), json!({})).await;
        assert!(text(&rotated.expect(200), "secret").starts_with("whsec_"));
        let event = json!({"type": "endpoint.failing", "payload": {}});
        let matching = asker.post(&format!("{path}/match"), event).await.expect(200);
        assert_eq!(matching["matches"], true);
        for path in [path, format!("{PATH}/{}", text(&first, "id"))] {
            asker.delete(&path).await.expect(204);
            assert_eq!(asker.get(&path).await.refusal(404).0, "not_found");
        }
    }
}

#[tokio::test]
async fn what_would_never_get_anything_is_refused() {
    let world = World::start().await;
    let path = made(&world).await;
    for (fields, at) in [
        (json!({"events": ["endpoint.failing", "order.paid"]}), "events.1"),
        (json!({"events": ["orders.*"]}), "events.0"),
        (json!({"channels": ["eu"]}), "channels"),
    ] {
        let refused = world.root().post(PATH, with(fields.clone())).await;
        assert_eq!(refused.refusal(422).1, [at]);
        assert_eq!(world.root().patch(&path, fields).await.refusal(422).1, [at]);
    }
    let cleared = world.root().patch(&path, json!({"channels": null})).await;
    cleared.expect(200);
}

#[tokio::test]
async fn a_tenant_key_may_do_nothing_with_them_and_a_read_only_key_may_look() {
    let world = World::start().await;
    let path = made(&world).await;
    let acme = world.tenant_key("acme").await;
    let reader = json!({"role": "project", "project": "default", "read_only": true});
    let reader = world.key(reader).await.text("key");
    let event = json!({"type": "endpoint.failing", "payload": {}});
    for (operation, body, changes) in [
        (format!("GET {PATH}"), Value::Null, false),
        (format!("POST {PATH}"), plain(), true),
        (format!("GET {path}"), Value::Null, false),
        (format!("PATCH {path}"), json!({"name": "x"}), true),
        (format!("POST {path}/rotate-secret"), json!({}), true),
        (format!("POST {path}/test"), json!({}), true),
        (format!("POST {path}/match"), event, false),
        (format!("DELETE {path}"), Value::Null, true),
    ] {
        let refused = world.with(&acme).call(&operation, body.clone()).await;
        assert_eq!(refused.verdict(), (403, "forbidden"), "{operation}");
        let read = world.with(&reader).call(&operation, body).await;
        if changes {
            assert_eq!(read.verdict(), (403, "forbidden"), "{operation}");
        } else {
            read.expect(200);
        }
    }
    world.root().get(&path).await.expect(200);
}

#[tokio::test]
async fn those_of_another_project_do_not_exist() {
    let world = World::start().await;
    let path = made(&world).await;
    world.project("staging").await;
    let staging = project_key(&world, "staging").await;
    for (operation, body) in [
        (format!("GET {path}"), Value::Null),
        (format!("PATCH {path}"), json!({"name": "x"})),
        (format!("POST {path}/rotate-secret"), json!({})),
        (format!("POST {path}/test"), json!({})),
        (format!("DELETE {path}"), Value::Null),
    ] {
        let refused = world.with(&staging).call(&operation, body.clone()).await;
        assert_eq!(refused.verdict(), (404, "not_found"), "{operation}");
        let elsewhere = format!("{operation}?project=staging");
        let refused = world.root().call(&elsewhere, body).await;
        assert_eq!(refused.verdict(), (404, "not_found"), "{elsewhere}");
    }
    assert_eq!(world.with(&staging).get(PATH).await.raw, "[]");
    for new in [with(json!({"project": "staging"})), plain()] {
        let there = format!("{PATH}?project=staging");
        world.root().post(&there, new).await.expect(201);
    }
    let in_body = with(json!({"project": "staging"}));
    world.root().post(PATH, in_body).await.expect(201);
    let listed = world.with(&staging).get(PATH).await.expect(200);
    assert_eq!(listed.as_array().unwrap().len(), 3);
    let in_body = with(json!({"project": "default"}));
    assert_eq!(
        world.with(&staging).post(PATH, in_body).await.refusal(404).0,
        "not_found"
    );
    let listed = world.root().get(PATH).await.expect(200);
    assert_eq!(listed.as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn no_other_resource_knows_them_or_the_tenant_that_holds_them() {
    let world = World::start().await;
    let path = made(&world).await;
    let id = path.rsplit('/').next().unwrap();
    let tenant = hidden(&world);
    let project = project_key(&world, "default").await;
    let acme = world.tenant_key("acme").await;
    for key in [&world.root, &project] {
        let asker = world.with(key);
        assert_eq!(asker.get("/v1/tenants").await.each("uid"), ["acme"]);
        for operation in [
            format!("GET /v1/tenants/{tenant}"),
            format!("DELETE /v1/tenants/{tenant}"),
            format!("DELETE /v1/tenants/{tenant}/content"),
            format!("GET /v1/endpoints?tenant={tenant}"),
            format!("GET /v1/deliveries?tenant={tenant}"),
            format!("GET /v1/events?tenant={tenant}"),
            format!("GET /v1/endpoints/{id}"),
            format!("DELETE /v1/endpoints/{id}"),
        ] {
            let refused = asker.call(&operation, Value::Null).await;
            assert_eq!(refused.verdict(), (404, "not_found"), "{operation}");
        }
        for (operation, body) in [
            (format!("PATCH /v1/tenants/{tenant}"), json!({"name": "x"})),
            (format!("PATCH /v1/endpoints/{id}"), json!({"name": "x"})),
            (format!("POST /v1/endpoints/{id}/test"), json!({})),
            (format!("POST /v1/endpoints/{id}/rotate-secret"), json!({})),
            ("POST /v1/endpoints".into(), with(json!({"tenant": tenant}))),
            (
                "POST /v1/events".into(),
                json!({"tenant": tenant, "type": "endpoint.failing", "payload": {}}),
            ),
            (
                "POST /v1/keys".into(),
                json!({"role": "tenant", "tenant": tenant}),
            ),
            (
                "POST /v1/replays".into(),
                json!({"endpoint": id, "since": "2020-01-01T00:00:00Z"}),
            ),
        ] {
            let refused = asker.call(&operation, body).await;
            assert_eq!(refused.verdict(), (404, "not_found"), "{operation}");
        }
    }
    let uuid = id.trim_start_matches("ep_");
    for (key, operation) in [
        (&acme, format!("DELETE /webhooks/wh_{uuid}")),
        (&world.root, format!("DELETE /webhooks/wh_{uuid}")),
        (&acme, "GET /api/v1/webhooks/1".to_owned()),
        (&world.root, format!("GET /api/v1/webhooks/1?tenant={tenant}")),
        (&world.root, format!("GET /apps/{tenant}/webhooks")),
        (&world.root, format!("DELETE /apps/acme/webhooks/{uuid}")),
    ] {
        let answer = world.with(key).call(&operation, Value::Null).await;
        assert_eq!(answer.status, 404, "{operation}: {}", answer.raw);
    }
    world.root().get(&path).await.expect(200);
    let audit = world.root().get("/v1/audit").await;
    assert!(
        audit.raw.contains(id) && !audit.raw.contains(&tenant),
        "{}",
        audit.raw
    );
}

#[tokio::test]
async fn their_deliveries_are_seen_by_those_who_name_them_and_by_no_tenant() {
    let mut world = World::start().await;
    let path = made(&world).await;
    let id = path.rsplit('/').next().unwrap().to_owned();
    let acme = world.tenant_key("acme").await;
    world.project("staging").await;
    let staging = project_key(&world, "staging").await;
    let delivery = tell(&mut world).await;
    let project = project_key(&world, "default").await;
    let asker = world.with(&project);

    let of_customers = asker.get("/v1/deliveries").await;
    assert_eq!(of_customers.each("event_type"), ["order.paid"]);
    assert_eq!(asker.get("/v1/events").await.each("type"), ["order.paid"]);
    let own = asker.get(&format!("/v1/deliveries?endpoint={id}")).await;
    assert_eq!(own.each("id"), [&delivery]);
    assert_eq!(own.each("event_type"), ["delivery.exhausted"]);
    let found = asker.get(&format!("/v1/deliveries/{delivery}")).await.expect(200);
    let event = text(&found, "event");
    let of_event = asker.get(&format!("/v1/deliveries?event={event}")).await;
    assert_eq!(of_event.each("id"), [&delivery]);
    let told = asker.get(&format!("/v1/events/{event}")).await.expect(200);
    assert_eq!(told["payload"]["type"], "delivery.exhausted");
    assert_eq!(told["payload"]["tenant"]["uid"], "acme");

    for key in [&acme, &staging] {
        let asker = world.with(key);
        assert_eq!(asker.get(&format!("/v1/deliveries/{delivery}")).await.status, 404);
        assert_eq!(asker.get(&format!("/v1/events/{event}")).await.status, 404);
        let own = asker.get(&format!("/v1/deliveries?endpoint={id}")).await;
        assert_eq!(own.each("id"), [""; 0]);
    }
    let cancelled = format!("/v1/deliveries/{delivery}/cancel");
    assert_eq!(world.with(&acme).post(&cancelled, json!({})).await.status, 404);
    assert_eq!(asker.post(&cancelled, json!({})).await.status, 202);
}

#[tokio::test]
async fn they_go_with_their_project() {
    let world = World::start().await;
    world.project("staging").await;
    let there = format!("{PATH}?project=staging");
    let made = world.root().post(&there, plain()).await.expect(201);
    world.root().delete("/v1/projects/staging").await.expect(204);
    let path = format!("{PATH}/{}", text(&made, "id"));
    assert_eq!(world.root().get(&path).await.refusal(404).0, "not_found");
    let world = world.restart().await;
    assert_eq!(world.root().get(&path).await.refusal(404).0, "not_found");
}

#[tokio::test]
async fn a_repeated_request_makes_one() {
    let world = World::start().await;
    let asker = world.root().and("idempotency-key", "k-1");
    let first = asker.post(PATH, plain()).await.expect(201);
    let again = asker.post(PATH, plain()).await.expect(201);
    assert_eq!(first["id"], again["id"]);
    assert_eq!(again["secret"], Value::Null, "a secret is shown once");
    let other = asker.post(PATH, with(json!({"name": "other"}))).await;
    assert_eq!(other.refusal(409).0, "idempotency_key_reused");
    let listed = world.root().get(PATH).await.expect(200);
    assert_eq!(listed.as_array().unwrap().len(), 1);
}
