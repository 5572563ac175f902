//! `/v1/endpoints/{id}/stats` and `/v1/tenants/{id}/stats`.

use super::endpoints::which;
use super::filter::Faults;
use crate::app::App;
use crate::call::{Call, Named};
use crate::input;
use crate::problem::Problem;
use axum::Json;
use axum::extract::{RawQuery, State};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use stentor_domain::Timestamp;
use stentor_domain::stats::{Attempts, Counts};
use stentor_engine::stats::{Bucket, Stats};
use stentor_store::period::Period;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(of_endpoint))
        .routes(routes!(of_tenant))
}

/// Which statistics.
#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
struct StatsQuery {
    /// Of deliveries that were accepted then or later; rounded down to a whole bucket. By default a day before `until`.
    #[param(format = DateTime)]
    since: Option<String>,
    /// Of deliveries that were accepted before; rounded up to a whole bucket. By default now.
    #[param(format = DateTime)]
    until: Option<String>,
    /// `hour` (the default) or `day`, of UTC.
    #[param(pattern = "^(hour|day)$")]
    bucket: Option<String>,
}

impl StatsQuery {
    fn read(query: Option<&str>) -> Result<(Period, Bucket), Problem> {
        let this: Self = input::query(query)?;
        let mut faults = Faults::default();
        let period = faults.period(this.since.as_deref(), this.until.as_deref());
        let rule = "must be hour or day";
        let bucket = faults.take("bucket", this.bucket.as_deref(), Bucket::parse, rule);
        faults.done()?;
        Ok((period, bucket.unwrap_or_default()))
    }
}

/// What became of the deliveries that were accepted in a span of time.
#[derive(Serialize, ToSchema)]
struct StatsOut {
    /// Where the first bucket begins.
    since: String,
    /// Where the last bucket ends.
    until: String,
    /// `hour` or `day`.
    bucket: &'static str,
    totals: CountsOut,
    /// One after the other, the oldest first, those in which nothing was accepted too.
    buckets: Vec<BucketOut>,
}

/// What became of the deliveries that were accepted in one bucket.
#[derive(Serialize, ToSchema)]
struct BucketOut {
    /// When it begins.
    start: String,
    #[serde(flatten)]
    counts: CountsOut,
}

/// What is counted. Whatever happened later is counted where the delivery was accepted; tests are not counted.
#[derive(Serialize, ToSchema)]
struct CountsOut {
    deliveries: DeliveriesOut,
    attempts: AttemptsOut,
    latency_ms: LatencyOut,
}

/// Deliveries, by where they are now.
#[derive(Serialize, ToSchema)]
struct DeliveriesOut {
    total: i64,
    pending: i64,
    held: i64,
    delivered: i64,
    exhausted: i64,
    cancelled: i64,
}

/// Attempts of these deliveries.
#[derive(Serialize, ToSchema)]
struct AttemptsOut {
    total: u64,
    succeeded: u64,
    failed: u64,
    /// The failed ones by their error class, such as `timeout`; classes without any are left out.
    errors: BTreeMap<&'static str, u64>,
}

/// How long the attempts took, in milliseconds and within about 6 %: what so many of a hundred did not exceed; null where
/// nobody was asked.
#[derive(Serialize, ToSchema)]
struct LatencyOut {
    #[schema(required)]
    p50: Option<f64>,
    #[schema(required)]
    p95: Option<f64>,
    #[schema(required)]
    p99: Option<f64>,
}

impl From<&Stats> for StatsOut {
    fn from(stats: &Stats) -> Self {
        let bucket = |(start, counts): &(Timestamp, Counts)| BucketOut {
            start: start.iso_millis(),
            counts: counts.into(),
        };
        Self {
            since: stats.since.iso_millis(),
            until: stats.until.iso_millis(),
            bucket: stats.bucket.as_str(),
            totals: (&stats.totals).into(),
            buckets: stats.buckets.iter().map(bucket).collect(),
        }
    }
}

impl From<&Counts> for CountsOut {
    fn from(counts: &Counts) -> Self {
        Self {
            deliveries: DeliveriesOut {
                total: counts.accepted(),
                pending: counts.pending,
                held: counts.held,
                delivered: counts.delivered,
                exhausted: counts.exhausted,
                cancelled: counts.cancelled,
            },
            attempts: (&counts.attempts).into(),
            latency_ms: LatencyOut {
                p50: millis(&counts.attempts, 50),
                p95: millis(&counts.attempts, 95),
                p99: millis(&counts.attempts, 99),
            },
        }
    }
}

impl From<&Attempts> for AttemptsOut {
    fn from(attempts: &Attempts) -> Self {
        let errors = attempts.failed.iter();
        Self {
            total: attempts.total(),
            succeeded: attempts.succeeded + attempts.simulated,
            failed: attempts.all_failed(),
            errors: errors.map(|(class, count)| (class.as_str(), *count)).collect(),
        }
    }
}

fn millis(attempts: &Attempts, percent: u64) -> Option<f64> {
    let micros = attempts.latencies.quantile_micros(percent)?;
    // A class of durations has fewer digits than this.
    Some(f64::from(u32::try_from(micros).unwrap_or(u32::MAX)) / 1_000.0)
}

/// Get what became of an endpoint's deliveries: counts, and how long its attempts took.
#[utoipa::path(
    get, path = "/v1/endpoints/{id}/stats", tag = "endpoints", operation_id = "stats",
    params(("id" = String, Path, description = "Its id."), StatsQuery), responses((status = 200, body = StatsOut))
)]
async fn of_endpoint(
    State(app): State<App>,
    call: Call,
    Named(id): Named,
    RawQuery(query): RawQuery,
) -> Result<Json<StatsOut>, Problem> {
    let (period, bucket) = StatsQuery::read(query.as_deref())?;
    let stats = app
        .engine()
        .endpoint_stats(&call.caller, which(&id), period, bucket)
        .await?;
    Ok(Json(StatsOut::from(&stats)))
}

/// Get what became of the deliveries of all endpoints of a tenant, deleted ones included. The tenant's own keys may ask.
#[utoipa::path(
    get, path = "/v1/tenants/{id}/stats", tag = "tenants", operation_id = "stats",
    params(("id" = String, Path, description = "Id or uid."), StatsQuery), responses((status = 200, body = StatsOut))
)]
async fn of_tenant(
    State(app): State<App>,
    call: Call,
    Named(id): Named,
    RawQuery(query): RawQuery,
) -> Result<Json<StatsOut>, Problem> {
    let (period, bucket) = StatsQuery::read(query.as_deref())?;
    let stats = app
        .engine()
        .tenant_stats(&call.caller, &id, period, bucket)
        .await?;
    Ok(Json(StatsOut::from(&stats)))
}
