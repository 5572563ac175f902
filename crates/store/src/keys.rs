//! API keys.

use crate::error::Result;
use crate::tx::Tx;
use stentor_domain::key::Key;

/// Keys that changed since the configuration was at `since`: hash, key, and whether it was revoked.
pub(crate) async fn changed(_tx: &mut Tx, _since: i64) -> Result<Vec<([u8; 32], Key, bool)>> {
    Ok(vec![])
}
