//! Cursors: each is good for its own list and for whom it was given, whenever and wherever, and cannot be made by anybody.

use crate::world::{Asker, World};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::json;
use sha2::{Digest as _, Sha256};
use stentor_store::Handover;

/// The cursor of the second page of a list with one item a page.
async fn second_page(asker: &Asker<'_>, list: &str) -> String {
    let first = asker.get(&with(list, "limit=1")).await;
    first.expect(200);
    let Some(link) = first.headers.get("link") else {
        return first.text("next_cursor");
    };
    let (_, cursor) = link.to_str().unwrap().split_once("cursor=").unwrap();
    cursor.split_once('>').unwrap().0.to_owned()
}

fn with(list: &str, parameter: &str) -> String {
    let separator = if list.contains('?') { '&' } else { '?' };
    format!("{list}{separator}{parameter}")
}

async fn ask(asker: &Asker<'_>, list: &str, cursor: &str) -> (u16, String) {
    let answer = asker.get(&with(list, &format!("cursor={cursor}"))).await;
    let (status, code) = answer.verdict();
    (status, code.to_owned())
}

async fn is_taken(asker: &Asker<'_>, list: &str, cursor: &str) -> bool {
    match ask(asker, list, cursor).await {
        (200, _) => true,
        (status, code) => {
            assert_eq!((status, &*code), (400, "bad_cursor"), "{list} {cursor}");
            false
        }
    }
}

/// Two endpoints, two events and their deliveries for a tenant of `default`.
async fn fill(world: &mut World, tenant: &str) {
    for name in ["one", "two"] {
        let body = json!({"name": name, "url": "https://example.com/hook", "tenant": tenant});
        world.root().post("/v1/endpoints", body).await.expect(201);
        let body = json!({"tenant": tenant, "type": "order.paid", "payload": 1});
        world.root().post("/v1/events", body).await.expect(202);
        while !matches!(world.fresh.next().await.unwrap(), Handover::Claimed(_)) {}
    }
}

#[tokio::test]
async fn a_cursor_is_good_for_its_own_list_alone() {
    let mut world = World::start().await;
    for tenant in ["acme", "other"] {
        world.tenant_key(tenant).await;
        fill(&mut world, tenant).await;
    }
    world.project("shop").await;
    for name in ["user.made", "user.gone"] {
        let made = world
            .root()
            .post("/v1/event-types", json!({"name": name, "description": name}))
            .await;
        made.expect(201);
    }
    let lists = [
        "/v1/projects",
        "/v1/keys",
        "/v1/audit",
        "/v1/tenants",
        "/v1/event-types",
        "/v1/endpoints?tenant=acme",
        "/v1/events",
        "/v1/deliveries",
        // For one tenant it is another list than for the whole project.
        "/v1/events?tenant=acme",
        "/v1/deliveries?tenant=acme",
        "/v1/endpoints?tenant=other",
        "/v1/events?tenant=other",
        "/v1/deliveries?tenant=other",
    ];
    for of in lists {
        let cursor = second_page(&world.root(), of).await;
        for list in lists {
            assert_eq!(
                is_taken(&world.root(), list, &cursor).await,
                list == of,
                "{of} {list}"
            );
        }
    }
    // A filter may change from page to page, and so may the way in which the same tenant is named.
    let cursor = second_page(&world.root(), "/v1/deliveries?tenant=acme").await;
    assert!(
        is_taken(
            &world.root(),
            "/v1/deliveries?tenant=acme&status=pending",
            &cursor
        )
        .await
    );
    let named = world.root().and("x-tenant", "acme");
    assert!(is_taken(&named, "/v1/deliveries", &cursor).await);
}

