//! `POST /webhooks` and `GET /webhooks`.

use super::{in_v1, listed, made, published, published_with, told, world};
use serde_json::{Value, json};
use stentor_domain::limits::ORGANIZATION_ENDPOINTS_MAX;

#[tokio::test]
async fn an_endpoint_is_made_and_listed_as_the_text_shows_it() {
    let (world, key) = world().await;
    let made = world.with(&key).post("/webhooks", published()).await;
    let (id, secret) = (made.text("id"), made.text("signingSecret"));
    let uuid = id.strip_prefix("wh-").unwrap();
    assert_eq!(uuid.len(), 36);
    let digits = secret.strip_prefix("whs_").unwrap();
    let is_hex = |digit: u8| matches!(digit, b'0'..=b'9' | b'a'..=b'f');
    assert!(digits.len() == 42 && digits.bytes().all(is_hex), "{secret}");
    let shared = format!(
        "\"id\":\"{id}\",\"url\":\"https://yourapp.com/webhooks/vignetim\",\
         \"events\":[\"order.completed\",\"order.failed\"],\
         \"description\":\"Production order notifications\",\"active\":true"
    );
    assert_eq!(made.status, 201);
    let time = "2024-01-01T00:00:00.000Z";
    let expected = format!("{{{shared},\"signingSecret\":\"{secret}\",\"createdAt\":\"{time}\"}}");
    assert_eq!(made.raw, expected);

    let list = world.with(&key).get("/webhooks").await;
    let expected = format!(
        "{{\"data\":[{{{shared},\"consecutiveFailures\":0,\"createdAt\":\"{time}\",\"updatedAt\":\"{time}\"}}]}}"
    );
    assert_eq!((list.status, list.raw), (200, expected));
}

#[tokio::test]
async fn what_the_contract_documents_becomes_the_endpoints_own() {
    let (world, key) = world().await;
    let asker = world.with(&key);
    let path = made(&asker, published()).await;
    let shown = asker.get(&in_v1(&path)).await.expect(200);
    let of = |name: &str| shown[name].clone();
    assert_eq!(of("header_styles"), json!(["standard", "organization"]));
    assert_eq!(
        (of("timeout_seconds"), of("retry_anchor")),
        (json!(10), json!("previous"))
    );
    assert_eq!(
        of("retry_schedule"),
        json!([5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400])
    );
    assert_eq!(of("name"), "Production order notifications");
    let nameless = made(&asker, published_with(json!({"description": null}))).await;
    assert_eq!(asker.get(&in_v1(&nameless)).await.text("name"), "yourapp.com");
}

#[tokio::test]
async fn all_endpoints_of_the_tenant_are_listed_newest_first_whoever_made_them() {
    let (world, key) = world().await;
    let asker = world.with(&key);
    let other = world.tenant_key("other").await;
    made(&world.with(&other), published()).await;
    let first = made(&asker, published()).await;
    let native = json!({"name": "native", "url": "https://example.com/native"});
    let native = asker.post("/v1/endpoints", native).await.text("id");
    let last = made(&asker, published_with(json!({"events": ["*"]}))).await;
    let list = asker.get("/webhooks").await;
    let paths: Vec<String> = list
        .each("id")
        .iter()
        .map(|id| format!("/webhooks/{id}"))
        .collect();
    let native = format!("/webhooks/{}", native.replace("ep_", "wh-"));
    assert_eq!(paths, [last, native, first]);
    let shown = &list.body["data"][1];
    assert_eq!(
        (&shown["events"], &shown["description"], &shown["url"]),
        (&json!(["*"]), &json!(null), &json!("https://example.com/native"))
    );
    assert!(shown.get("signingSecret").is_none());
}

