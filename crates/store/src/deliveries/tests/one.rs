//! One delivery: its attempts, retry and cancel in every state.

use super::world::{Published, World, only};
use crate::deliveries::DeliveryError;
use crate::endpoints::header_sets;
use crate::fresh::{Handover, Waiting};
use crate::hot::Next;
use crate::once::{Done, Once};
use crate::seal::Sealer;
use std::time::Duration;
use stentor_domain::attempt::{ErrorClass, Outcome, Trigger};
use stentor_domain::custom_headers::CustomHeaders;
use stentor_domain::delivery::{Delivery, Reason, State};
use stentor_domain::id::DeliveryId;
use stentor_domain::key::Scope;

const EXHAUSTED: Next = Next::Exhausted(Reason::ScheduleEnded);

async fn retry(world: &World, id: DeliveryId) -> Result<Delivery, DeliveryError> {
    now(world
        .store
        .retry_delivery(world.by(), Scope::Root, id, None)
        .await)
}

async fn cancel(world: &World, id: DeliveryId) -> Result<Delivery, DeliveryError> {
    now(world
        .store
        .cancel_delivery(world.by(), Scope::Root, id, None)
        .await)
}

fn now(done: Result<Done<Delivery>, DeliveryError>) -> Result<Delivery, DeliveryError> {
    match done? {
        Done::Now(delivery) => Ok(delivery),
        other => panic!("{other:?}"),
    }
}

/// Numbers, triggers and statuses of all attempts.
async fn attempts(world: &World, id: DeliveryId) -> Vec<(u32, Trigger, Option<u16>)> {
    let (_, attempts) = world
        .store
        .delivery_with_attempts(Scope::Root, id)
        .await
        .unwrap()
        .unwrap();
    let short = |kept: &crate::deliveries::KeptAttempt| {
        let attempt = &kept.attempt;
        (attempt.no, attempt.trigger, attempt.outcome.status())
    };
    attempts.iter().map(short).collect()
}

async fn outcomes_of(world: &World, id: DeliveryId) -> Vec<Outcome> {
    let found = world.store.delivery_with_attempts(Scope::Root, id).await;
    let (_, attempts) = found.unwrap().unwrap();
    attempts.iter().map(|kept| kept.attempt.outcome).collect()
}

#[tokio::test]
async fn attempts_are_in_order_and_their_numbers_go_on_after_a_reopening() {
    let world = World::new().await;
    let Published { delivery, .. } = world.publish(111, "order.paid").await;
    world.fail(&world.claim(111).await[0]).await;
    world.answer(&world.claim(111).await[0], 500, EXHAUSTED).await;
    assert_eq!(world.see(delivery).await.attempts, 2);

    let reopened = retry(&world, delivery).await.unwrap();
    assert_eq!(reopened.id, delivery);
    assert_eq!((reopened.state, reopened.attempts), (State::Pending, 2));
    assert_eq!(reopened.trigger, Trigger::Retry);
    assert_eq!(reopened.next_attempt_at, Some(world.store.clock().now()));

    let claimed = &world.claim(111).await[0];
    assert_eq!((claimed.attempt, claimed.failed, claimed.first_at), (3, 0, None));
    world.answer(claimed, 204, Next::Delivered).await;
    let ended = world.see(delivery).await;
    assert_eq!((ended.state, ended.attempts), (State::Delivered, 3));
    assert_eq!(
        attempts(&world, delivery).await,
        [
            (1, Trigger::Event, None),
            (2, Trigger::Event, Some(500)),
            (3, Trigger::Retry, Some(204)),
        ]
    );
}

