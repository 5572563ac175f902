//! Disabling an endpoint by policy: part of the record of the attempt that was the last straw.

use crate::error::Result;
use crate::hot::Finish;
use crate::tx::{Tx, values};
use stentor_domain::endpoint::DisabledReason;

/// Disables the endpoint of an attempt; the configuration's clock has been raised already. Of several
/// such attempts only the first finds the endpoint as it was asked: tells whether this one did.
///
/// One that was changed meanwhile stays as its owner made it: it may have moved away from where it is gone, or have been
/// switched on again. The delivery is due at once, and so it is asked as it is now.
pub(crate) async fn disable(tx: &mut Tx<'_>, finish: &Finish, reason: DisabledReason) -> Result<bool> {
    let disabled = tx
        .execute(
            "UPDATE endpoints SET status = 'disabled', disabled_reason = ?1, paused_at = NULL, updated_at = ?2,
                    config_version = (SELECT seq FROM config_clock)
             WHERE n = ?3 AND config_version = ?4 AND status <> 'disabled' AND deleted_at IS NULL",
            values![
                reason.as_str(),
                finish.ended_at,
                finish.endpoint,
                finish.endpoint_version
            ],
        )
        .await?;
    if disabled == 0 {
        return Ok(false);
    }
    tx.execute(
        "UPDATE tenants SET config_version = (SELECT seq FROM config_clock) WHERE n = ?1",
        values![finish.tenant],
    )
    .await?;
    Ok(true)
}
