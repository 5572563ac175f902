//! Subscriptions are numbered for each tenant, from 1, and no number is used twice.

use super::{PATH, URL, made};
use crate::world::{Asker, World};
use serde_json::{Value, json};

async fn ids(asker: &Asker<'_>) -> Vec<i64> {
    let list = asker.get(PATH).await.expect(200);
    let list = list.as_array().unwrap();
    list.iter().map(|one| one["id"].as_i64().unwrap()).collect()
}

#[tokio::test]
async fn each_tenant_counts_from_one_and_a_deleted_number_stays_unused() {
    let world = World::start().await;
    let (acme, ajax) = (world.tenant_key("acme").await, world.tenant_key("ajax").await);
    let (acme, ajax) = (world.with(&acme), world.with(&ajax));
    for number in 1..=3 {
        assert_eq!(made(&acme).await["id"], json!(number));
    }
    assert_eq!(made(&ajax).await["id"], json!(1));
    assert_eq!(ids(&acme).await, [3, 2, 1]);

    for number in [3, 1] {
        acme.delete(&format!("{PATH}/{number}")).await.expect(204);
        acme.get(&format!("{PATH}/{number}")).await.expect(404);
    }
    assert_eq!(made(&acme).await["id"], json!(4));
    assert_eq!(ids(&acme).await, [4, 2]);
    // Also where none is left.
    for number in [4, 2] {
        acme.delete(&format!("{PATH}/{number}")).await.expect(204);
    }
    assert_eq!(acme.get(PATH).await.raw, "[]");
    assert_eq!(made(&acme).await["id"], json!(5));
    assert_eq!(ids(&ajax).await, [1]);
}

#[tokio::test]
async fn endpoints_made_through_v1_have_numbers_too_and_are_listed() {
    let world = World::start().await;
    let key = world.tenant_key("acme").await;
    let asker = world.with(&key);
    made(&asker).await;
    let body = json!({"name": "n", "url": URL, "events": ["a.b"], "timeout_seconds": 3, "description": "d"});
    let endpoint = asker.post("/v1/endpoints", body).await.expect(201);
    assert_eq!(endpoint["number"], json!(2));
    assert_eq!(ids(&asker).await, [2, 1]);
    let shown = asker.get(&format!("{PATH}/2")).await.expect(200);
    assert_eq!((&shown["url"], &shown["description"]), (&json!(URL), &json!("d")));
    // What was set elsewhere stays when it is changed here.
    asker
        .patch(&format!("{PATH}/2"), json!({"description": "e"}))
        .await
        .expect(200);
    let id = endpoint["id"].as_str().unwrap();
    let after = asker.get(&format!("/v1/endpoints/{id}")).await.expect(200);
    for (field, value) in [
        ("events", json!(["a.b"])),
        ("timeout_seconds", json!(3)),
        ("description", json!("e")),
    ] {
        assert_eq!(after[field], value, "{field}");
    }
    asker.delete(&format!("{PATH}/2")).await.expect(204);
    asker.get(&format!("/v1/endpoints/{id}")).await.expect(404);
}

#[tokio::test]
async fn a_path_that_is_no_integer_is_at_fault_and_an_integer_that_numbers_nothing_is_not_found() {
    let world = World::start().await;
    let key = world.tenant_key("acme").await;
    let asker = world.with(&key);
    made(&asker).await;
    let fault = json!({"detail": [
        {"loc": ["path", "subscription_id"], "msg": "must be an integer", "type": "int_parsing"}
    ]});
    let nowhere = [
        "0",
        "2",
        "-1",
        "-0",
        "9223372036854775807",
        "9223372036854775808",
        "99999999999999999999999999",
        "-9223372036854775809",
    ];
    for verb in ["GET", "PATCH", "DELETE"] {
        for text in [
            "abc", "1.0", "1e0", "0x1", "%FF", "%D9%A1", "1%20", "-", "+", "1_0", "null", "TYPES",
        ] {
            let answer = asker.call(&format!("{verb} {PATH}/{text}"), Value::Null).await;
            assert_eq!(answer.expect(422), fault, "{verb} {text}");
        }
        for text in nowhere {
            let answer = asker.call(&format!("{verb} {PATH}/{text}"), Value::Null).await;
            let refused = answer.expect(404);
            assert_eq!(refused.as_object().unwrap().len(), 1);
            assert!(refused["message"].is_string(), "{verb} {text}");
        }
    }
    for text in ["1", "01", "+1", "%31"] {
        let answer = asker.get(&format!("{PATH}/{text}")).await;
        assert_eq!(answer.expect(200)["id"], json!(1), "{text}");
    }
}
