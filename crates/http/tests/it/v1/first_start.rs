//! What a start makes, and what the command line makes without one.

use crate::world::World;
use serde_json::json;
use stentor_domain::Timestamp;
use stentor_engine::Error;
use stentor_engine::keys::{NewKey, Role};

const GIVEN: &str = "an-operator-chose-this-root-key-by-hand";
const ANOTHER: &str = "and-later-the-operator-chose-another-one";

fn new_key(role: Role) -> NewKey {
    NewKey {
        role,
        project: None,
        tenant: None,
        read_only: false,
        name: None,
        expires_at: None,
    }
}

#[tokio::test]
async fn the_first_start_prints_a_root_key_and_later_ones_do_not() {
    let world = World::start().await;
    assert!(world.root.starts_with("stn_root_"));
    assert_eq!(world.prepare(None).await.unwrap(), None);
    let world = world.restart().await;
    assert_eq!(world.prepare(None).await.unwrap(), None);
    let projects = world.root().get("/v1/projects").await;
    assert_eq!(projects.each("name"), ["default"]);
    assert_eq!(world.root().get("/v1/keys").await.each("role"), ["root"]);
}

#[tokio::test]
async fn a_root_key_that_an_operator_set_is_valid_and_never_printed() {
    let world = World::untouched().await;
    for _ in 0..2 {
        assert_eq!(world.prepare(Some(GIVEN)).await.unwrap(), None);
    }
    let listed = world.with(GIVEN).get("/v1/keys").await;
    assert_eq!(listed.each("name"), ["set by the operator"]);
}

#[tokio::test]
async fn a_changed_root_key_is_valid_beside_the_one_before_until_that_is_revoked() {
    let world = World::untouched().await;
    world.prepare(Some(GIVEN)).await.unwrap();
    let world = world.restart().await;
    assert_eq!(world.prepare(Some(ANOTHER)).await.unwrap(), None);
    assert_eq!(world.with(GIVEN).get("/v1/projects").await.status, 200);
    let keys = world.with(ANOTHER).get("/v1/keys").await;
    let before = format!("/v1/keys/{}", keys.each("id")[1]);
    assert_eq!(world.with(ANOTHER).delete(&before).await.status, 204);
    assert_eq!(world.with(GIVEN).get("/v1/projects").await.status, 401);

    let world = world.restart().await;
    assert_eq!(world.prepare(Some(GIVEN)).await.unwrap(), None);
    assert_eq!(
        world.with(GIVEN).get("/v1/projects").await.status,
        401,
        "what was revoked stays revoked"
    );
    assert_eq!(world.with(ANOTHER).get("/v1/projects").await.status, 200);
}

#[tokio::test]
async fn the_text_of_a_lesser_key_is_refused_as_root_key() {
    let world = World::start().await;
    for body in [
        json!({ "role": "project" }),
        json!({ "role": "root", "read_only": true }),
    ] {
        let text = world.key(body).await.text("key");
        let refused = world.prepare(Some(&text)).await.unwrap_err();
        assert!(matches!(
            refused,
            Error::Conflict {
                code: "not_a_root_key",
                ..
            }
        ));
    }
}

#[tokio::test]
async fn the_command_line_makes_keys_where_no_server_has_ever_been_started() {
    let world = World::untouched().await;
    let made = world
        .engine
        .create_key_offline(new_key(Role::Root))
        .await
        .unwrap();
    let key = made.text.expose();
    assert_eq!(
        world.prepare(None).await.unwrap(),
        None,
        "there is a root key already"
    );
    assert_eq!(
        world.with(key).get("/v1/projects").await.each("name"),
        ["default"]
    );
    let row = world.with(key).get("/v1/audit").await.body["data"][0].clone();
    assert_eq!(
        (&row["action"], &row["key"]),
        (&json!("key.created"), &json!(null))
    );
}

#[tokio::test]
async fn the_command_line_keeps_the_rules_of_keys() {
    let world = World::start().await;
    world.project("other").await;
    let tenant = world.tenant("other", "acme").await;
    let of_other = |tenant: Option<&str>| NewKey {
        project: Some("other".into()),
        tenant: tenant.map(str::to_owned),
        ..new_key(Role::Tenant)
    };
    for named in ["acme", &*tenant] {
        let made = world
            .engine
            .create_key_offline(of_other(Some(named)))
            .await
            .unwrap();
        let key = made.text.expose();
        let path = format!("/v1/endpoints?tenant={tenant}");
        assert_eq!(world.with(key).get(&path).await.status, 200);
    }
    let refused = |new: NewKey| async { world.engine.create_key_offline(new).await.unwrap_err() };
    assert!(matches!(refused(of_other(None)).await, Error::TenantRequired));
    assert!(matches!(
        refused(of_other(Some("nobody"))).await,
        Error::NotFound("tenant")
    ));
    let nowhere = NewKey {
        project: Some("nowhere".into()),
        ..new_key(Role::Project)
    };
    assert!(matches!(refused(nowhere).await, Error::NotFound("project")));
    let past = NewKey {
        expires_at: Some(Timestamp::EPOCH),
        ..new_key(Role::Root)
    };
    assert!(matches!(refused(past).await, Error::Invalid(_)));
}
