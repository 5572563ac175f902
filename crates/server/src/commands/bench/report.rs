//! What was measured, in words for people and as JSON for machines.

use std::fmt::Write as _;
use std::time::Duration;

use serde_json::{Value, json};

use super::round::Plan;
use super::spent::Spent;
use super::stamp::PAYLOAD_BYTES;
use super::tally::Latencies;

const MEBIBYTE: f64 = 1_048_576.0;

/// What one round of one subject showed, or several put together.
#[derive(Clone, Debug)]
pub(super) struct Measured {
    /// How long deliveries were counted.
    pub(super) window: Duration,
    /// Processor time that the subject used in that time.
    pub(super) cpu: Duration,
    /// Events accepted in that time: where their deliveries do not keep up, more than what was delivered.
    pub(super) accepted: u64,
    /// Of every delivery in that time, in microseconds: from its publishing to its being read whole.
    pub(super) latencies: Latencies,
    /// At the end of that time; of several rounds the most.
    pub(super) rss_bytes: u64,
    /// The write-ahead log at the end of that time, where there is one; of several rounds the most.
    pub(super) wal_bytes: Option<u64>,
    /// Deliveries that came again.
    pub(super) duplicates: u64,
    /// Deliveries of accepted events that never came.
    pub(super) lost: u64,
    /// Requests to the receiver that no event explains.
    pub(super) strange: u64,
    /// Events that were not accepted.
    pub(super) refused: u64,
    /// How one of them was answered.
    pub(super) refusal: Option<String>,
    /// What PostgreSQL spent on it, where that kept its data.
    pub(super) postgres: Option<Spent>,
}

impl Measured {
    /// Puts another round of the same subject to this one.
    pub(super) fn add(&mut self, other: &Self) {
        self.window += other.window;
        self.cpu += other.cpu;
        self.accepted += other.accepted;
        for recorded in other.latencies.iter_recorded() {
            self.latencies
                .saturating_record_n(recorded.value_iterated_to(), recorded.count_at_value());
        }
        self.rss_bytes = self.rss_bytes.max(other.rss_bytes);
        self.wal_bytes = self.wal_bytes.max(other.wal_bytes);
        self.duplicates += other.duplicates;
        self.lost += other.lost;
        self.strange += other.strange;
        self.refused += other.refused;
        self.refusal = self.refusal.take().or_else(|| other.refusal.clone());
        if let (Some(sum), Some(more)) = (&mut self.postgres, &other.postgres) {
            sum.add(more);
        }
    }

    /// Deliveries in the measured time.
    pub(super) fn deliveries(&self) -> u64 {
        self.latencies.len()
    }

    /// Deliveries per second.
    fn rate(&self) -> f64 {
        ratio(self.deliveries() as f64, self.window.as_secs_f64())
    }

    /// Events accepted per second.
    fn accepted_rate(&self) -> f64 {
        ratio(self.accepted as f64, self.window.as_secs_f64())
    }

    /// Microseconds of processor time for each delivery.
    fn cpu_micros(&self) -> f64 {
        ratio(self.cpu.as_secs_f64() * 1e6, self.deliveries() as f64)
    }

    fn quantile_micros(&self, quantile: f64) -> u64 {
        self.latencies.value_at_quantile(quantile)
    }

    fn json(&self) -> Value {
        json!({
            "deliveries_per_second": round(self.rate(), 1),
            "events_per_second": round(self.accepted_rate(), 1),
            "cpu_micros_per_delivery": round(self.cpu_micros(), 2),
            "latency_micros": {
                "p50": self.quantile_micros(0.5),
                "p99": self.quantile_micros(0.99),
                "max": self.latencies.max(),
            },
            "deliveries": self.deliveries(),
            "duplicates": self.duplicates,
            "lost": self.lost,
            "strange": self.strange,
            "refused": self.refused,
            "rss_bytes": self.rss_bytes,
            "wal_bytes": self.wal_bytes,
            "postgres": self.postgres.as_ref().map(|spent| spent.json(self.deliveries())),
        })
    }
}

