//! `/metrics`: what the process counts and measures of itself, as OpenMetrics text, which Prometheus reads.
//!
//! The numbers are the process's own atomics; the library writes them down when they are asked for. Labels have values out of
//! closed lists only.

use crate::app::App;
use crate::call::Call;
use crate::problem::Problem;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::header::CONTENT_TYPE;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _, NoLabelSet, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::{Registry, Unit};
use std::fmt::Result as Written;
use stentor_engine::Error as EngineError;
use stentor_store::Store;
use stentor_store::backlog::Backlog;
use stentor_store::metrics::{Distribution, Metrics};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

const MEDIA_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const PREFIX: &str = "stentor";

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(metrics))
}

/// Counts why a publish is refused.
pub(super) fn count_refusal(app: &App, problem: &Problem) {
    app.engine().store().metrics().note_refused(problem.code());
}

/// Get the metrics of this process, as OpenMetrics text for Prometheus. Root keys only.
#[utoipa::path(
    get, path = "/metrics", tag = "health", operation_id = "metrics",
    responses((status = 200, description = "OpenMetrics text.", body = String, content_type = "application/openmetrics-text"))
)]
async fn metrics(State(app): State<App>, call: Call) -> Result<Response, Problem> {
    call.caller.is_root()?;
    let store = app.engine().store();
    let backlog = store
        .backlog(app.engine().now())
        .await
        .map_err(EngineError::from)?;
    let mut registry = Registry::with_prefix(PREFIX);
    registry.register_collector(Box::new(Snapshot {
        store: store.clone(),
        backlog,
    }));
    let mut written = String::new();
    // Writing into a string does not fail.
    text::encode(&mut written, &registry).unwrap_or_default();
    Ok(([(CONTENT_TYPE, MEDIA_TYPE)], written).into_response())
}

/// What is shown at one moment.
#[derive(Debug)]
struct Snapshot {
    store: Store,
    backlog: Backlog,
}

impl Collector for Snapshot {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Written {
        let into = &mut encoder;
        let metrics = self.store.metrics();
        build(into)?;
        publishing(into, metrics)?;
        attempts(into, metrics)?;
        database(into, metrics)?;
        let seconds = Some(&Unit::Seconds);
        let backlog = self.backlog;
        let due = "How long the oldest delivery in the store has been due, of endpoints that are neither held nor parked.";
        gauge(
            into,
            ("oldest_due", due),
            seconds,
            backlog.oldest_due.as_secs_f64(),
        )?;
        let unfinished = "Age of the oldest delivery that has not ended, whatever it waits for.";
        let age = backlog.oldest_unfinished.as_secs_f64();
        gauge(into, ("oldest_unfinished", unfinished), seconds, age)?;
        let open = "Endpoints that are not asked for a while, since they failed or asked for a pause.";
        gauge(into, ("open_breakers", open), None, level(backlog.parked))
    }
}

/// A name, and what it means.
type Named = (&'static str, &'static str);

fn build(into: &mut DescriptorEncoder<'_>) -> Written {
    let labels = [("version", env!("CARGO_PKG_VERSION"))];
    let mut metric =
        into.encode_descriptor("build_info", "Which program this is.", None, MetricType::Gauge)?;
    let family = metric.encode_family(&labels)?;
    ConstGauge::new(1_u64).encode(family)
}

fn publishing(into: &mut DescriptorEncoder<'_>, metrics: &Metrics) -> Written {
    let accepted = "Events accepted, tests left out.";
    counter(into, ("events_accepted", accepted), metrics.events_accepted.get())?;
    let refused = (
        "publishes_refused",
        "Publishes refused, by the code of the refusal.",
    );
    counters(into, refused, "code", metrics.refused())?;
    let wait = (
        "publish_wait",
        "How long publishes waited for their turn, of those that had to since more was ready than is sent.",
    );
    durations(into, wait, &metrics.publish_wait)
}

