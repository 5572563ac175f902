//! The store held to its rules, on a real database.
//!
//! - `world`: stores that are opened, and the words of the hot path said by hand;
//! - `groups`: members that share a commit, and those that fail in it;
//! - `accepting`: versions that have moved on, producers' own ids, idempotency keys;
//! - `claiming`: whose a delivery is, in which order, and what a record of somebody else may do;
//! - `departed`: callers who go away while their change is on its way;
//! - `large`: payloads as large as they may be, in numbers;
//! - `opening`: what a start finds, recovers and refuses;
//! - `swept`: endpoints that are deleted, and what is written for them afterwards;
//! - `sealing`: what nobody can read in the database;
//! - `rotating`: master keys, one after the other;
//! - `postgres_only`: days, and what a success touches;
//! - `sqlite`: the file itself: its lock, its log, and backups.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a panic is how a test fails, in what tests share too"
)]

mod accepting;
mod claiming;
mod departed;
mod groups;
mod large;
mod opening;
mod postgres_only;
mod retention;
mod rotating;
mod sealing;
mod sqlite;
mod swept;
mod world;
