//! Versions that have moved on, producers' own ids, idempotency keys.

use crate::world::{Scene, URL};
use std::cell::RefCell;
use std::collections::HashSet;
use std::time::Duration;
use stentor_domain::id::EndpointId;
use stentor_engine::Error;
use stentor_engine::publish::{Published, Publishing};
use stentor_store::hot::{Accept, Accepted, EventKey, KeptAnswer, NewEvent};
use stentor_testkit::{Publication, World, order_paid};

/// Two requests with the same body hash are the same request.
fn once(scene: &Scene, body: u8) -> Option<KeptAnswer> {
    Some(KeptAnswer {
        hash: [1; 16],
        body_hash: [body; 16],
        status: 202,
        answer: format!("answer {body}").into(),
        expires_at: scene.world.now().plus(Duration::from_secs(60)),
    })
}

async fn accept_once(scene: &Scene, events: Vec<NewEvent>, body: u8) -> Accepted {
    let accept = Accept {
        events,
        once: once(scene, body),
        known: vec![],
    };
    scene.store().accept_events(accept).await.unwrap()
}

fn with_key(event: NewEvent, id: u8, body: u8) -> NewEvent {
    NewEvent {
        event_id: Some(EventKey {
            text: id.to_string(),
            hash: [id; 16],
            body_hash: [body; 16],
        }),
        ..event
    }
}

fn with_event_id(event_id: &str, payload: &str) -> Publication {
    Publication {
        event_id: Some(event_id.into()),
        ..order_paid("acme", payload)
    }
}

async fn reached(world: &World, event: stentor_domain::id::EventId) -> HashSet<EndpointId> {
    world
        .deliveries(event)
        .await
        .iter()
        .map(|one| one.endpoint)
        .collect()
}

#[tokio::test]
async fn what_was_matched_against_an_old_configuration_is_refused() {
    let scene = Scene::new().await;
    let event = scene.event("{}");
    scene.world.pause(scene.endpoint).await;
    assert!(matches!(scene.accept(vec![event]).await, Ok(Accepted::Stale)));
    let event = scene.event("{}");
    scene.world.delete_tenant("acme").await;
    assert!(matches!(scene.accept(vec![event]).await, Ok(Accepted::Stale)));
    assert_eq!(scene.number("SELECT count(*) FROM events"), 0);
}

#[tokio::test]
async fn no_event_misses_an_endpoint_that_was_there_before_it() {
    let scene = Scene::new().await;
    let world = &scene.world;
    let there = RefCell::new(HashSet::from([scene.endpoint]));
    let making = async {
        for n in 0..20 {
            let made = world.endpoint("acme", &format!("{URL}/{n}")).await;
            there.borrow_mut().insert(made);
        }
    };
    let publishing = async {
        let mut published = Vec::new();
        for n in 0..60 {
            let before = there.borrow().clone();
            published.push((before, world.publish("acme", &n.to_string()).await));
        }
        published
    };
    let ((), published) = tokio::join!(making, publishing);
    for (before, event) in published {
        assert!(reached(world, event).await.is_superset(&before));
    }
}

#[tokio::test]
async fn a_producers_own_id_is_accepted_once() {
    let mut scene = Scene::new().await;
    let world = &scene.world;
    let first = world.publish_all(vec![with_event_id("a", "1")]).await.unwrap();
    let batch = vec![
        with_event_id("a", "1"),
        with_event_id("b", "2"),
        with_event_id("b", "2"),
    ];
    let again = world.publish_all(batch).await.unwrap();

    assert_eq!(again[0].id, first[0].id);
    assert_eq!(again[1].id, again[2].id, "within one request, too");
    let existing: Vec<bool> = again.iter().map(|one| one.existing).collect();
    assert_eq!(existing, [true, false, true]);
    scene.world.settle().await;
    assert_eq!(scene.world.receivers.take().len(), 2);
}

#[tokio::test]
async fn an_id_with_other_content_refuses_the_whole_request() {
    let scene = Scene::new().await;
    let world = &scene.world;
    world.publish_all(vec![with_event_id("a", "1")]).await.unwrap();
    for batch in [
        vec![order_paid("acme", "new"), with_event_id("a", "2")],
        vec![with_event_id("b", "1"), with_event_id("b", "2")],
    ] {
        let refused = world.publish_all(batch).await;
        assert!(matches!(
            refused,
            Err(Error::Conflict {
                code: "event_id_conflict",
                ..
            })
        ));
    }
    assert_eq!(scene.number("SELECT count(*) FROM events"), 1);
    world.publish_all(vec![with_event_id("b", "3")]).await.unwrap();
}