/// Both subjects, side by side.
pub(super) struct Report {
    pub(super) plan: Plan,
    /// Rounds that each subject had.
    pub(super) rounds: u32,
    pub(super) relay: Measured,
    pub(super) server: Measured,
}

impl Report {
    fn rate_ratio(&self) -> f64 {
        ratio(self.server.rate(), self.relay.rate())
    }

    fn cpu_ratio(&self) -> f64 {
        ratio(self.server.cpu_micros(), self.relay.cpu_micros())
    }

    /// One object with plain units in the names of its fields.
    pub(super) fn json(&self) -> Value {
        json!({
            "scenario": "steady",
            "version": env!("CARGO_PKG_VERSION"),
            "seconds": self.plan.window.as_secs(),
            "rounds": self.rounds,
            "connections": self.plan.connections,
            "fan_out": self.plan.fan_out,
            "payload_bytes": PAYLOAD_BYTES,
            "relay": self.relay.json(),
            "server": self.server.json(),
            "ratios": {
                "rate": round(self.rate_ratio(), 3),
                "cpu": round(self.cpu_ratio(), 3),
            },
        })
    }

    /// A table, with what it means below it.
    pub(super) fn words(&self) -> String {
        let Plan {
            window,
            connections,
            fan_out,
        } = self.plan;
        let rows = [
            self.row("deliveries/s", |of| whole(of.rate()), Some(self.rate_ratio())),
            self.row("events accepted/s", |of| whole(of.accepted_rate()), None),
            self.row(
                "CPU per delivery",
                |of| format!("{:.1} us", of.cpu_micros()),
                Some(self.cpu_ratio()),
            ),
            self.row("latency, p50", |of| millis(of.quantile_micros(0.5)), None),
            self.row("latency, p99", |of| millis(of.quantile_micros(0.99)), None),
            self.row("latency, max", |of| millis(of.latencies.max()), None),
            self.row("memory (RSS)", |of| mebibytes(of.rss_bytes), None),
            self.row(
                "write-ahead log",
                |of| of.wal_bytes.map_or_else(|| "-".to_owned(), mebibytes),
                None,
            ),
            self.row("deliveries", |of| whole(of.deliveries() as f64), None),
            self.row("duplicates", |of| of.duplicates.to_string(), None),
            self.row("lost", |of| of.lost.to_string(), None),
            self.row("events refused", |of| of.refused.to_string(), None),
        ];
        let mut words = format!(
            "steady: {connections} connections, fan-out {fan_out}, payloads of {PAYLOAD_BYTES} bytes, {} rounds of {} s \
             each\n\n{:<18}{:>14}{:>14}{:>17}\n",
            self.rounds,
            window.as_secs(),
            "",
            "relay",
            "server",
            "server / relay"
        );
        words.extend(rows);
        for (name, measured) in [("relay", &self.relay), ("server", &self.server)] {
            if let Some(refusal) = &measured.refusal {
                // Writing to a string does not fail.
                let _ = write!(words, "\nThe {name} refused an event with {refusal}\n");
            }
        }
        let disk = match &self.server.postgres {
            Some(spent) => {
                words.push_str(&spent.words(self.server.deliveries(), self.server.cpu_micros()));
                "committed"
            }
            None => "on disk (synchronous=FULL)",
        };
        let _ = write!(
            words,
            "\nThe server answers when an event is {disk}, signs it and records its delivery.\nThe relay passes it on, and \
             stores nothing: it is the ceiling of this machine.\n",
        );
        words
    }

    fn row(&self, name: &str, shown: impl Fn(&Measured) -> String, ratio: Option<f64>) -> String {
        let ratio = ratio.map_or_else(String::new, |ratio| format!("{ratio:.2}"));
        let row = format!(
            "{name:<18}{:>14}{:>14}{ratio:>17}",
            shown(&self.relay),
            shown(&self.server)
        );
        format!("{}\n", row.trim_end())
    }
}

