//! Master keys rotated: what is sealed with which, at every step, and what a start without one of them says.

use crate::world::{Scene, URL, still};
use std::collections::BTreeMap;
use std::sync::Arc;
use stentor_domain::id::EndpointId;
use stentor_domain::limits::RESEALED_ROWS_MAX;
use stentor_store::master_keys::{Resealed, SealedWith, sealed_with};
use stentor_store::{Database, MasterKey, MasterKeyId, MasterKeys, Options, Purpose, Store, StoreError};
use stentor_testkit::{EndpointFields, SeededChance, World};

/// Each with a secret and a set of headers: more rows than one step writes, fewer than two do.
const ENDPOINTS: usize = RESEALED_ROWS_MAX as usize * 3 / 4;
const ENDPOINTS_OF_TENANT: usize = 50;

/// The key that worlds begin with.
fn old() -> MasterKey {
    MasterKey::new([7; 32])
}

fn new() -> MasterKey {
    MasterKey::new([8; 32])
}

fn new_then_old() -> MasterKeys {
    MasterKeys::new(new(), vec![old()])
}

/// Endpoints with secrets and custom headers.
async fn crowd() -> World {
    let world = World::new().await;
    for n in 0..ENDPOINTS {
        let tenant = format!("tenant-{}", n / ENDPOINTS_OF_TENANT);
        if n % ENDPOINTS_OF_TENANT == 0 {
            world.tenant(&tenant).await;
        }
        with_headers(&world, &tenant).await;
    }
    world
}

async fn with_headers(world: &World, tenant: &str) -> EndpointId {
    let fields = EndpointFields {
        custom_headers: Some(vec![("Authorization".into(), "Bearer of good news".into())]),
        ..EndpointFields::default()
    };
    world.endpoint_with(tenant, URL, fields).await
}

/// The secrets and headers of all endpoints, as sending reads them.
fn opened(world: &World) -> BTreeMap<i64, String> {
    let config = world.store.config();
    let endpoints = world.database().texts("SELECT CAST(n AS TEXT) FROM endpoints");
    let endpoints = endpoints.iter().map(|n| n.parse().unwrap());
    let opened = endpoints.map(|n: i64| {
        let found = config.endpoint(n).unwrap();
        let secrets = found.secrets.iter().map(|one| one.secret.expose().to_owned());
        let headers = found.endpoint.settings.custom_headers.pairs();
        (n, format!("{:?} {headers:?}", secrets.collect::<Vec<_>>()))
    });
    opened.collect()
}

async fn seen(world: &World) -> SealedWith {
    sealed_with(&world.database().location()).await.unwrap()
}

async fn open_with(database: Database, keys: MasterKeys) -> Result<Store, StoreError> {
    let options = Options {
        database,
        purpose: Purpose::Run,
        master: keys,
        clock: still(),
        chance: Arc::new(SeededChance::default()),
    };
    Store::open(options).await.map(|(store, _fresh)| store)
}

/// A start with these keys names this one as missing.
async fn assert_misses(database: Database, keys: MasterKeys, missing: MasterKeyId) {
    match open_with(database, keys).await {
        Err(StoreError::Unavailable(text)) => {
            assert!(
                text.contains(&format!("needs key {missing}, and there is")),
                "{text}"
            );
        }
        other => panic!("not refused: {:?}", other.map(drop)),
    }
}

#[tokio::test]
async fn a_rotation_is_killed_between_its_steps_and_goes_on_until_the_old_key_opens_nothing() {
    let world = crowd().await;
    let (before, total) = (opened(&world), 2 * ENDPOINTS);
    world.store.use_master_keys(new_then_old()).await.unwrap();
    assert_eq!(world.store.reseal().await.unwrap(), Resealed::Seals(new().id()));
    let world = world.kill_and_restart().await;
    let step = RESEALED_ROWS_MAX as usize;
    assert_eq!(
        world.store.reseal().await.unwrap(),
        Resealed::Rows {
            rows: step,
            more: true
        }
    );
    let middle = seen(&world).await;
    assert_eq!(middle.sealing, Some(new().id()));
    assert_eq!(
        (middle.count(new().id()), middle.count(old().id())),
        (step as u64, (total - step) as u64)
    );

    let world = world.kill_and_restart().await;
    assert_eq!(opened(&world), before);
    assert_eq!(
        world.store.reseal().await.unwrap(),
        Resealed::Rows {
            rows: total - step,
            more: false
        }
    );
    assert_eq!(world.store.reseal().await.unwrap(), Resealed::Nothing);
    assert_eq!(seen(&world).await.values, [(new().id(), total as u64)]);
    world
        .store
        .use_master_keys(MasterKeys::new(new(), vec![]))
        .await
        .unwrap();
    let world = world.kill_and_restart().await;
    assert_eq!(opened(&world), before);

    let database = world.leave_database().await;
    assert_misses(database.location(), MasterKeys::new(old(), vec![]), new().id()).await;
}

#[tokio::test]
async fn the_background_work_rotates_by_itself_and_the_audit_log_tells() {
    let mut world = crowd().await;
    world.store.use_master_keys(new_then_old()).await.unwrap();
    world.settle().await;
    assert_eq!(
        seen(&world).await.needed().into_iter().collect::<Vec<_>>(),
        [new().id()]
    );
    let rotated = world
        .database()
        .texts("SELECT object FROM audit WHERE action = 'master_key.rotated'");
    assert_eq!(rotated, [new().id().to_string()]);
    assert_eq!(world.tick_jobs().await, 0, "and comes to rest");
}

