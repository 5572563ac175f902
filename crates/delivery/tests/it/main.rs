//! The sending side: against receivers made of raw sockets, as hostile as they come, and whole, in stories.
//!
//! - `world`, `identity`: the clock, the names, the receivers and the certificates of these tests;
//! - `sign`: signatures against the vectors of Standard Webhooks;
//! - `guard`: destinations that must never be reached;
//! - `names`: name servers of every kind;
//! - `hostile_names`: zones whose owners mean no good;
//! - `network`: a network that swallows, refuses or dribbles;
//! - `kept`: which connections are used again;
//! - `receivers`: what HTTP/1.1 receivers may do to us;
//! - `encrypted`: the same over TLS and HTTP/2;
//! - `http2`: what HTTP/2 receivers may do to us, frame by frame;
//! - `proxied`: through an egress proxy, which may fail too;
//! - `crowded`: a memory that one slow receiver fills, and everybody else;
//! - `stories`: a whole Stentor, from the publish to what people see of it;
//! - `simulation`: all that happens in stories, in any order, and what holds in the end.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a panic is how a test fails, in what tests share too"
)]

mod crowded;
mod encrypted;
mod guard;
mod hostile_names;
mod http2;
mod identity;
mod kept;
mod names;
mod network;
mod proxied;
mod receivers;
mod sign;
mod simulation;
mod stories;
mod world;
