//! What was measured of one subject.

use std::time::Duration;

use serde_json::{Value, json};

use super::figures::{ratio, round};
use super::spent::Spent;
use super::tally::Latencies;

/// What one round of one subject showed, or several put together.
#[derive(Clone, Debug)]
pub(super) struct Measured {
    /// How long deliveries were counted.
    pub(super) window: Duration,
    /// Processor time that the subject used in that time, where that can be known.
    pub(super) cpu: Option<Duration>,
    /// Events accepted in that time: where their deliveries do not keep up, more than what was delivered.
    pub(super) accepted: u64,
    /// Of every delivery in that time, in microseconds: from its publishing to its being read whole.
    pub(super) latencies: Latencies,
    /// The most in that time.
    pub(super) rss_bytes: Option<u64>,
    /// The longest write-ahead log in that time, where there is one.
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
        self.cpu = self.cpu.zip(other.cpu).map(|(one, other)| one + other);
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
    pub(super) fn rate(&self) -> f64 {
        ratio(self.deliveries() as f64, self.window.as_secs_f64())
    }

    /// Events accepted per second.
    pub(super) fn accepted_rate(&self) -> f64 {
        ratio(self.accepted as f64, self.window.as_secs_f64())
    }

    /// Microseconds of processor time for each of `count`.
    pub(super) fn cpu_micros_for(&self, count: u64) -> Option<f64> {
        Some(ratio(self.cpu?.as_secs_f64() * 1e6, count as f64))
    }

    /// Microseconds of processor time for each delivery.
    pub(super) fn cpu_micros(&self) -> Option<f64> {
        self.cpu_micros_for(self.deliveries())
    }

    pub(super) fn quantile_micros(&self, quantile: f64) -> u64 {
        self.latencies.value_at_quantile(quantile)
    }

    pub(super) fn quantile_millis(&self, quantile: f64) -> f64 {
        self.quantile_micros(quantile) as f64 / 1e3
    }

    /// What a scenario must not have, in words for whoever ran it.
    pub(super) fn fault(&self, name: &str) -> Option<String> {
        if self.lost > 0 {
            Some(format!("{} deliveries of the {name} were lost", self.lost))
        } else if self.deliveries() == 0 {
            Some(format!("the {name} delivered nothing"))
        } else {
            None
        }
    }

    pub(super) fn json(&self) -> Value {
        json!({
            "seconds": round(self.window.as_secs_f64(), 3),
            "deliveries_per_second": round(self.rate(), 1),
            "events_per_second": round(self.accepted_rate(), 1),
            "cpu_micros_per_delivery": self.cpu_micros().map(|micros| round(micros, 2)),
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

#[cfg(test)]
pub(super) mod tests {
    use super::super::tally::no_latencies;
    use super::*;

    /// Two seconds with so many deliveries of 1.5 ms.
    pub(in super::super) fn measured(deliveries: u64, cpu_millis: u64) -> Measured {
        let mut latencies = no_latencies();
        latencies.record_n(1_500, deliveries).unwrap();
        Measured {
            window: Duration::from_secs(2),
            cpu: Some(Duration::from_millis(cpu_millis)),
            accepted: deliveries,
            latencies,
            rss_bytes: Some(31_457_280),
            wal_bytes: None,
            duplicates: 0,
            lost: 0,
            strange: 0,
            refused: 0,
            refusal: None,
            postgres: None,
        }
    }

    #[test]
    fn rounds_of_one_subject_are_put_together() {
        let mut sum = measured(10_000, 100);
        sum.add(&Measured {
            rss_bytes: Some(41_943_040),
            lost: 3,
            ..measured(30_000, 300)
        });
        assert_eq!(
            (sum.deliveries(), sum.lost, sum.rss_bytes),
            (40_000, 3, Some(41_943_040))
        );
        assert_eq!((sum.rate(), sum.cpu_micros()), (10_000.0, Some(10.0)));
        assert_eq!(sum.latencies.max(), measured(1, 1).latencies.max());
    }

    #[test]
    fn what_was_lost_or_never_came_is_a_fault() {
        let lost = Measured {
            lost: 3,
            ..measured(1, 1)
        };
        assert_eq!(
            lost.fault("server").as_deref(),
            Some("3 deliveries of the server were lost")
        );
        assert_eq!(
            measured(0, 1).fault("relay").as_deref(),
            Some("the relay delivered nothing")
        );
        assert_eq!(measured(1, 1).fault("relay"), None);
    }

    #[test]
    fn what_cannot_be_known_of_a_server_elsewhere_is_null() {
        let elsewhere = Measured {
            cpu: None,
            rss_bytes: None,
            ..measured(10, 1)
        };
        let told = elsewhere.json();
        assert_eq!(
            (&told["cpu_micros_per_delivery"], &told["rss_bytes"]),
            (&Value::Null, &Value::Null)
        );
    }
}
