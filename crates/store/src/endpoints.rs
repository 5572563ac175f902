//! Endpoints.

use crate::config::EndpointConfig;
use crate::error::Result;
use crate::seal::MasterKeys;
use crate::tx::Tx;

/// Endpoints that changed since the configuration was at `since`, and whether each was deleted.
pub(crate) async fn changed(
    _tx: &mut Tx,
    _since: i64,
    _master: &MasterKeys,
) -> Result<Vec<(EndpointConfig, bool)>> {
    Ok(vec![])
}