#[tokio::test]
async fn what_was_simulated_is_delivered_for_a_sandbox_whatever_came_before_and_in_between() {
    let world = World::new().await;
    let Published { delivery, .. } = world.publish(111, "order.paid").await;
    world.fail(&world.claim(111).await[0]).await;
    let claimed = world.claim(111).await.remove(0);
    // Too late, as it is for any other success.
    cancel(&world, delivery).await.unwrap();
    world
        .finish(&claimed, Outcome::Simulated, Next::Simulated, None)
        .await;

    let ended = world.see(delivery).await;
    assert_eq!(
        (ended.state, ended.reason, ended.attempts),
        (State::Delivered, Some(Reason::Sandbox), 2)
    );
    let outcomes = [Outcome::Failed(ErrorClass::Connect), Outcome::Simulated];
    assert_eq!(outcomes_of(&world, delivery).await, outcomes);

    // Once it is reopened, the attempt is kept apart.
    retry(&world, delivery).await.unwrap();
    assert_eq!(world.see(delivery).await.reason, None);
    assert_eq!(outcomes_of(&world, delivery).await, outcomes);
}

#[tokio::test]
async fn a_fenced_attempt_that_was_simulated_is_kept_as_what_it_is() {
    let world = World::new().await;
    let Published { delivery, .. } = world.publish(111, "order.paid").await;
    let stalled = world.claim(111).await.remove(0);
    world
        .set("UPDATE work SET owner = NULL WHERE n = ?1", delivery.n())
        .await;
    world
        .finish(&stalled, Outcome::Simulated, Next::Simulated, None)
        .await;
    assert_eq!(world.see(delivery).await.state, State::Pending);
    assert_eq!(outcomes_of(&world, delivery).await, [Outcome::Simulated]);
}

#[tokio::test]
async fn a_fenced_attempt_is_shown_beside_the_one_that_counted() {
    let world = World::new().await;
    let Published { delivery, .. } = world.publish(111, "order.paid").await;
    let stalled = world.claim(111).await.remove(0);
    world
        .set("UPDATE work SET owner = NULL WHERE n = ?1", delivery.n())
        .await;
    world.answer(&stalled, 500, EXHAUSTED).await;
    world
        .answer(&world.claim(111).await[0], 200, Next::Delivered)
        .await;
    assert_eq!(
        attempts(&world, delivery).await,
        [(1, Trigger::Event, Some(500)), (1, Trigger::Event, Some(200))]
    );
    let delivery = world.see(delivery).await;
    assert_eq!((delivery.state, delivery.attempts), (State::Delivered, 1));
}

#[tokio::test]
async fn an_attempt_tells_the_custom_headers_that_were_sent() {
    let world = World::new().await;
    let sent = CustomHeaders::stored(vec![("X-Team".into(), "blue".into())]);
    let sealer = Sealer {
        master: world.store.master().clone(),
        chance: world.store.0.common.chance.clone(),
    };
    let headers = sent.clone();
    let kept = world
        .store
        .change(move |tx| Box::pin(async move { header_sets::put(tx, 77, 111, &headers, &sealer).await }));
    kept.await.unwrap();
    let Published { delivery, .. } = world.publish(111, "order.paid").await;
    let answered = Outcome::Answered(200);
    // A version that is not kept any more leaves the rest readable.
    for (set, next) in [
        (
            78,
            Next::Retry {
                due_at: world.store.clock().now(),
                failed: 1,
                first_at: Some(world.store.clock().now()),
            },
        ),
        (77, Next::Delivered),
    ] {
        world
            .finish(&world.claim(111).await[0], answered, next, Some(set))
            .await;
    }
    let (_, attempts) = world
        .store
        .delivery_with_attempts(only(11), delivery)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(attempts[0].custom_headers, CustomHeaders::default());
    assert_eq!(attempts[1].custom_headers, sent);
}

