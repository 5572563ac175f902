//! The commands of the binary, one file each: what they take is parsed and resolved already.

pub(crate) mod backup;
pub(crate) mod bench;
pub(crate) mod demo;
pub(crate) mod key;
pub(crate) mod migrate;
pub(crate) mod serve;

use crate::failure::Failure;

fn not_wired(command: &str) -> Failure {
    Failure::Failed(format!("`stentor {command}` is not wired yet"))
}
