//! The nouns of Stentor and its decisions. Nothing here does I/O, waits, reads a clock or draws a random number: time
//! ([`Timestamp`], [`Clock`]) and chance ([`Chance`]) are handed in, so that every rule can be tested in a line.
//!
//! In reading order:
//! - [`time`], [`chance`], [`id`], [`hex`]: what everything else is named, dated and spelled with;
//! - [`limits`]: every bound, with its unit in its name;
//! - [`name`]: event types, uids and display names, and how a bad value is reported ([`name::Invalid`]);
//! - [`key`]: API keys, their roles, and who acts ([`key::Actor`]);
//! - [`endpoint_url`], [`address`]: where an endpoint may be, judged at save and again at connect;
//! - [`custom_headers`], [`secret`], [`key_pair`], [`header_styles`], [`signature_prefix`], [`channels`], [`subscription`],
//!   [`schedule`], [`payload_format`]: what an endpoint is made of;
//! - [`contract`]: what each published contract documents for the endpoints made through it;
//! - [`endpoint`]: the endpoint itself and its status;
//! - [`delivery`], [`attempt`]: one event for one endpoint, and one HTTP try of it;
//! - [`stats`]: what is counted of both;
//! - [`trace`]: what a publish may carry for its receivers' tracing;
//! - [`replay`]: sending again what an endpoint was sent before, or never;
//! - [`retry_after`], [`judge`], [`health`]: what follows from an attempt, for its delivery and for its endpoint;
//! - [`notice`]: what those who run Stentor hear of it.

pub mod address;
pub mod attempt;
pub mod chance;
pub mod channels;
pub mod contract;
pub mod custom_headers;
pub mod delivery;
pub mod endpoint;
pub mod endpoint_url;
pub mod header_styles;
pub mod health;
pub mod hex;
pub mod id;
pub mod judge;
pub mod key;
pub mod key_pair;
pub mod limits;
pub mod name;
pub mod notice;
pub mod payload_format;
pub mod replay;
pub mod retry_after;
pub mod schedule;
pub mod secret;
pub mod signature_prefix;
pub mod stats;
pub mod subscription;
pub mod time;
pub mod trace;

pub use chance::Chance;
pub use time::{Clock, Timestamp};
