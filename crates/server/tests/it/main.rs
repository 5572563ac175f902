//! Tests of the binary as its operator meets it.

mod bench;
mod cli;
mod demo;
mod key;
mod support;