#[tokio::test]
async fn a_retry_makes_what_waits_due_and_tells_the_dispatcher() {
    let mut world = World::listening().await;
    let Published { delivery, .. } = world.publish(111, "order.paid").await;
    let Some(Handover::Claimed(claimed)) = world.fresh.as_mut().unwrap().next().await else {
        panic!("it was not handed over")
    };
    world.fail(&claimed[0]).await;
    world.told().await;
    world.clock.step(Duration::from_secs(60));
    let now = world.store.clock().now();
    let due = retry(&world, delivery).await.unwrap();
    assert_eq!((due.state, due.next_attempt_at), (State::Pending, Some(now)));
    assert_eq!(due.attempts, 1);
    let [Handover::Waiting(waiting)] = &world.told().await[..] else {
        panic!("the dispatcher was not told")
    };
    let expected = Waiting {
        endpoint: 111,
        shard: 3,
        due_at: now,
    };
    assert_eq!(waiting[..], [expected]);

    // What is due already keeps its place before later ones.
    world.clock.step(Duration::from_secs(60));
    assert_eq!(retry(&world, delivery).await.unwrap().next_attempt_at, Some(now));

    world.pause(111).await;
    let held = retry(&world, delivery).await.unwrap();
    assert_eq!(
        (held.state, held.reason),
        (State::Held, Some(Reason::EndpointPaused))
    );
}

#[tokio::test]
async fn a_retry_leaves_what_is_in_flight_alone() {
    let mut world = World::listening().await;
    let Published { delivery, .. } = world.publish(111, "order.paid").await;
    world.told().await;
    let before = world.see(delivery).await;
    assert_eq!(retry(&world, delivery).await.unwrap(), before);
    assert!(world.told().await.is_empty());

    cancel(&world, delivery).await.unwrap();
    let refused = retry(&world, delivery).await;
    assert!(matches!(refused, Err(DeliveryError::BeingCancelled)));
}

#[tokio::test]
async fn what_cannot_be_sent_is_not_retried() {
    let world = World::new().await;
    let delivered = world.finished(111, 200, Next::Delivered).await.delivery;
    let waits = world.publish(111, "order.paid").await;
    let test = world
        .publish_as(111, "webhook.test", Trigger::Test)
        .await
        .delivery;
    assert!(matches!(retry(&world, test).await, Err(DeliveryError::Test)));
    for (refuse, allow) in [
        (
            "UPDATE endpoints SET status = 'disabled' WHERE n = ?1",
            "UPDATE endpoints SET status = 'active' WHERE n = ?1",
        ),
        (
            "UPDATE endpoints SET deleted_at = 5 WHERE n = ?1",
            "UPDATE endpoints SET deleted_at = NULL WHERE n = ?1",
        ),
        (
            "UPDATE tenants SET deleted_at = 5 WHERE n = ?1 / 10",
            "UPDATE tenants SET deleted_at = NULL WHERE n = ?1 / 10",
        ),
    ] {
        world.set(refuse, 111).await;
        for id in [delivered, waits.delivery] {
            let refused = retry(&world, id).await;
            assert!(
                matches!(
                    refused,
                    Err(DeliveryError::EndpointDisabled | DeliveryError::EndpointDeleted)
                ),
                "{refuse}: {refused:?}"
            );
        }
        world.set(allow, 111).await;
    }
    world
        .set("UPDATE events SET payload = NULL WHERE n = ?1", waits.event.n())
        .await;
    let refused = retry(&world, waits.delivery).await;
    assert!(matches!(refused, Err(DeliveryError::PayloadExpired)));
    let other = world
        .store
        .retry_delivery(world.by(), only(12), delivered, None)
        .await;
    assert!(matches!(other, Err(DeliveryError::NotFound)));
    assert!(retry(&world, delivered).await.is_ok());
}

