//! The lists that follow the tables on SQLite, and that nobody sees where they end.
//!
//! - `pages`: what is asked for, across the border between what is listed and what is above;
//! - `following`: what comes late, what is sent again, what an earlier life has left;
//! - `ranges`: what replays and erasures go through;
//! - `purged`: what has expired.

mod following;
mod pages;
mod purged;
mod ranges;

use super::world::World;
use crate::hot::Next;
use futures_util::future::join_all;
use std::time::Duration;
use stentor_domain::attempt::Trigger;

/// Events that are accepted at once, each for one of [`ENDPOINTS`] in turn.
const WAVE_EVENTS: usize = 512;
/// Waves in which each table is listed twice; the last ones are not.
const WAVES: usize = 10;
const BETWEEN_WAVES: Duration = Duration::from_millis(100);
/// Two of tenant 11, one of tenant 12.
const ENDPOINTS: [i64; 3] = [111, 112, 121];
/// What has lists, and whose they are.
const LISTS: [(&str, &str); 2] = [("events", "tenant"), ("deliveries", "endpoint")];

/// So many waves, each of which the receivers answer before the next one.
async fn deliver(world: &World, waves: usize) {
    for _ in 0..waves {
        world.clock.step(BETWEEN_WAVES);
        let endpoints = ENDPOINTS.into_iter().cycle().take(WAVE_EVENTS);
        let event = |endpoint| world.event(endpoint, "order.paid", Trigger::Event);
        world.accept(endpoints.map(event).collect()).await;
        for endpoint in ENDPOINTS {
            let claimed = world.claim_now(endpoint, u32::MAX).await;
            join_all(claimed.iter().map(|one| world.answer(one, 200, Next::Delivered))).await;
        }
    }
}

/// A world of which some is listed and some is above.
async fn on_both_sides() -> World {
    let world = World::new().await;
    deliver(&world, WAVES).await;
    assert_some_are_above(&world);
    assert_lists_follow(&world);
    world
}

/// Every row up to the key in `listed` is in its owner's list, and nothing else is in any.
fn assert_lists_follow(world: &World) {
    for (table, owner) in LISTS {
        let rows = format!("SELECT {owner}, n FROM {table} WHERE n <= (SELECT {table} FROM listed)");
        let listed = format!("SELECT {owner}, n FROM listed_{table}");
        for (what, one, other) in [
            ("in no list", &rows, &listed),
            ("in a list for nothing", &listed, &rows),
        ] {
            let apart = format!("SELECT n || ' of {owner} ' || {owner} FROM ({one} EXCEPT {other})");
            assert_eq!(world.database.texts(&apart), [""; 0], "{table} {what}");
        }
    }
}

/// Some of each table are listed, and some are not: a test of both sees both.
fn assert_some_are_above(world: &World) {
    for (table, _) in LISTS {
        let listed = world
            .database
            .number(&format!("SELECT count(*) FROM listed_{table}"));
        let above = format!("SELECT count(*) FROM {table} WHERE n > (SELECT {table} FROM listed)");
        let above = world.database.number(&above);
        assert!(listed > 0 && above > 0, "{table}: {listed} listed, {above} above");
    }
}

/// How often a delivery is in a list.
fn times_listed(world: &World, delivery: i64) -> i64 {
    world.database.number(&format!(
        "SELECT count(*) FROM listed_deliveries WHERE n = {delivery}"
    ))
}
