//! The HTTP crate: its listener over real sockets on the loopback interface, its contracts through their router.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a panic is how a test fails; clippy grants it to test functions only, not to what they share"
)]

mod apps;
mod body;
mod few_descriptors;
mod http2;
mod listen;
mod organization;
mod problem;
mod rate_limit;
mod routes;
mod subscriptions;
mod support;
mod v1;
mod world;