#[tokio::test]
async fn a_description_that_is_absent_null_or_empty_is_null() {
    let (world, key) = world().await;
    let asker = world.with(&key);
    let absent = json!({"url": "https://example.com/", "events": ["*"]});
    for body in [
        absent,
        published_with(json!({"description": null})),
        published_with(json!({"description": ""})),
    ] {
        let shown = asker.post("/webhooks", body).await.expect(201);
        assert_eq!(shown.get("description"), Some(&Value::Null));
    }
}

#[tokio::test]
async fn values_at_their_limits_come_back_as_they_were_sent() {
    let (world, key) = world().await;
    let asker = world.with(&key);
    let events: Vec<String> = (0..500).map(|number| format!("{number:0>255}")).collect();
    let body = json!({
        "url": format!("https://example.com/{}", "x".repeat(2_063)),
        "events": events,
        "description": "ü\n".repeat(500),
        "signingSecret": "mine", "active": false, "colour": "blue"
    });
    let shown = asker.post("/webhooks", body.clone()).await.expect(201);
    for name in ["url", "events", "description"] {
        assert_eq!(shown[name], body[name]);
    }
    assert_eq!(shown["active"], true, "only what the text names is read");
    assert_ne!(shown["signingSecret"], "mine");
}

#[tokio::test]
async fn every_bad_value_is_told_by_the_name_of_its_field() {
    let (world, key) = world().await;
    let asker = world.with(&key);
    let path = made(&asker, published()).await;
    let too_many: Vec<String> = (0..501).map(|number| format!("e{number}")).collect();
    for (fields, begin) in [
        (json!({"url": 7}), "url: must be a string"),
        (json!({"url": ["https://example.com"]}), "url: must be a string"),
        (json!({"events": "order.completed"}), "events: must be an array"),
        (json!({"events": {}}), "events: must be an array"),
        (json!({"events": []}), "events: must name at least one event type"),
        (json!({"events": ["*", "a"]}), "events: \"*\" means all"),
        (json!({"events": ["a", 7]}), "events.1: must be a string"),
        (json!({"events": [null]}), "events.0: must be a string"),
        (json!({"events": ["a", "b c"]}), "events.1: must be dot-separated"),
        (json!({"events": [""]}), "events.0: must be 1 to 255 characters"),
        (
            json!({"events": ["x".repeat(256)]}),
            "events.0: must be 1 to 255 characters",
        ),
        (
            json!({"events": too_many}),
            "events: must name at most 500 event types",
        ),
        (json!({"description": 7}), "description: must be a string"),
        (
            json!({"description": "x".repeat(1_001)}),
            "description: must be at most 1000",
        ),
        (json!({"description": "a\0b"}), "description: must not contain"),
    ] {
        let created = asker.post("/webhooks", published_with(fields.clone())).await;
        let updated = asker.call(&format!("PUT {path}"), fields.clone()).await;
        for answer in [created, updated] {
            let told = told(&answer, 400, "validation_failed");
            assert_eq!(told.len(), 1, "{told:?}");
            assert!(told[0].starts_with(begin), "{told:?}");
        }
    }
    let unchanged = listed(&asker, &path).await;
    assert_eq!(unchanged["updatedAt"], unchanged["createdAt"]);
    assert_eq!(asker.get("/webhooks").await.each("id").len(), 1);
}

#[tokio::test]
async fn a_caller_hears_of_every_bad_field_at_once() {
    let (world, key) = world().await;
    let asker = world.with(&key);
    let create = async |body: Value| asker.post("/webhooks", body).await;
    for body in [json!({}), json!({"url": null, "events": null}), Value::Null] {
        let answer = match body {
            Value::Null => asker.call("POST /webhooks", body).await,
            body => create(body).await,
        };
        assert_eq!(
            told(&answer, 400, "validation_failed"),
            [
                "url: is required",
                "events: must name at least one event type, or \"*\" for all"
            ]
        );
    }
    let answer = create(json!({"url": 7, "events": ["a b"], "description": []})).await;
    let told_of = told(&answer, 400, "validation_failed");
    let fields: Vec<&str> = told_of
        .iter()
        .map(|message| message.split_once(':').unwrap().0)
        .collect();
    assert_eq!(fields, ["url", "description", "events.0"]);
    let answer = create(json!({"url": "https://10.0.0.1/", "events": [], "description": 7})).await;
    assert_eq!(told(&answer, 400, "url_not_allowed").len(), 3);
}

