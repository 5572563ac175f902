//! Lists: filters, scopes, pages.

use super::world::{World, endpoint, only, project, tenant};
use crate::deliveries::DeliveryFilter;
use crate::hot::Next;
use crate::period::Period;
use std::time::Duration;
use stentor_domain::attempt::Trigger;
use stentor_domain::delivery::{Reason, State};
use stentor_domain::id::{EndpointId, Id};
use stentor_domain::key::Scope;
use stentor_domain::name::EventTypeName;

async fn keys(world: &World, scope: Scope, filter: DeliveryFilter) -> Vec<i64> {
    let page = world.store.deliveries(scope, filter, None, 100).await.unwrap();
    page.iter().map(|delivery| delivery.id.n()).collect()
}

#[tokio::test]
async fn a_list_is_both_tables_newest_first() {
    let world = World::new().await;
    let done = world.finished(111, 200, Next::Delivered).await;
    let waits = world.publish(111, "order.paid").await;
    let done_too = world.finished(112, 200, Next::Delivered).await;
    let expected = [done_too, waits, done].map(|published| published.delivery.n());
    for scope in [Scope::Root, project(1), only(11)] {
        assert_eq!(keys(&world, scope, DeliveryFilter::default()).await, expected);
    }
}

#[tokio::test]
async fn a_page_stays_good_while_deliveries_arrive_and_end() {
    let world = World::new().await;
    let mut expected = Vec::new();
    for _ in 0..7 {
        expected.insert(0, world.publish(111, "order.paid").await.delivery.n());
    }
    let mut seen = Vec::new();
    let mut before = None;
    loop {
        let page = world
            .store
            .deliveries(only(11), DeliveryFilter::default(), before, 2)
            .await
            .unwrap();
        let Some(last) = page.last() else { break };
        before = Some(last.id.n());
        seen.extend(page.iter().map(|delivery| delivery.id.n()));
        world.publish(111, "order.paid").await;
        let claimed = world.claim(111).await;
        // Those that are shown already, those to come, and new ones move to the other table.
        for (at, claimed) in claimed.iter().enumerate() {
            if at % 2 == 0 {
                world.answer(claimed, 200, Next::Delivered).await;
            } else {
                world.release(claimed).await;
            }
        }
    }
    assert_eq!(seen, expected);
}

#[tokio::test]
async fn nobody_sees_the_deliveries_of_others() {
    let world = World::new().await;
    let own = world.finished(111, 200, Next::Delivered).await;
    let neighbour = world.publish(121, "order.paid").await;
    let foreign = world.finished(211, 200, Next::Delivered).await;
    let all = || DeliveryFilter::default();
    assert_eq!(keys(&world, only(11), all()).await, [own.delivery.n()]);
    assert_eq!(
        keys(&world, project(1), all()).await,
        [neighbour.delivery.n(), own.delivery.n()]
    );
    assert_eq!(keys(&world, project(2), all()).await, [foreign.delivery.n()]);
    for published in [neighbour, foreign] {
        let by_endpoint = DeliveryFilter {
            endpoint: Some(endpoint(published.endpoint)),
            ..all()
        };
        let by_event = DeliveryFilter {
            event: Some(published.event),
            ..all()
        };
        assert!(keys(&world, only(11), by_endpoint).await.is_empty());
        assert!(keys(&world, only(11), by_event).await.is_empty());
        let found = world.store.delivery(only(11), published.delivery).await.unwrap();
        assert_eq!(found, None);
    }
    let guessed = DeliveryFilter {
        endpoint: Some(EndpointId(Id { n: 111, tag: 5 })),
        ..all()
    };
    assert!(keys(&world, only(11), guessed).await.is_empty());
}

#[tokio::test]
async fn a_tenant_sees_what_went_to_endpoints_that_are_deleted_now() {
    let world = World::new().await;
    let done = world.finished(111, 200, Next::Delivered).await;
    world.delete(111).await;
    assert_eq!(
        keys(&world, only(11), DeliveryFilter::default()).await,
        [done.delivery.n()]
    );
}

