//! How the demonstration looks: aligned columns, and colours where a person watches.

use std::io::{self, IsTerminal as _, Write as _};

use stentor_domain::Timestamp;

use super::receiver::Signature;
use super::watch::News;

const GREEN: &str = "\u{1b}[32m";
const YELLOW: &str = "\u{1b}[33m";
const RED: &str = "\u{1b}[31m";
const BOLD: &str = "\u{1b}[1m";
const PLAIN: &str = "\u{1b}[0m";

/// Writes to standard output.
#[derive(Clone, Copy)]
pub(super) struct Printer {
    colours: bool,
}

impl Printer {
    /// With colours where standard output is a terminal, unless they are declined (no-color.org).
    pub(super) fn to_stdout() -> Self {
        let declined = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self {
            colours: io::stdout().is_terminal() && !declined,
        }
    }

    /// A line of text as it is. Nobody is left to tell when standard output is gone.
    pub(super) fn line(self, text: &str) {
        let mut out = io::stdout();
        let _ = writeln!(out, "{text}");
        let _ = out.flush();
    }

    /// A heading.
    pub(super) fn heading(self, text: &str) {
        self.line(&self.painted(BOLD, text));
    }

    /// The columns' names.
    pub(super) fn columns(self) {
        self.heading(&columns([
            "STARTED (UTC)",
            "EVENT TYPE",
            "ENDPOINT",
            "TRY",
            "STATUS",
            "LATENCY",
            "SIGNATURE",
            "NEXT",
        ]));
    }

    /// An attempt, and what followed from it.
    pub(super) fn attempt(self, news: &News, signature: Signature, now: Timestamp) {
        let colour = match (news.attempt.succeeded(), news.delivery.finished()) {
            (true, _) => GREEN,
            (false, false) => YELLOW,
            (false, true) => RED,
        };
        self.line(&self.painted(colour, &attempt_row(news, signature, now)));
    }

    fn painted(self, colour: &str, text: &str) -> String {
        if self.colours {
            format!("{colour}{text}{PLAIN}")
        } else {
            text.to_owned()
        }
    }
}

fn columns(cells: [&str; 8]) -> String {
    let [
        time,
        event_type,
        endpoint,
        number,
        status,
        latency,
        signature,
        next,
    ] = cells;
    format!(
        "{time:<13}  {event_type:<16}  {endpoint:<9} {number:>3}  {status:<8} {latency:>10}  {signature:<9}  {next}"
    )
}

fn attempt_row(news: &News, signature: Signature, now: Timestamp) -> String {
    let attempt = &news.attempt;
    let signature = match signature {
        Signature::Verified => "verified",
        Signature::Wrong => "WRONG",
        Signature::Unchecked => "-",
    };
    columns([
        // The time of day in `2024-01-01T00:00:00.000Z`.
        attempt.started_at.get(11..23).unwrap_or(&attempt.started_at),
        &news.delivery.event_type,
        &news.name,
        &attempt.number.to_string(),
        &attempt.result(),
        &format!("{:.1} ms", attempt.millis()),
        signature,
        &next(news, now),
    ])
}

fn next(news: &News, now: Timestamp) -> String {
    let delivery = &news.delivery;
    if !news.latest {
        return "tried again".to_owned();
    }
    let due = delivery.next_attempt_at.as_deref().and_then(Timestamp::parse_iso);
    match (due, &delivery.reason) {
        (Some(due), _) => format!("retry in {:.1} s", due.since(now).as_secs_f64()),
        (None, Some(reason)) => format!("{}: {reason}", delivery.status),
        (None, None) => delivery.status.clone(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::watch::{Attempt, Delivery};
    use super::*;

    fn news(status: &str, attempt: serde_json::Value) -> News {
        let delivery = json!({
            "id": "dlv_1", "event": "evt_1", "event_type": "invoice.paid", "endpoint": "ep_1", "status": status,
            "reason": (status == "exhausted").then_some("schedule_ended"),
            "next_attempt_at": (status == "pending").then_some("2030-01-31T12:00:05.000Z"),
        });
        News {
            delivery: serde_json::from_value::<Delivery>(delivery).unwrap(),
            attempt: serde_json::from_value::<Attempt>(attempt).unwrap(),
            name: "flaky".to_owned(),
            latest: true,
        }
    }

    #[test]
    fn a_row_tells_what_happened_and_what_comes_next() {
        let now = Timestamp::parse_iso("2030-01-31T12:00:03.500Z").unwrap();
        let attempt = |number, status: Option<u16>, error: Option<&str>, millis| {
            json!({
                "number": number, "started_at": "2030-01-31T12:00:03.250Z", "status_code": status, "error": error,
                "timing": {"total_ms": millis},
            })
        };
        let rows = [
            (
                news("pending", attempt(1, Some(503), Some("http_status"), 1.234)),
                Signature::Verified,
            ),
            (
                news("delivered", attempt(2, Some(200), None, 0.9)),
                Signature::Verified,
            ),
            (
                news("exhausted", attempt(3, None, Some("timeout"), 2_000.4)),
                Signature::Wrong,
            ),
        ];
        let rows = rows.map(|(news, signature)| attempt_row(&news, signature, now));
        assert_eq!(
            rows,
            [
                "12:00:03.250   invoice.paid      flaky       1  503          1.2 ms  verified   retry in 1.5 s",
                "12:00:03.250   invoice.paid      flaky       2  200          0.9 ms  verified   delivered",
                "12:00:03.250   invoice.paid      flaky       3  timeout   2000.4 ms  WRONG      exhausted: schedule_ended",
            ]
        );
    }
}