#[tokio::test]
async fn a_body_that_is_no_object_makes_nothing() {
    let (world, key) = world().await;
    let asker = world.with(&key);
    let path = made(&asker, published()).await;
    for body in [
        json!(["https://example.com/", ["*"]]),
        json!([]),
        json!("text"),
        json!(7),
    ] {
        for operation in ["POST /webhooks".to_owned(), format!("PUT {path}")] {
            let answer = asker.call(&operation, body.clone()).await;
            assert_eq!(
                told(&answer, 400, "validation_failed"),
                ["body: must be an object"]
            );
        }
    }
}

#[tokio::test]
async fn a_repeated_request_makes_nothing_and_does_not_show_the_secret_again() {
    let (world, key) = world().await;
    let asker = world.with(&key).and("idempotency-key", "k1");
    let mut first = asker.post("/webhooks", published()).await.expect(201);
    let again = asker.post("/webhooks", published()).await;
    assert!(first.as_object_mut().unwrap().remove("signingSecret").is_some());
    assert_eq!(again.expect(201), first);
    assert_eq!(again.headers["idempotency-replayed"], "true");
    assert_eq!(asker.get("/webhooks").await.each("id").len(), 1);
    let other = asker
        .post("/webhooks", published_with(json!({"events": ["*"]})))
        .await;
    assert_eq!(other.verdict(), (409, "idempotency_key_reused"));
}

#[tokio::test]
async fn the_last_place_is_given_once_in_a_crowd() {
    let (world, key) = world().await;
    let asker = world.with(&key);
    for number in 1..ORGANIZATION_ENDPOINTS_MAX {
        // Those made through another contract are counted, too.
        let native = json!({"name": "native", "url": "https://example.com/"});
        match number % 2 {
            0 => made(&asker, published()).await,
            _ => asker.post("/v1/endpoints", native).await.text("id"),
        };
    }
    let create = || asker.post("/webhooks", published());
    let answers = futures_util::future::join_all((0..20).map(|_| create())).await;
    let (won, lost): (Vec<_>, Vec<_>) = answers.iter().partition(|answer| answer.status == 201);
    assert_eq!((won.len(), lost.len()), (1, 19));
    for answer in lost {
        assert_eq!(answer.verdict(), (409, "webhook_limit_reached"));
        assert_eq!(answer.body["error"], "Conflict");
    }
    let list = asker.get("/webhooks").await;
    assert_eq!(list.each("id").len(), 10);

    let gone = format!("/webhooks/{}", list.each("id")[0]);
    asker.delete(&gone).await.expect(204);
    create().await.expect(201);
    assert_eq!(create().await.status, 409);
    let other = world.tenant_key("other").await;
    made(&world.with(&other), published()).await;
    // The native contract has its own bound.
    let native = json!({"name": "native", "url": "https://example.com/"});
    asker.post("/v1/endpoints", native).await.expect(201);
}

#[tokio::test]
async fn a_tenant_that_has_more_than_may_be_made_here_is_told_the_limit_and_not_that_it_has_so_many() {
    let (world, key) = world().await;
    let asker = world.with(&key);
    for _ in 0..=ORGANIZATION_ENDPOINTS_MAX {
        let native = json!({"name": "native", "url": "https://example.com/"});
        asker.post("/v1/endpoints", native).await.expect(201);
    }
    let refused = asker.post("/webhooks", published()).await;
    assert_eq!(refused.verdict(), (409, "webhook_limit_reached"));
    assert_eq!(
        refused.text("message"),
        "The limit of 10 endpoints is reached. Delete what is not needed first."
    );
}