#[tokio::test]
async fn every_filter_narrows_both_tables() {
    let world = World::new().await;
    let done = world.finished(111, 200, Next::Delivered).await;
    world.clock.step(Duration::from_secs(10));
    let begin = world.store.clock().now();
    let other_type = world.publish(112, "user.made").await;
    let tested = world.publish_as(112, "webhook.test", Trigger::Test).await;
    let filter = DeliveryFilter::default;
    let event_type = |name: &str| DeliveryFilter {
        event_type: Some(EventTypeName::parse(name).unwrap()),
        ..filter()
    };
    let period = |since, until| DeliveryFilter {
        period: Period { since, until },
        ..filter()
    };
    let by_endpoint = |n| DeliveryFilter {
        endpoint: Some(endpoint(n)),
        ..filter()
    };
    let by_event = |event| DeliveryFilter {
        event: Some(event),
        ..filter()
    };
    let (done, done_event) = (done.delivery.n(), done.event);
    let later = [tested.delivery.n(), other_type.delivery.n()];
    for scope in [only(11), project(1), Scope::Root] {
        assert_eq!(keys(&world, scope, by_endpoint(111)).await, [done]);
        assert_eq!(keys(&world, scope, by_endpoint(112)).await, later);
        assert_eq!(keys(&world, scope, by_event(done_event)).await, [done]);
        assert_eq!(keys(&world, scope, by_event(tested.event)).await, [later[0]]);
        assert_eq!(keys(&world, scope, event_type("order.paid")).await, [done]);
        assert_eq!(keys(&world, scope, event_type("user.made")).await, [later[1]]);
        assert_eq!(keys(&world, scope, period(Some(begin), None)).await, later);
        assert_eq!(keys(&world, scope, period(None, Some(begin))).await, [done]);
        assert!(
            keys(&world, scope, period(Some(begin), Some(begin)))
                .await
                .is_empty()
        );
        let both = DeliveryFilter {
            endpoint: Some(endpoint(112)),
            ..by_event(done_event)
        };
        assert!(keys(&world, scope, both).await.is_empty());
    }
}

#[tokio::test]
async fn states_are_derived_from_endpoint_and_tenant_and_can_be_asked_for() {
    let world = World::new().await;
    let delivered = world.finished(111, 200, Next::Delivered).await;
    let exhausted = world
        .finished(111, 500, Next::Exhausted(Reason::ScheduleEnded))
        .await;
    let of_111 = world.publish(111, "order.paid").await;
    let test = world.publish_as(111, "webhook.test", Trigger::Test).await;
    let of_112 = world.publish(112, "order.paid").await;
    let of_121 = world.publish(121, "order.paid").await;
    let of_211 = world.publish(211, "order.paid").await;
    let states = async |state| {
        let filter = DeliveryFilter {
            states: vec![state],
            ..DeliveryFilter::default()
        };
        keys(&world, Scope::Root, filter).await
    };
    let seen = async |published: super::world::Published| {
        let delivery = world.see(published.delivery).await;
        let next = delivery.next_attempt_at.is_some();
        (
            delivery.state,
            delivery.reason,
            next,
            delivery.finished_at.is_some(),
        )
    };
    assert_eq!(seen(of_111).await, (State::Pending, None, true, false));

    world.pause(111).await;
    world.disable(112).await;
    world.delete(121).await;
    world
        .set("UPDATE tenants SET deleted_at = 5 WHERE n = ?1", tenant(21).n())
        .await;
    let held = |reason| (State::Held, Some(reason), false, false);
    let cancelled = |reason| (State::Cancelled, Some(reason), false, true);
    assert_eq!(seen(of_111).await, held(Reason::EndpointPaused));
    assert_eq!(seen(test).await, (State::Pending, None, true, false));
    assert_eq!(seen(of_112).await, held(Reason::EndpointDisabled));
    assert_eq!(seen(of_121).await, cancelled(Reason::EndpointDeleted));
    world
        .set("UPDATE endpoints SET deleted_at = 5 WHERE n = ?1", 211)
        .await;
    assert_eq!(seen(of_211).await, cancelled(Reason::TenantDeleted));

    assert_eq!(states(State::Pending).await, [test.delivery.n()]);
    assert_eq!(
        states(State::Held).await,
        [of_112.delivery.n(), of_111.delivery.n()]
    );
    assert_eq!(
        states(State::Cancelled).await,
        [of_211.delivery.n(), of_121.delivery.n()]
    );
    assert_eq!(states(State::Delivered).await, [delivered.delivery.n()]);
    assert_eq!(states(State::Exhausted).await, [exhausted.delivery.n()]);
}