#[tokio::test]
async fn a_cursor_of_another_tenant_or_project_is_refused() {
    let mut world = World::start().await;
    let (acme, other) = (world.tenant_key("acme").await, world.tenant_key("other").await);
    for tenant in ["acme", "other"] {
        fill(&mut world, tenant).await;
    }
    for list in ["/v1/endpoints", "/v1/events", "/v1/deliveries"] {
        let cursor = second_page(&world.with(&acme), list).await;
        assert!(is_taken(&world.with(&acme), list, &cursor).await);
        assert!(!is_taken(&world.with(&other), list, &cursor).await, "{list}");
    }
    world.project("shop").await;
    for uid in ["a", "b"] {
        world.tenant("shop", uid).await;
    }
    for list in ["/v1/tenants", "/v1/audit", "/v1/keys"] {
        let cursor = second_page(&world.root(), &with(list, "project=default")).await;
        for (project, taken) in [("default", true), ("shop", false)] {
            let list = with(list, &format!("project={project}"));
            assert_eq!(is_taken(&world.root(), &list, &cursor).await, taken, "{list}");
        }
    }
    // All projects together are yet another list, where there is one.
    for list in ["/v1/audit", "/v1/keys"] {
        let cursor = second_page(&world.root(), list).await;
        assert!(!is_taken(&world.root(), &with(list, "project=default"), &cursor).await);
    }
}

#[tokio::test]
async fn a_cursor_with_any_bit_or_character_altered_is_refused() {
    let mut world = World::start().await;
    let key = world.tenant_key("acme").await;
    fill(&mut world, "acme").await;
    let asker = world.with(&key);
    let list = "/v1/deliveries";
    let cursor = second_page(&asker, list).await;
    let bytes = URL_SAFE_NO_PAD.decode(&cursor).unwrap();
    for bit in 0..bytes.len() * 8 {
        let mut altered = bytes.clone();
        altered[bit / 8] ^= 1 << (bit % 8);
        let altered = URL_SAFE_NO_PAD.encode(altered);
        assert!(!is_taken(&asker, list, &altered).await, "bit {bit}");
    }
    for length in 0..bytes.len() {
        let cut = URL_SAFE_NO_PAD.encode(&bytes[..length]);
        assert!(!is_taken(&asker, list, &cut).await, "{length} bytes");
    }
    for at in 0..=cursor.len() {
        let (front, back) = cursor.split_at(at);
        for more in ["A", "=", "%20", "%00", "%C3%BC"] {
            let longer = format!("{front}{more}{back}");
            assert!(!is_taken(&asker, list, &longer).await, "{longer}");
        }
        if let Some(rest) = back.get(1..) {
            assert!(!is_taken(&asker, list, &format!("{front}{rest}")).await);
        }
    }
    assert!(is_taken(&asker, list, &cursor).await);
}

#[tokio::test]
async fn a_cursor_that_a_reader_of_the_source_makes_is_refused() {
    let mut world = World::start().await;
    let key = world.tenant_key("acme").await;
    fill(&mut world, "acme").await;
    let cursor = second_page(&world.with(&key), "/v1/deliveries").await;
    let item = &URL_SAFE_NO_PAD.decode(cursor).unwrap()[..8];
    // A check without a key in it: of the item alone, and of all that is known of it.
    for known in [
        [b"cursor", item].concat(),
        [item, b"v1 deliveries of acme"].concat(),
    ] {
        let check = Sha256::digest(known);
        for length in [4, 8, 16, 32] {
            let forged = URL_SAFE_NO_PAD.encode([item, &check[..length]].concat());
            assert!(!is_taken(&world.with(&key), "/v1/deliveries", &forged).await);
        }
    }
}

#[tokio::test]
async fn a_cursor_is_good_after_a_restart() {
    let mut world = World::start().await;
    let key = world.tenant_key("acme").await;
    fill(&mut world, "acme").await;
    let list = "/v1/events";
    let all = world.with(&key).get(list).await;
    let cursor = second_page(&world.with(&key), list).await;
    let world = world.restart().await;
    let page = world
        .with(&key)
        .get(&with(list, &format!("cursor={cursor}")))
        .await;
    page.expect(200);
    assert_eq!(page.each("id"), all.each("id")[1..]);
    assert!(page.body["next_cursor"].is_null());
}
