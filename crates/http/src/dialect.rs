//! The contracts: each a thin adapter that parses its own wire shape, makes one call to the engine, and renders its own
//! shape and its own errors. None imports another.

pub mod v1;
