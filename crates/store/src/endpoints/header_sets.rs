//! Custom headers, sealed. Every change makes a new version, for attempts name the one that they sent.

use crate::error::{Result, StoreError};
use crate::seal::{MasterKeys, Sealer};
use crate::tx::{Tx, values};
use stentor_domain::custom_headers::CustomHeaders;

/// The layout that is written: names and values in their order. Another one gets another first byte.
const LAYOUT: u8 = 1;

/// Writes a version of an endpoint's headers under the key `n`; tells the version that the endpoint has from now on, which
/// is none where there are no headers.
pub(crate) async fn put(
    tx: &mut Tx<'_>,
    n: i64,
    endpoint: i64,
    headers: &CustomHeaders,
    sealer: &Sealer,
) -> Result<Option<i64>> {
    if headers.pairs().is_empty() {
        return Ok(None);
    }
    let plain = postcard::to_extend(headers.pairs(), vec![LAYOUT])
        .map_err(|error| StoreError::Unreadable(error.to_string()))?;
    let sealed = sealer.seal(tx, &identity(n), &plain).await?;
    tx.execute_one(
        "INSERT INTO header_sets (n, endpoint, master_key, sealed) VALUES (?1, ?2, ?3, ?4)",
        values![n, endpoint, sealed.master_key.number(), &sealed.bytes[..]],
    )
    .await?;
    Ok(Some(n))
}

pub(crate) fn open(n: i64, sealed: &[u8], master: &MasterKeys) -> Result<CustomHeaders> {
    let unreadable = || StoreError::Unreadable(format!("{} has an unknown layout", identity(n)));
    let plain = master.open(&identity(n), sealed)?;
    let (&LAYOUT, pairs) = plain.split_first().ok_or_else(unreadable)? else {
        return Err(unreadable());
    };
    postcard::from_bytes(pairs)
        .map(CustomHeaders::stored)
        .map_err(|_| unreadable())
}

/// What binds sealed headers to their row.
pub(crate) fn identity(n: i64) -> String {
    format!("header_set:{n}")
}