/// The statuses that a list tells, newest first, which are those that looking at one delivery tells.
async fn statuses(world: &World) -> Vec<Option<u16>> {
    let filter = DeliveryFilter::default();
    let page = world.store.deliveries(only(11), filter, None, 100).await.unwrap();
    let mut statuses = Vec::new();
    for delivery in page {
        assert_eq!(world.see(delivery.id).await, delivery);
        statuses.push(delivery.last_status);
    }
    statuses
}

/// Records an answer after which the delivery waits.
async fn answer_and_wait(world: &World, status: u16) {
    let now = world.store.clock().now();
    let next = Next::Retry {
        due_at: now,
        failed: 1,
        first_at: Some(now),
    };
    world.answer(&world.claim(111).await[0], status, next).await;
}

#[tokio::test]
async fn the_status_of_the_latest_answer_is_told_wherever_the_delivery_is() {
    let world = World::new().await;
    let id = world.publish(111, "order.paid").await.delivery;
    assert_eq!(statuses(&world).await, [None]);
    answer_and_wait(&world, 503).await;
    assert_eq!(statuses(&world).await, [Some(503)]);
    // No answer came to the latest attempt, whatever the earlier ones were told.
    world.fail(&world.claim(111).await[0]).await;
    assert_eq!(statuses(&world).await, [None]);
    answer_and_wait(&world, 429).await;
    assert_eq!(statuses(&world).await, [Some(429)]);

    // Ended while it waits: there is no attempt inside its row.
    let by = world.by();
    world
        .store
        .cancel_delivery(by, Scope::Root, id, None)
        .await
        .unwrap();
    assert_eq!(statuses(&world).await, [Some(429)]);
    let retry = async || {
        let retried = world.store.retry_delivery(world.by(), Scope::Root, id, None);
        retried.await.unwrap();
    };
    retry().await;
    let exhausted = Next::Exhausted(Reason::ScheduleEnded);
    world.answer(&world.claim(111).await[0], 500, exhausted).await;
    assert_eq!(statuses(&world).await, [Some(500)]);
    retry().await;
    assert_eq!(statuses(&world).await, [Some(500)]);
    world
        .answer(&world.claim(111).await[0], 204, Next::Delivered)
        .await;
    assert_eq!(statuses(&world).await, [Some(204)]);

    // Another one's attempts are its own.
    world.publish(111, "order.paid").await;
    assert_eq!(statuses(&world).await, [None, Some(204)]);
}

#[tokio::test]
async fn a_set_of_states_is_all_that_are_in_one_of_them() {
    let world = World::new().await;
    let delivered = world.finished(111, 200, Next::Delivered).await.delivery.n();
    let exhausted = Next::Exhausted(Reason::ScheduleEnded);
    let exhausted = world.finished(111, 500, exhausted).await.delivery.n();
    let pending = world.publish(111, "order.paid").await.delivery.n();
    let held = world.publish(112, "order.paid").await.delivery.n();
    world.pause(112).await;
    let ended = world.publish(121, "order.paid").await.delivery.n();
    world.delete(121).await;
    let states = async |states: &[State]| {
        let filter = DeliveryFilter {
            states: states.to_vec(),
            ..DeliveryFilter::default()
        };
        keys(&world, project(1), filter).await
    };
    assert_eq!(states(&[State::Pending, State::Held]).await, [held, pending]);
    assert_eq!(
        states(&[State::Exhausted, State::Cancelled]).await,
        [ended, exhausted]
    );
    assert_eq!(states(&[State::Held, State::Delivered]).await, [held, delivered]);
    let all = [ended, held, pending, exhausted, delivered];
    assert_eq!(states(&State::ALL).await, all);
    assert_eq!(states(&[]).await, all);
}

