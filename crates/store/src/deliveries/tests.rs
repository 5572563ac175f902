//! Deliveries in every state, on a real file.

mod lists;
mod one;
mod plans;
mod sqlite;
mod world;