#[tokio::test]
async fn a_delivery_that_waits_is_cancelled_at_once_and_can_be_reopened() {
    let world = World::new().await;
    let Published { delivery, .. } = world.publish(111, "order.paid").await;
    world.fail(&world.claim(111).await[0]).await;
    let ended = cancel(&world, delivery).await.unwrap();
    assert_eq!(
        (ended.state, ended.reason),
        (State::Cancelled, Some(Reason::Requested))
    );
    assert_eq!((ended.attempts, ended.next_attempt_at), (1, None));
    assert_eq!(ended.finished_at, Some(world.store.clock().now()));
    assert!(world.claim(111).await.is_empty());
    assert!(matches!(
        cancel(&world, delivery).await,
        Err(DeliveryError::Finished)
    ));

    assert_eq!(retry(&world, delivery).await.unwrap().attempts, 1);
    world
        .answer(&world.claim(111).await[0], 200, Next::Delivered)
        .await;
    assert_eq!(
        attempts(&world, delivery).await,
        [(1, Trigger::Event, None), (2, Trigger::Retry, Some(200))]
    );
}

#[tokio::test]
async fn a_held_delivery_can_be_cancelled_and_one_of_a_deleted_endpoint_has_ended() {
    let world = World::new().await;
    let held = world.publish(111, "order.paid").await.delivery;
    world.pause(111).await;
    assert_eq!(cancel(&world, held).await.unwrap().state, State::Cancelled);
    let of_deleted = world.publish(112, "order.paid").await.delivery;
    world.delete(112).await;
    assert!(matches!(
        cancel(&world, of_deleted).await,
        Err(DeliveryError::Finished)
    ));
}

#[tokio::test]
async fn cancelling_what_is_in_flight_lets_its_record_decide() {
    for (status, state, reason) in [
        (200, State::Delivered, None),
        (500, State::Cancelled, Some(Reason::Requested)),
    ] {
        let mut world = World::listening().await;
        let Published { delivery, .. } = world.publish(111, "order.paid").await;
        let Some(Handover::Claimed(claimed)) = world.fresh.as_mut().unwrap().next().await else {
            panic!("it was not handed over")
        };
        assert_eq!(cancel(&world, delivery).await.unwrap().state, State::Pending);
        let told = world.told().await;
        assert!(matches!(told[..], [Handover::CancelRequested(id, _)] if id == delivery));
        // Asking twice asks for the same.
        assert_eq!(cancel(&world, delivery).await.unwrap().state, State::Pending);
        let next = if status == 200 { Next::Delivered } else { EXHAUSTED };
        world.answer(&claimed[0], status, next).await;
        let ended = world.see(delivery).await;
        assert_eq!((ended.state, ended.reason), (state, reason));
    }
}

#[tokio::test]
async fn a_repeated_request_gets_the_first_answer_but_only_in_its_scope() {
    let world = World::new().await;
    let delivery = world.finished(111, 200, Next::Delivered).await.delivery;
    let once = || {
        Some(Once {
            hash: [1; 16],
            body_hash: [2; 16],
            expires_at: world.store.clock().now().plus(Duration::from_secs(60)),
            render: Box::new(|made: &Delivery| (202, made.id.to_string().into())),
        })
    };
    let again = async |scope| {
        world
            .store
            .retry_delivery(world.by(), scope, delivery, once())
            .await
    };
    assert!(matches!(again(only(11)).await, Ok(Done::Now(_))));
    let Ok(Done::Before { status, answer }) = again(only(11)).await else {
        panic!("it was done twice")
    };
    assert_eq!((status, &answer[..]), (202, delivery.to_string().as_bytes()));
    assert!(matches!(again(only(12)).await, Err(DeliveryError::NotFound)));
}

#[tokio::test]
async fn every_change_is_in_the_audit_log() {
    let world = World::new().await;
    let delivery = world.finished(111, 200, Next::Delivered).await.delivery;
    retry(&world, delivery).await.unwrap();
    cancel(&world, delivery).await.unwrap();
    let question = "SELECT action || ' ' || object || ' ' || project || ' ' || tenant FROM audit ORDER BY n";
    assert_eq!(
        world.database.texts(question),
        [
            format!("delivery.retried {delivery} 1 11"),
            format!("delivery.cancelled {delivery} 1 11"),
        ]
    );
}
