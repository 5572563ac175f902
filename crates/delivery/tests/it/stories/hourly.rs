//! The schedule of endpoints made through the subscriptions contract: hourly for 48 hours, counted from the first attempt.

use super::{URL, seconds, world};
use stentor_domain::contract::Contract;
use stentor_domain::id::{EndpointId, EventId};
use stentor_testkit::{EndpointFields, Reply, World};

const HOUR: u64 = 3_600;
/// The most that an attempt may be later than its hour.
const JITTER: u64 = 60;

/// An endpoint with what the contract documents, and nothing else.
async fn subscription(world: &World) -> EndpointId {
    let nothing = EndpointFields::default();
    world
        .endpoint_through(Contract::Subscriptions, "acme", URL, nothing)
        .await
}

/// Seconds from the first attempt of an event's delivery to each attempt.
async fn offsets(world: &World, event: EventId) -> Vec<u64> {
    let times = world.attempted_at(event).await;
    times.iter().map(|at| at.since(times[0]).as_secs()).collect()
}

/// The hours that these attempts are for, each at most the jitter late.
#[track_caller]
fn hours(offsets: &[u64]) -> Vec<u64> {
    let hour = |offset: &u64| {
        assert!(offset % HOUR <= JITTER, "{offset} s is for no hour: {offsets:?}");
        offset / HOUR
    };
    offsets.iter().map(hour).collect()
}

async fn exhausted(world: &World, event: EventId) {
    let timeline = world.timeline(event).await;
    assert_eq!(timeline.last().unwrap(), "exhausted: schedule_ended");
}

#[tokio::test]
async fn a_receiver_that_always_fails_gets_49_attempts_each_on_its_hour() {
    let mut world = world().await;
    subscription(&world).await;
    world.receivers.script(URL, &[Reply::Status(500)]);
    let event = world.publish("acme", "{}").await;

    world.play(event).await;

    let offsets = offsets(&world, event).await;
    assert_eq!(hours(&offsets), (0..=48).collect::<Vec<_>>());
    assert!(offsets.iter().any(|offset| offset % HOUR > 0), "no jitter at all");
    exhausted(&world, event).await;
    assert_eq!(world.receivers.take().len(), 49);
    assert_eq!(world.after(seconds(100 * HOUR)).await, 0);
}

/// Between two attempts are the two hours that the first one's answer asked for, and a minute more at most.
#[track_caller]
fn assert_asked_for(offsets: &[u64]) {
    let wait = offsets[1] - offsets[0];
    assert!((7_200..=7_261).contains(&wait), "{wait} s");
}

#[tokio::test]
async fn a_retry_after_delays_one_and_adds_none() {
    let mut world = world().await;
    subscription(&world).await;
    let mut replies = vec![Reply::Status(500); 49];
    replies[3] = Reply::RetryAfter(503, "7200");
    // Shorter than the hour, which goes on as if nobody had asked.
    replies[10] = Reply::RetryAfter(503, "1800");
    world.receivers.script(URL, &replies);
    let event = world.publish("acme", "{}").await;

    world.play(event).await;

    // Hour 4 is moved to two hours after the attempt of hour 3, where it has caught up with hour 5.
    let offsets = offsets(&world, event).await;
    assert_asked_for(&offsets[3..=4]);
    let others = [&offsets[..4], &offsets[5..]].concat();
    let expected: Vec<u64> = (0..=48).filter(|hour| ![4, 5].contains(hour)).collect();
    assert_eq!(hours(&others), expected);
    exhausted(&world, event).await;
}

#[tokio::test]
async fn a_retry_after_at_the_end_moves_the_last_attempt_and_adds_none() {
    let mut world = world().await;
    subscription(&world).await;
    let mut replies = vec![Reply::Status(500); 47];
    replies.push(Reply::RetryAfter(503, "7200"));
    world.receivers.script(URL, &replies);
    let event = world.publish("acme", "{}").await;

    world.play(event).await;

    let offsets = offsets(&world, event).await;
    assert_eq!(offsets.len(), 49);
    assert_asked_for(&offsets[47..=48]);
    // The last one asked for another two hours, too.
    exhausted(&world, event).await;
    assert_eq!(world.after(seconds(100 * HOUR)).await, 0);
}

#[tokio::test]
async fn hours_that_pass_during_a_pause_merge_into_one_attempt() {
    let mut world = world().await;
    let endpoint = subscription(&world).await;
    world.receivers.script(URL, &[Reply::Status(500)]);
    let event = world.publish("acme", "{}").await;
    world.settle().await;
    for _ in 0..2 {
        world
            .clock
            .step_to(world.delivery(event).await.next_attempt_at.unwrap());
        assert_eq!(world.settle().await, 1);
    }

    world.pause(endpoint).await;
    assert_eq!(world.after(seconds(5 * HOUR)).await, 0);
    world.resume(endpoint).await;
    assert_eq!(
        world.settle().await,
        1,
        "what is overdue is attempted at once, and once"
    );
    let resumed = offsets(&world, event).await;
    assert_eq!(resumed[3], resumed[2] + 5 * HOUR);

    world.play(event).await;

    let expected: Vec<u64> = (0..=2).chain(7..=48).collect();
    assert_eq!(hours(&offsets(&world, event).await), expected);
    exhausted(&world, event).await;
}
