//! Every refusal of the engine as a [`Problem`], once for all contracts: which status, which stable word, which fields. The
//! contracts render it in their own words.

use crate::problem::Problem;
use http::StatusCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use stentor_engine::Error;
use stentor_store::StoreError;

/// When a client should try again after a fault of the store.
const STORE_RETRY_AFTER: Duration = Duration::from_secs(2);

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        match error {
            Error::Invalid(faults) => faults.into_iter().fold(Self::invalid(), Self::with_fault),
            Error::TooLarge(fault) => {
                let detail = format!("{} {}.", fault.field, fault.rule);
                Self::new(StatusCode::PAYLOAD_TOO_LARGE, "payload_too_large", detail)
                    .with_error(fault.field, fault.rule)
            }
            Error::NotFound(what) => Self::new(
                StatusCode::NOT_FOUND,
                "not_found",
                format!("There is no such {what} for this key."),
            ),
            Error::Forbidden(why) => Self::new(StatusCode::FORBIDDEN, "forbidden", why),
            Error::TenantRequired => {
                let detail =
                    "Name the tenant by id or uid: header `X-Tenant`, query `tenant`, or in the body.";
                Self::new(StatusCode::UNPROCESSABLE_ENTITY, "tenant_required", detail)
                    .with_error("tenant", "is required")
            }
            Error::EndpointLimit(most) => {
                let detail =
                    format!("The limit of {most} endpoints is reached. Delete what is not needed first.");
                Self::new(StatusCode::CONFLICT, "endpoint_limit_reached", detail)
            }
            Error::Conflict { code, detail } => Self::new(StatusCode::CONFLICT, code, detail),
            Error::Store(error) => error.into(),
        }
    }
}

impl From<StoreError> for Problem {
    /// Logs the fault, here where it is handled; what is stored, and where, is nobody's business.
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Full(_) => {
                tell_of_refusal(&error);
                let detail = "The server's disk is full; nothing was accepted. Try again later.";
                Self::new(StatusCode::INSUFFICIENT_STORAGE, "storage_full", detail)
                    .retry_after(STORE_RETRY_AFTER)
            }
            StoreError::TooExpensive => {
                let detail = "The list takes too long to gather; narrow it by endpoint, event or time.";
                Self::unavailable(detail, STORE_RETRY_AFTER)
            }
            StoreError::Unreadable(_) => {
                tracing::error!(%error, "a request failed");
                Self::internal()
            }
            StoreError::Unavailable(_) | StoreError::Closed => {
                tell_of_refusal(&error);
                Self::unavailable(
                    "The server's database is unavailable; try again later.",
                    STORE_RETRY_AFTER,
                )
            }
        }
    }
}

/// Refusals that are logged one by one.
const TOLD_EACH: u64 = 10;
/// From then on one of so many is, with their number: a database that is away for a minute must not fill the log's disk.
const TOLD_OF: u64 = 1_000;

/// Logs that a request was refused for the store's sake, unless very many were.
fn tell_of_refusal(error: &StoreError) {
    static REFUSED: AtomicU64 = AtomicU64::new(0);
    let refused = REFUSED.fetch_add(1, Ordering::Relaxed) + 1;
    if refused <= TOLD_EACH || refused.is_multiple_of(TOLD_OF) {
        tracing::error!(%error, refused_since_start = refused, "a request was refused");
    }
}