/// Zero where there is nothing to compare with: JSON has no infinity.
pub(super) fn ratio(of: f64, to: f64) -> f64 {
    if to > 0.0 { of / to } else { 0.0 }
}

pub(super) fn round(number: f64, digits: i32) -> f64 {
    let scale = 10_f64.powi(digits);
    (number * scale).round() / scale
}

/// A whole number with commas between its thousands.
pub(super) fn whole(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut grouped = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

fn millis(micros: u64) -> String {
    format!("{:.2} ms", micros as f64 / 1e3)
}

pub(super) fn mebibytes(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / MEBIBYTE)
}

#[cfg(test)]
mod tests {
    use super::super::tally::no_latencies;
    use super::*;

    fn measured(deliveries: u64, cpu_millis: u64) -> Measured {
        let mut latencies = no_latencies();
        latencies.record_n(1_500, deliveries).unwrap();
        Measured {
            window: Duration::from_secs(2),
            cpu: Duration::from_millis(cpu_millis),
            accepted: deliveries,
            latencies,
            rss_bytes: 31_457_280,
            wal_bytes: None,
            duplicates: 0,
            lost: 0,
            strange: 0,
            refused: 0,
            refusal: None,
            postgres: None,
        }
    }

    fn report() -> Report {
        Report {
            plan: Plan {
                window: Duration::from_secs(2),
                connections: 256,
                fan_out: 1,
            },
            rounds: 1,
            relay: measured(80_000, 1_600),
            server: Measured {
                wal_bytes: Some(4_194_304),
                ..measured(48_000, 1_920)
            },
        }
    }

    #[test]
    fn the_object_tells_rates_costs_and_ratios() {
        let told = report().json();
        assert_eq!(told["relay"]["deliveries_per_second"], 40_000.0);
        assert_eq!(told["server"]["cpu_micros_per_delivery"], 40.0);
        assert_eq!(told["server"]["latency_micros"]["p99"], 1_500);
        assert_eq!(told["server"]["wal_bytes"], 4_194_304);
        assert_eq!(told["relay"]["wal_bytes"], Value::Null);
        assert_eq!(told["ratios"], json!({"rate": 0.6, "cpu": 2.0}));
    }

    #[test]
    fn the_table_stands_the_two_side_by_side() {
        let words = report().words();
        for line in [
            "                           relay        server   server / relay",
            "deliveries/s              40,000        24,000             0.60",
            "events accepted/s         40,000        24,000",
            "CPU per delivery         20.0 us       40.0 us             2.00",
            "latency, p50             1.50 ms       1.50 ms",
            "write-ahead log                -       4.0 MiB",
        ] {
            assert!(
                words.lines().any(|told| told == line),
                "{line:?} is not in\n{words}"
            );
        }
    }

    #[test]
    fn rounds_of_one_subject_are_put_together() {
        let mut sum = measured(10_000, 100);
        sum.add(&Measured {
            rss_bytes: 41_943_040,
            lost: 3,
            ..measured(30_000, 300)
        });
        assert_eq!(
            (sum.deliveries(), sum.lost, sum.rss_bytes),
            (40_000, 3, 41_943_040)
        );
        assert_eq!((sum.rate(), sum.cpu_micros()), (10_000.0, 10.0));
        assert_eq!(sum.latencies.max(), measured(1, 1).latencies.max());
    }

    #[test]
    fn nothing_measured_is_zero_and_not_infinite() {
        let report = Report {
            relay: measured(0, 0),
            server: measured(0, 0),
            ..report()
        };
        assert_eq!(report.json()["ratios"], json!({"rate": 0.0, "cpu": 0.0}));
    }

    #[test]
    fn thousands_are_grouped() {
        let told = [0.0, 999.0, 1_000.4, 1_234_567.0].map(whole);
        assert_eq!(told, ["0", "999", "1,000", "1,234,567"]);
    }
}
