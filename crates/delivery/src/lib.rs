//! The sending side of Stentor.
//!
//! In reading order:
//! - [`dispatch`]: what is handed over or due is started, in the order of fairness;
//! - `queue`, `rates`, `agenda`, `heads`, `probes`: whose turn it is in memory, when a rate lets the next one start, what waits in
//!   the store, what waits behind the first in an order, and who is asked for all on a dead host;
//! - [`attempt`], `request`: one attempt from its claim to its record, and the request it sends;
//! - `echo`: secrets that a receiver repeats in its answer;
//! - [`transport`]: one HTTP exchange under one deadline;
//! - `format`, [`sign`], `styles`: the body of a request in its endpoint's format, and its signatures;
//! - [`guard`], [`resolve`], `connect`: which addresses may be reached, and the only way to reach one;
//! - [`egress`]: the proxy that this way leads through, where the operator names one;
//! - `pool`: connections kept for the next exchange;
//! - `failure`: why an exchange brought no answer.

mod agenda;
pub mod attempt;
mod connect;
pub mod dispatch;
mod echo;
pub mod egress;
mod failure;
mod format;
pub mod guard;
mod heads;
mod pool;
mod probes;
mod queue;
mod rates;
mod request;
pub mod resolve;
pub mod sign;
mod styles;
pub mod transport;
