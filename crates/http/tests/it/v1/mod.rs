//! Contract v1, told as stories through the router.

mod audit;
mod authentication;
mod deliveries;
mod endpoints;
mod erasure;
mod event_types;
mod events_read;
mod first_start;
mod keys;
mod openapi;
mod operational;
mod pages;
mod paths_and_hosts;
mod projects;
mod publish;
mod rate_limit;
mod replays;
mod stats;
mod webhook_loop;