#[tokio::test]
async fn tests_can_be_left_out_wherever_they_are() {
    let world = World::new().await;
    let real = world.publish(111, "order.paid").await.delivery.n();
    let claimed = &world.claim(111).await[0];
    let tested = world
        .publish_as(111, "webhook.test", Trigger::Test)
        .await
        .delivery
        .n();
    world
        .answer(&world.claim(111).await[0], 200, Next::Delivered)
        .await;
    let being_tested = world
        .publish_as(111, "webhook.test", Trigger::Test)
        .await
        .delivery
        .n();
    world.answer(claimed, 200, Next::Delivered).await;
    // The type alone makes no test.
    let namesake = world.publish(111, "webhook.test").await.delivery.n();
    for scope in [Scope::Root, project(1), only(11)] {
        for endpoint in [None, Some(endpoint(111))] {
            let listed = async |without_tests| {
                let filter = DeliveryFilter {
                    endpoint,
                    without_tests,
                    ..DeliveryFilter::default()
                };
                keys(&world, scope, filter).await
            };
            assert_eq!(listed(false).await, [namesake, being_tested, tested, real]);
            assert_eq!(listed(true).await, [namesake, real]);
        }
    }
}

#[tokio::test]
async fn pages_of_an_endpoint_neither_repeat_nor_skip_while_its_deliveries_come_end_and_are_reopened() {
    for limit in 1..=4 {
        let world = World::new().await;
        let mut expected = Vec::new();
        for n in 0..12 {
            let published = match n % 3 {
                0 => world.finished(111, 200, Next::Delivered).await,
                _ => world.publish(111, "order.paid").await,
            };
            expected.insert(0, published.delivery);
            world.publish(112, "order.paid").await;
        }
        let filter = || DeliveryFilter {
            endpoint: Some(endpoint(111)),
            states: State::ALL.to_vec(),
            without_tests: true,
            ..DeliveryFilter::default()
        };
        let (mut seen, mut before, mut turn) = (Vec::new(), None, 0);
        loop {
            let asked = world.store.deliveries(only(11), filter(), before, limit);
            let page = asked.await.unwrap();
            let Some(last) = page.last() else { break };
            before = Some(last.id.n());
            seen.extend(page.iter().map(|delivery| delivery.id));
            world.publish(111, "order.paid").await;
            world.publish_as(111, "webhook.test", Trigger::Test).await;
            for (at, claimed) in world.claim(111).await.iter().enumerate() {
                match (at + turn) % 3 {
                    0 => world.answer(claimed, 200, Next::Delivered).await,
                    1 => world.fail(claimed).await,
                    _ => world.release(claimed).await,
                }
            }
            // What has ended is reopened and what waits is cancelled, on both sides of the cursor.
            for (at, id) in expected.iter().enumerate().filter(|(at, _)| at % 4 == turn % 4) {
                let (by, id) = (world.by(), *id);
                if world.see(id).await.state.finished() {
                    world
                        .store
                        .retry_delivery(by, Scope::Root, id, None)
                        .await
                        .unwrap();
                } else if at % 2 == 0 {
                    world
                        .store
                        .cancel_delivery(by, Scope::Root, id, None)
                        .await
                        .unwrap();
                }
            }
            turn += 1;
        }
        assert_eq!(seen, expected, "{limit} a page");
    }
}
