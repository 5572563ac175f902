//! Stories of deliveries: publish, settle, and look at what receivers got and what people see. A real database, the real engine
//! and dispatcher, a clock that is stepped.
//!
//! - `schedule`: when a delivery is tried again, and when no more;
//! - `hourly`: the schedule that counts from the first attempt, hour after hour;
//! - `signing`: what a request carries, and how secrets change;
//! - `loops`: events that a webhook led to, and how many before it;
//! - `styles`: the headers that receivers know from elsewhere, and what goes together;
//! - `matching`: which endpoints an event goes to;
//! - `formats`: what the body looks like;
//! - `sandboxes`: projects that reach only what the operator allows;
//! - `endpoints`: endpoints that are paused, gone, edited or deleted while deliveries are under way;
//! - `steering`: cancelling and retrying by hand;
//! - `replays`: sending again, many at once;
//! - `tests`: test sends, past queue and status;
//! - `ages`: what goes because it is old;
//! - `erasing`: what goes because somebody asked for it;
//! - `health`: receivers that fail, ask for a pause, and come back;
//! - `operational`: what Stentor tells its operator of all that;
//! - `stats`: what is counted of all this;
//! - `restarts`: processes that die at every step;
//! - `handover`: deliveries that never come by the short way from the commit;
//! - `backpressure`: who publishes more than is sent;
//! - `fairness`: whose turn it is, and how many at once;
//! - `order`: endpoints that are sent to strictly in the order of acceptance;
//! - `rates`: endpoints with a rate limit.

mod ages;
mod backpressure;
mod endpoints;
mod erasing;
mod fairness;
mod formats;
mod handover;
mod health;
mod hourly;
mod loops;
mod matching;
mod operational;
mod order;
mod rates;
mod replays;
mod restarts;
mod sandboxes;
mod schedule;
mod signing;
mod stats;
mod steering;
mod styles;
mod tests;

use std::time::Duration;
use stentor_testkit::World;

const URL: &str = "https://receiver.example/hook";

/// A world with tenant `acme`.
async fn world() -> World {
    let world = World::new().await;
    world.tenant("acme").await;
    world
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}
