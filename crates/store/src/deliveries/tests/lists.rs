//! Lists: filters, scopes, pages, and how they are found.

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

mod sqlite {
    use super::World;
    use crate::deliveries::list;

    /// Each way in reads the rows that are asked for and no others; `work` is read by its key alone.
    #[tokio::test]
    async fn lists_are_found_through_their_indexes() {
        let world = World::new().await;
        let connection = rusqlite::Connection::open(world.database.file()).unwrap();
        let plan = |sql: &str| -> String {
            let mut statement = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
            let rows = statement.query_map([rusqlite::types::Null; 14], |row| row.get::<_, String>(3));
            rows.unwrap().map(Result::unwrap).collect::<Vec<_>>().join("\n")
        };
        for (sql, steps) in [
            (
                list::OF_ENDPOINT,
                &["SEARCH p USING INDEX deliveries_of_endpoint (endpoint=? AND n>? AND n<?)"][..],
            ),
            (
                list::OF_EVENT,
                &["SEARCH p USING INDEX deliveries_of_event (event=? AND rowid>? AND rowid<?)"],
            ),
            (
                list::OF_TENANT,
                &[
                    "SEARCH o USING COVERING INDEX endpoints_number (tenant=?)",
                    "SEARCH q USING INTEGER PRIMARY KEY (rowid=?)",
                    "SEARCH p USING INDEX deliveries_of_endpoint (endpoint=? AND n>? AND n<?)",
                ],
            ),
            (
                list::OF_PROJECT,
                &["SEARCH p USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)"],
            ),
            (
                list::UNFINISHED,
                &["SEARCH w USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)"],
            ),
        ] {
            let plan = plan(sql);
            for step in steps {
                assert!(plan.contains(step), "{step}\nis not in\n{plan}");
            }
            assert!(!plan.contains("SCAN"), "{plan}");
        }
    }
}
