//! Why a delivery in a node's memory is to end with its attempt, as `work.cancel_requested` keeps it.

use stentor_domain::delivery::Reason;

/// Nobody wants that.
pub(crate) const NONE: i64 = 0;
/// The payload went while the delivery was in memory.
pub(crate) const PAYLOAD_GONE: i64 = 2;

/// The reason that the column gives, if any.
pub(crate) fn read(column: i64) -> Option<Reason> {
    match column {
        NONE => None,
        PAYLOAD_GONE => Some(Reason::PayloadExpired),
        _ => Some(Reason::Requested),
    }
}
