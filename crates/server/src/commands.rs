//! The commands of the binary, one file each: what they take is parsed and resolved already.

pub(crate) mod backup;
pub(crate) mod bench;
pub(crate) mod demo;
pub(crate) mod key;
pub(crate) mod master_key;
pub(crate) mod migrate;
pub(crate) mod serve;

use std::time::Duration;

#[expect(
    clippy::disallowed_methods,
    reason = "a measurement lasts as long as it lasts, and a demonstration is for people to watch"
)]
async fn wait(wait: Duration) {
    tokio::time::sleep(wait).await;
}
