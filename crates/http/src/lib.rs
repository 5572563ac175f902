//! Stentor over HTTP.
//!
//! In reading order:
//! - [`listen`]: from sockets to requests, everything bounded in size, count and time;
//! - [`body`], [`problem`]: reading a body, and how this server says no;
//! - [`front`]: what every request passes, and the router of all contracts;
//! - [`app`]: what every handler is given;
//! - [`call`], [`attempts_at_keys`]: who calls: authentication, idempotency keys, and guessers slowed down;
//! - [`refusals`]: every refusal of the engine, once for all contracts;
//! - [`rate_limit`]: how often a key may ask, contract by contract;
//! - [`webhook_loop`]: what comes back as a webhook's consequence is counted, and ended;
//! - [`input`], [`paging`]: reading JSON, queries and cursors so that a fault names its field;
//! - [`openapi`]: the documents that describe the contracts to programs;
//! - [`dialect`]: the contracts, a folder each, removable with its folder and one line.

pub mod app;
pub mod body;
pub mod front;
pub mod listen;
pub mod problem;
pub mod rate_limit;

mod attempts_at_keys;
mod call;
mod dialect;
mod input;
mod openapi;
mod paging;
mod refusals;
mod webhook_loop;

pub use app::{App, AppSettings};
pub use front::Front;
pub use rate_limit::RequestQuotas;