fn attempts(into: &mut DescriptorEncoder<'_>, metrics: &Metrics) -> Written {
    let lag = "From the acceptance of an event to the start of each of its first attempts.";
    durations(
        into,
        ("publish_to_first_attempt", lag),
        &metrics.first_attempt_lag,
    )?;
    counters(
        into,
        ("attempts", "Attempts, by outcome."),
        "outcome",
        metrics.attempts(),
    )?;
    let duration = "How long attempts took, simulated ones left out.";
    durations(into, ("attempt_duration", duration), &metrics.attempt_duration)?;
    let in_flight = ("attempts_in_flight", "Attempts in flight.");
    gauge(into, in_flight, None, level(metrics.in_flight.get()))?;
    let in_memory = (
        "deliveries_in_memory",
        "Deliveries that wait in memory to be sent.",
    );
    gauge(into, in_memory, None, level(metrics.in_memory.get()))
}

fn database(into: &mut DescriptorEncoder<'_>, metrics: &Metrics) -> Written {
    let members = (
        "commit_members",
        "Publishes, claims and records that were committed together.",
    );
    distribution(into, members, None, &metrics.commit_members, 1.0)?;
    let duration = (
        "commit_duration",
        "How long writing and committing such a group took.",
    );
    durations(into, duration, &metrics.commit_duration)?;
    let errors = (
        "database_errors",
        "Questions and records that the database failed, by how.",
    );
    counters(into, errors, "kind", metrics.errors())
}

fn counter(into: &mut DescriptorEncoder<'_>, (name, help): Named, count: u64) -> Written {
    let metric = into.encode_descriptor(name, help, None, MetricType::Counter)?;
    ConstCounter::new(count).encode(metric)
}

/// A counter for each value of a label.
fn counters(
    into: &mut DescriptorEncoder<'_>,
    (name, help): Named,
    label: &'static str,
    counts: impl IntoIterator<Item = (&'static str, u64)>,
) -> Written {
    let mut metric = into.encode_descriptor(name, help, None, MetricType::Counter)?;
    for (value, count) in counts {
        let labels = [(label, value)];
        ConstCounter::new(count).encode(metric.encode_family(&labels)?)?;
    }
    Ok(())
}

fn gauge(into: &mut DescriptorEncoder<'_>, (name, help): Named, unit: Option<&Unit>, value: f64) -> Written {
    let metric = into.encode_descriptor(name, help, unit, MetricType::Gauge)?;
    ConstGauge::new(value).encode(metric)
}

/// Durations, which are kept in microseconds and shown in seconds.
fn durations(into: &mut DescriptorEncoder<'_>, named: Named, shown: &Distribution) -> Written {
    distribution(into, named, Some(&Unit::Seconds), shown, 1_000_000.0)
}

/// A distribution whose numbers are shown as so many of a unit.
fn distribution(
    into: &mut DescriptorEncoder<'_>,
    (name, help): Named,
    unit: Option<&Unit>,
    shown: &Distribution,
    per_unit: f64,
) -> Written {
    let parts: Vec<(f64, u64)> = shown
        .parts()
        .map(|(bound, count)| {
            (
                bound.map_or(f64::INFINITY, |bound| float(bound) / per_unit),
                count,
            )
        })
        .collect();
    let all = parts.iter().map(|(_, count)| count).sum();
    let mut metric = into.encode_descriptor(name, help, unit, MetricType::Histogram)?;
    let sum = float(shown.sum()) / per_unit;
    metric.encode_histogram::<NoLabelSet>(sum, all, &parts, None)
}

#[expect(
    clippy::cast_precision_loss,
    reason = "beyond 2 to the power of 53 the last digit is nobody's business"
)]
fn float(number: u64) -> f64 {
    number as f64
}

fn level(number: usize) -> f64 {
    float(u64::try_from(number).unwrap_or(u64::MAX))
}
