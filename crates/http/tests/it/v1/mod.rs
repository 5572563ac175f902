//! Contract v1, told as stories through the router.

mod audit;
mod authentication;
mod endpoints;
mod event_types;
mod first_start;
mod keys;
mod projects;
mod world;
