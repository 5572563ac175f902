//! The owner's switch, and what other contracts made of the endpoint meanwhile.

use super::{in_v1, made_at};
use crate::world::{Asker, World};
use serde_json::{Value, json};

/// What v1 says of the only endpoint: its status, and why it is disabled.
async fn status(asker: &Asker<'_>) -> [Value; 2] {
    let endpoint = in_v1(asker, &json!(1)).await;
    ["status", "disabled_reason"].map(|field| endpoint[field].clone())
}

#[tokio::test]
async fn off_disables_as_the_owner_and_on_resumes() {
    let world = World::start().await;
    let key = world.tenant_key("acme").await;
    let asker = world.with(&key);
    let path = made_at(&asker).await;
    for (enabled, expected) in [
        (false, [json!("DISABLED"), json!("owner")]),
        (false, [json!("DISABLED"), json!("owner")]),
        (true, [json!("ACTIVE"), json!(null)]),
        (true, [json!("ACTIVE"), json!(null)]),
    ] {
        let shown = asker.patch(&path, json!({"enabled": enabled})).await.expect(200);
        assert_eq!(shown["enabled"], json!(enabled));
        assert_eq!(status(&asker).await, expected);
    }
}

#[tokio::test]
async fn what_v1_paused_shows_off_stays_paused_when_switched_off_and_resumes_when_switched_on() {
    let world = World::start().await;
    let key = world.tenant_key("acme").await;
    let asker = world.with(&key);
    let path = made_at(&asker).await;
    let id = in_v1(&asker, &json!(1)).await["id"].as_str().unwrap().to_owned();
    let pause = json!({"status": "PAUSED"});
    asker
        .patch(&format!("/v1/endpoints/{id}"), pause)
        .await
        .expect(200);
    assert_eq!(asker.get(&path).await.expect(200)["enabled"], json!(false));
    for body in [json!({"enabled": false}), json!({"enabled": null}), json!({})] {
        assert_eq!(
            asker.patch(&path, body).await.expect(200)["enabled"],
            json!(false)
        );
        assert_eq!(status(&asker).await, [json!("PAUSED"), json!(null)]);
    }
    let on = asker.patch(&path, json!({"enabled": true})).await.expect(200);
    assert_eq!(on["enabled"], json!(true));
    assert_eq!(status(&asker).await, [json!("ACTIVE"), json!(null)]);
}
