//! Stentor over HTTP.
//!
//! In reading order:
//! - [`listen`]: from sockets to requests, everything bounded in size, count and time;
//! - [`body`], [`problem`]: reading a body, and how this server says no;
//! - [`app`]: what every handler is given, and the router of all contracts;
//! - [`call`], [`attempts_at_keys`]: who calls: authentication, idempotency keys, and guessers slowed down;
//! - [`input`], [`paging`]: reading JSON, queries and cursors so that a fault names its field;
//! - [`openapi`]: the document that describes the contracts to programs;
//! - [`dialect`]: the contracts, a folder each, removable with its folder and one line.

pub mod app;
pub mod body;
pub mod dialect;
pub mod listen;
pub mod problem;

mod attempts_at_keys;
mod call;
mod input;
mod openapi;
mod paging;

pub use app::{App, AppSettings, router};
