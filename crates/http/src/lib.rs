//! Placeholder.

pub mod body;
pub mod listen;
pub mod problem;
