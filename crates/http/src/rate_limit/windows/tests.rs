//! The counting, against the plainest model of it and at its edges.

use super::*;
use proptest::prelude::*;
use std::sync::Barrier;
use std::sync::atomic::{AtomicI64, AtomicU32, Ordering};
use stentor_domain::id::Id;

const START: Timestamp = Timestamp::from_seconds(1_700_000_000);
const MICRO: Duration = Duration::from_micros(1);
const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3_600);

fn key(n: i64) -> KeyId {
    KeyId(Id { n, tag: 0 })
}

fn quota(most: u32) -> NonZeroU32 {
    NonZeroU32::new(most).unwrap()
}

fn admit(limits: &RateLimits, most: u32, now: Timestamp) -> Usage {
    limits.admit(key(1), "all".into(), quota(most), || now)
}

fn held(limits: &RateLimits) -> usize {
    limits.0.lock().by_key.len()
}

#[test]
fn the_fiftieth_request_is_admitted_and_the_fifty_first_waits_for_the_first_to_leave() {
    let limits = RateLimits::default();
    for n in 1..=50 {
        let usage = admit(&limits, 50, START.plus(SECOND * (n - 1)));
        assert_eq!((usage.admitted, usage.remaining), (Ok(()), 50 - n));
        assert_eq!(usage.resets_in, SECOND * (61 - n));
    }
    let refused = admit(&limits, 50, START.plus(49 * SECOND));
    assert_eq!((refused.admitted, refused.remaining), (Err(11 * SECOND), 0));
    assert_eq!(refused.resets_in, 11 * SECOND);
    // Refusals take no place: the second leaves a second after the first.
    assert!(admit(&limits, 50, START.plus(WINDOW)).admitted.is_ok());
    assert_eq!(admit(&limits, 50, START.plus(WINDOW)).admitted, Err(SECOND));
    assert!(admit(&limits, 50, START.plus(WINDOW + SECOND)).admitted.is_ok());
}

#[test]
fn a_window_ends_at_sixty_seconds_to_the_microsecond() {
    let limits = RateLimits::default();
    assert!(admit(&limits, 1, START).admitted.is_ok());
    assert_eq!(
        admit(&limits, 1, START.plus(WINDOW.saturating_sub(MICRO))).admitted,
        Err(MICRO)
    );
    assert!(admit(&limits, 1, START.plus(WINDOW)).admitted.is_ok());
}

#[test]
fn keys_and_buckets_share_nothing() {
    let limits = RateLimits::default();
    for (n, bucket) in [(1, "a"), (2, "a"), (1, "b")] {
        let ask = || limits.admit(key(n), bucket.into(), quota(1), || START);
        assert!(ask().admitted.is_ok(), "{n} {bucket}");
        assert!(ask().admitted.is_err(), "{n} {bucket}");
    }
}

#[test]
fn a_quota_that_shrinks_waits_until_fewer_than_it_count() {
    let limits = RateLimits::default();
    for n in 0..5 {
        assert!(admit(&limits, 5, START.plus(SECOND * n)).admitted.is_ok());
    }
    let now = START.plus(10 * SECOND);
    // The fourth was admitted at second 3; with it gone, one is left.
    assert_eq!(admit(&limits, 2, now).admitted, Err(53 * SECOND));
    assert!(admit(&limits, 2, START.plus(62 * SECOND)).admitted.is_err());
    assert!(admit(&limits, 2, START.plus(63 * SECOND)).admitted.is_ok());
}

#[test]
fn a_clock_that_steps_back_neither_gives_places_away_nor_locks_anyone_out() {
    let limits = RateLimits::default();
    assert!(admit(&limits, 2, START).admitted.is_ok());
    assert!(admit(&limits, 2, START).admitted.is_ok());
    let back = START.minus(HOUR);
    assert_eq!(admit(&limits, 2, back).admitted, Err(WINDOW));
    assert_eq!(admit(&limits, 2, back.plus(WINDOW)).remaining, 1);
}

#[test]
fn keys_that_ask_no_more_are_forgotten() {
    let limits = RateLimits::default();
    for n in 0..10_000 {
        limits.admit(key(n), "all".into(), quota(5), || START);
    }
    assert_eq!(held(&limits), 10_000);
    admit(&limits, 5, START.plus(WINDOW));
    assert_eq!(held(&limits), 1);
    // Also those whose last request is in what a clock that was set back calls the future.
    limits.admit(key(2), "all".into(), quota(5), || START.plus(WINDOW));
    admit(&limits, 5, START.minus(HOUR));
    assert_eq!(held(&limits), 2);
    admit(&limits, 5, START.minus(HOUR).plus(WINDOW));
    assert_eq!(held(&limits), 1);
}