#[tokio::test]
async fn two_requests_with_one_id_at_the_same_time_are_one_event() {
    let scene = Scene::new().await;
    let world = &scene.world;
    let publishing = (0..50).map(|_| world.publish_all(vec![with_event_id("a", "1")]));
    let answers = futures_util::future::join_all(publishing).await;
    let ids: HashSet<_> = answers.into_iter().map(|answer| answer.unwrap()[0].id).collect();
    assert_eq!(ids.len(), 1);
    assert_eq!(scene.number("SELECT count(*) FROM events"), 1);
}

#[tokio::test]
async fn a_repeated_request_is_answered_as_the_first_was_until_its_key_is_forgotten() {
    let scene = Scene::new().await;
    let first = accept_once(&scene, vec![scene.event("1")], 1).await;
    assert!(matches!(first, Accepted::Written { .. }));
    let again = accept_once(&scene, vec![scene.event("1")], 1).await;
    assert!(matches!(again, Accepted::Repeated { status: 202, answer } if answer == "answer 1"));
    let other = accept_once(&scene, vec![scene.event("2")], 2).await;
    assert!(matches!(other, Accepted::OnceConflict));
    assert_eq!(scene.number("SELECT count(*) FROM events"), 1);

    scene.world.clock.step(Duration::from_secs(60));
    let anew = accept_once(&scene, vec![scene.event("2")], 2).await;
    assert!(matches!(anew, Accepted::Written { .. }));
    scene.world.clock.step(Duration::from_secs(60));
    while scene.world.tick_jobs().await > 0 {}
    assert_eq!(scene.number("SELECT count(*) FROM idempotency_keys"), 0);
}

#[tokio::test]
async fn what_is_refused_keeps_no_idempotency_key() {
    let scene = Scene::new().await;
    scene
        .accept(vec![with_key(scene.event("1"), 1, 1)])
        .await
        .unwrap();
    let refused = accept_once(&scene, vec![with_key(scene.event("2"), 1, 2)], 1).await;
    assert!(matches!(refused, Accepted::EventIdConflict(0)));
    let mended = accept_once(&scene, vec![with_key(scene.event("2"), 2, 2)], 2).await;
    assert!(matches!(mended, Accepted::Written { .. }));
}

#[tokio::test]
async fn a_repeated_request_makes_nothing_twice_even_where_some_of_its_events_were_there_before_it() {
    let scene = Scene::new().await;
    let world = &scene.world;
    world.publish_all(vec![with_event_id("a", "1")]).await.unwrap();
    let request = || {
        vec![
            with_event_id("a", "1"),
            order_paid("acme", "2"),
            with_event_id("b", "3"),
            with_event_id("b", "3"),
        ]
    };
    let ids = |published: &[Published]| {
        published
            .iter()
            .map(|one| one.id.to_string())
            .collect::<Vec<_>>()
            .join(" ")
    };
    let publish = async || {
        let keep = |published: &[Published]| {
            let answer = ids(published).into();
            Ok(once(&scene, 1).map(|once| KeptAnswer { answer, ..once }))
        };
        world
            .engine
            .publish(&world.root, request(), |_| None, keep)
            .await
            .unwrap()
    };
    let Publishing::Accepted(first) = publish().await else {
        panic!("a first request")
    };
    let Publishing::Repeated { answer, .. } = publish().await else {
        panic!("a repeated request")
    };
    assert_eq!(answer, ids(&first));
    assert_eq!(scene.number("SELECT count(*) FROM events"), 3);
}

/// One writer takes everything in the order in which it was asked for.
mod sqlite {
    use super::*;
    use std::sync::mpsc;

    #[tokio::test]
    async fn an_event_reaches_an_endpoint_that_was_made_between_its_match_and_its_commit() {
        let scene = Scene::new().await;
        let (go, gone) = mpsc::channel();
        let busy = scene
            .store()
            .update_endpoint(scene.by(), scene.endpoint, None, move |_, _| {
                gone.recv().unwrap();
                Ok(())
            });
        // Each is polled once, in this order: the event is matched while the endpoint waits for the writer.
        let (busy, made, event, ()) = tokio::join!(
            busy,
            scene.world.endpoint("acme", "https://receiver.example/new"),
            scene.world.publish("acme", "{}"),
            async { go.send(()).unwrap() }
        );
        busy.unwrap();
        assert_eq!(reached(&scene.world, event).await, [scene.endpoint, made].into());
    }
}
