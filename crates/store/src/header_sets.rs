//! Versions of an endpoint's custom headers, sealed. Attempts name the version that was sent.

use crate::error::{Result, StoreError};
use crate::seal::MasterKeys;
use stentor_domain::custom_headers::CustomHeaders;

/// The layout that is written: names and values in their order. Another one gets another first byte.
const LAYOUT: u8 = 1;

/// Opens the headers of row `n` of `header_sets`.
pub(crate) fn open(n: i64, sealed: &[u8], master: &MasterKeys) -> Result<CustomHeaders> {
    let identity = identity(n);
    let unreadable = || StoreError::Unreadable(format!("{identity} has an unknown layout"));
    let plain = master.open(&identity, sealed)?;
    let (&LAYOUT, pairs) = plain.split_first().ok_or_else(unreadable)? else {
        return Err(unreadable());
    };
    postcard::from_bytes(pairs)
        .map(CustomHeaders::stored)
        .map_err(|_| unreadable())
}

/// Seals headers for row `n`.
#[cfg(test)]
pub(crate) fn seal(n: i64, headers: &CustomHeaders, store: &crate::Store) -> Result<Vec<u8>> {
    let plain = postcard::to_extend(headers.pairs(), vec![LAYOUT])
        .map_err(|error| StoreError::Unreadable(error.to_string()))?;
    store.master().seal(&identity(n), &plain, store.chance())
}

/// What binds sealed headers to their row.
fn identity(n: i64) -> String {
    format!("header_set:{n}")
}