#[test]
fn a_key_that_asks_without_end_holds_no_more_than_its_quota() {
    let limits = RateLimits::default();
    for n in 0..100_000 {
        admit(&limits, 100, START.plus(MICRO * n * 7_000));
    }
    let windows = limits.0.lock();
    assert!(windows.by_key.values().all(|window| window.0.len() <= 100));
    assert!(windows.by_key.values().all(|window| window.0.capacity() <= 200));
}

#[test]
fn many_threads_at_once_get_exactly_the_quota() {
    let (limits, clock) = (RateLimits::default(), AtomicI64::new(START.micros()));
    let (admitted, start) = (AtomicU32::new(0), Barrier::new(8));
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                start.wait();
                for _ in 0..200 {
                    // Every look at the clock is another instant.
                    let now = || Timestamp::from_micros(clock.fetch_add(1, Ordering::SeqCst));
                    let usage = limits.admit(key(1), "all".into(), quota(100), now);
                    admitted.fetch_add(u32::from(usage.admitted.is_ok()), Ordering::SeqCst);
                }
            });
        }
    });
    assert_eq!(admitted.into_inner(), 100);
}

/// The requests of a minute or two, in microseconds from one to the next: often none, often about a window.
fn waits() -> impl Strategy<Value = Vec<u64>> {
    let wait = prop_oneof![
        Just(0),
        0..3_u64,
        0..2_000_000_u64,
        59_999_998..60_000_003_u64,
        0..70_000_000_u64,
    ];
    prop::collection::vec(wait, 1..200)
}

proptest! {
    #[test]
    fn exactly_the_quota_is_admitted_in_any_sixty_seconds(waits in waits(), most in 1..12_u32) {
        let limits = RateLimits::default();
        let (mut now, mut admitted) = (START, Vec::<Timestamp>::new());
        for wait in waits {
            now = now.plus(Duration::from_micros(wait));
            let counted: Vec<_> = admitted.iter().filter(|at| now.since(**at) < WINDOW).copied().collect();
            let room = counted.len() < most as usize;
            let usage = admit(&limits, most, now);
            prop_assert_eq!(usage.admitted.is_ok(), room);
            prop_assert_eq!(usage.remaining as usize, (most as usize - counted.len()).saturating_sub(1));
            let oldest = counted.first().copied().unwrap_or(now);
            prop_assert_eq!(usage.resets_in, WINDOW.checked_sub(now.since(oldest)).unwrap());
            if let Err(wait) = usage.admitted {
                prop_assert_eq!(wait, usage.resets_in);
            } else {
                admitted.push(now);
            }
        }
        for from in &admitted {
            let within = admitted.iter().filter(|at| **at >= *from && at.since(*from) < WINDOW);
            prop_assert!(within.count() <= most as usize);
        }
    }

    /// What is told as the wait is the wait, also where quotas differ from request to request.
    #[test]
    fn whoever_waits_as_told_is_admitted_and_not_a_microsecond_before(
        asked in prop::collection::vec((0..20_000_000_u64, 1..12_u32), 1..100),
        most in 1..12_u32,
    ) {
        let limits = RateLimits::default();
        let mut now = START;
        for (wait, most) in asked {
            now = now.plus(Duration::from_micros(wait));
            admit(&limits, most, now);
        }
        if let Err(wait) = admit(&limits, most, now).admitted {
            prop_assert!(admit(&limits, most, now.plus(wait.saturating_sub(MICRO))).admitted.is_err());
            prop_assert!(admit(&limits, most, now.plus(wait)).admitted.is_ok());
        }
    }

    /// By whatever clock, more than the quota is never counted, and nobody waits longer than a window.
    #[test]
    fn no_step_of_the_clock_makes_anyone_wait_longer_than_a_window(
        steps in prop::collection::vec(-100_000_000..100_000_000_i64, 1..100),
        most in 1..5_u32,
    ) {
        let limits = RateLimits::default();
        let mut now = START;
        for step in steps {
            now = Timestamp::from_micros(now.micros() + step);
            let usage = admit(&limits, most, now);
            prop_assert!(usage.resets_in <= WINDOW && usage.admitted.err().unwrap_or_default() <= WINDOW);
            prop_assert!(limits.0.lock().by_key.values().all(|window| window.0.len() <= most as usize));
        }
        prop_assert_eq!(admit(&limits, most, now.plus(WINDOW)).remaining, most - 1);
    }
}
