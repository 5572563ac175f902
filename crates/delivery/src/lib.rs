//! The sending side of Stentor.
//!
//! In reading order:
//! - [`transport`]: one HTTP exchange under one deadline;
//! - [`sign`]: the signatures of a request;
//! - [`guard`], [`resolve`], `connect`: which addresses may be reached, and the only way to reach one;
//! - `pool`: connections kept for the next exchange;
//! - `failure`: why an exchange brought no answer.

mod connect;
mod failure;
pub mod guard;
mod pool;
pub mod resolve;
pub mod sign;
pub mod transport;
