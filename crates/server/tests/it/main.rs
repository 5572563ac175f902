//! Tests of the binary as its operator meets it.

mod cli;