#[tokio::test]
async fn what_is_sealed_from_the_first_step_on_is_sealed_with_the_new_key() {
    let scene = Scene::new().await;
    let (world, store) = (&scene.world, scene.store());
    store.use_master_keys(new_then_old()).await.unwrap();
    with_headers(world, "acme").await;
    assert_eq!(
        seen(world).await.values,
        [(old().id(), 3)],
        "nothing seals yet but the old one"
    );

    store.reseal().await.unwrap();
    with_headers(world, "acme").await;
    world.rotate(scene.endpoint, 3_600).await;
    let seen = seen(world).await;
    assert_eq!((seen.count(old().id()), seen.count(new().id())), (3, 3));
}

#[tokio::test]
async fn a_key_that_is_needed_is_not_forgotten_whatever_the_list_says() {
    let scene = Scene::new().await;
    let store = scene.store();
    store.use_master_keys(new_then_old()).await.unwrap();
    store.reseal().await.unwrap();
    with_headers(&scene.world, "acme").await;

    let refused = store
        .use_master_keys(MasterKeys::new(new(), vec![]))
        .await
        .unwrap_err();
    assert!(
        refused.to_string().contains(&format!("needs key {}", old().id())),
        "{refused}"
    );
    store.endpoint(scene.endpoint).await.unwrap().unwrap();
    scene.world.rotate(scene.endpoint, 3_600).await;

    let database = scene.world.leave_database().await;
    assert_misses(database.location(), MasterKeys::new(new(), vec![]), old().id()).await;
    assert_misses(database.location(), MasterKeys::new(old(), vec![]), new().id()).await;
    let store = open_with(database.location(), new_then_old()).await.unwrap();
    assert!(matches!(
        store.reseal().await.unwrap(),
        Resealed::Rows { more: false, .. }
    ));
}

#[tokio::test]
async fn a_new_key_that_seals_nothing_yet_may_be_taken_back() {
    let scene = Scene::new().await;
    scene.store().use_master_keys(new_then_old()).await.unwrap();
    let database = scene.world.leave_database().await;
    let store = open_with(database.location(), MasterKeys::new(old(), vec![])).await;
    assert_eq!(store.unwrap().reseal().await.unwrap(), Resealed::Nothing);
}

#[tokio::test]
async fn nothing_is_sealed_with_a_key_that_another_node_does_not_know() {
    let scene = Scene::new().await;
    let (database, store) = (scene.world.database(), scene.store());
    // Its last beat is not over for a long time yet.
    database.execute(
        "INSERT INTO nodes (epoch, number, name, started_at, beat_at, master_keys)
         VALUES (1, 77, 'the other one', 0, 9000000000000000000, '1,2')",
    );
    store.use_master_keys(new_then_old()).await.unwrap();
    let awaits = Resealed::Awaits(vec!["the other one".into()]);
    assert_eq!(store.reseal().await.unwrap(), awaits);
    assert_eq!(store.reseal().await.unwrap(), awaits);
    assert_eq!(seen(&scene.world).await.sealing, Some(old().id()));
    assert_eq!(seen(&scene.world).await.unaware_of(new().id()), ["the other one"]);

    database.execute(
        "UPDATE nodes SET master_keys = (SELECT master_keys FROM nodes WHERE epoch <> 1) WHERE epoch = 1",
    );
    assert_eq!(store.reseal().await.unwrap(), Resealed::Seals(new().id()));
}

#[tokio::test]
async fn of_several_that_begin_at_once_one_does_and_all_go_on() {
    let scene = Scene::new().await;
    let store = scene.store();
    // Each on a connection of its own, which is there already.
    let learn = || store.use_master_keys(new_then_old());
    let learnt: [_; 4] = tokio::join!(learn(), learn(), learn(), learn()).into();
    assert!(learnt.iter().all(Result::is_ok));
    let steps = tokio::join!(store.reseal(), store.reseal(), store.reseal(), store.reseal());
    let steps: [_; 4] = steps.into();
    let began = Resealed::Seals(new().id());
    let begun = steps.iter().filter(|step| *step.as_ref().unwrap() == began);
    assert_eq!(begun.count(), 1, "{steps:?}");
    while store.reseal().await.unwrap() != Resealed::Nothing {}
    let audited = "SELECT count(*) FROM audit WHERE action = 'master_key.rotated'";
    assert_eq!(scene.number(audited), 1);
    assert_eq!(seen(&scene.world).await.values, [(new().id(), 1)]);
}

#[tokio::test]
async fn what_was_given_out_before_a_rotation_is_known_again_as_long_as_the_old_key_is() {
    let scene = Scene::new().await;
    let store = scene.store();
    let cursors = store.authenticator("cursors");
    let before = cursors.tag(b"seven");
    store.use_master_keys(new_then_old()).await.unwrap();
    assert_ne!(cursors.tag(b"seven"), before);
    assert!(cursors.knows(b"seven", &before));
    while store.reseal().await.unwrap() != Resealed::Nothing {}
    store
        .use_master_keys(MasterKeys::new(new(), vec![]))
        .await
        .unwrap();
    assert!(!cursors.knows(b"seven", &before));
    assert!(cursors.knows(b"seven", &cursors.tag(b"seven")));
}
