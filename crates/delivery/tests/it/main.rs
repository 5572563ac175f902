//! The sending side against receivers made of raw sockets, as hostile as they come.
//!
//! - `world`: the clock, the names and the receivers of these tests;
//! - `sign`: signatures against the vectors of Standard Webhooks;
//! - `guard`: destinations that must never be reached;
//! - `receivers`: what HTTP/1.1 receivers may do to us;
//! - `encrypted`: the same over TLS and HTTP/2.

mod encrypted;
mod guard;
mod receivers;
mod sign;
mod world;
