//! Versions of an endpoint's custom headers, sealed. Attempts name the version that was sent.

use crate::error::{Result, StoreError};
use crate::seal::MasterKeys;
use stentor_domain::Chance;
use stentor_domain::custom_headers::CustomHeaders;

/// Seals headers for row `n` of `header_sets`.
pub(crate) fn seal(
    master: &MasterKeys,
    n: i64,
    headers: &CustomHeaders,
    chance: &dyn Chance,
) -> Result<Vec<u8>> {
    let plain = postcard::to_allocvec(headers.pairs())
        .map(zeroize::Zeroizing::new)
        .map_err(|error| StoreError::Unreadable(error.to_string()))?;
    master.seal(&row(n), &plain, chance)
}

/// Opens the headers of row `n`.
pub(crate) fn open(master: &MasterKeys, n: i64, sealed: &[u8]) -> Result<CustomHeaders> {
    let plain = master.open(&row(n), sealed)?;
    postcard::from_bytes(&plain)
        .map(CustomHeaders::stored)
        .map_err(|_| StoreError::Unreadable(format!("{} has an unknown layout", row(n))))
}

fn row(n: i64) -> String {
    format!("header_set:{n}")
}
