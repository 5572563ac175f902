//! The relay and the server under the same load, side by side.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::figures::{mebibytes, millis, ratio, round, whole};
use super::measured::Measured;
use super::round::Plan;
use super::stamp::PAYLOAD_BYTES;

/// Both subjects under one plan.
pub(super) struct SideBySide {
    /// The scenario, and the part of it.
    pub(super) name: &'static str,
    pub(super) plan: Plan,
    /// Rounds that each subject had.
    pub(super) rounds: u32,
    pub(super) relay: Measured,
    pub(super) server: Measured,
}

impl SideBySide {
    /// Deliveries per second beside the relay's.
    pub(super) fn rate_ratio(&self) -> f64 {
        ratio(self.server.rate(), self.relay.rate())
    }

    /// Processor time for each delivery beside the relay's, where that can be known.
    pub(super) fn cpu_ratio(&self) -> Option<f64> {
        Some(ratio(self.server.cpu_micros()?, self.relay.cpu_micros()?))
    }

    /// What neither may have.
    pub(super) fn faults(&self) -> Vec<String> {
        let both = [("server", &self.server), ("relay", &self.relay)];
        both.into_iter()
            .filter_map(|(name, measured)| measured.fault(name))
            .collect()
    }

    pub(super) fn json(&self) -> Value {
        json!({
            "scenario": self.name,
            "seconds": self.plan.window.as_secs(),
            "rounds": self.rounds,
            "connections": self.plan.manner.connections,
            "requests_per_second": self.plan.manner.per_second,
            "fan_out": self.plan.fan_out,
            "payload_bytes": PAYLOAD_BYTES,
            "relay": self.relay.json(),
            "server": self.server.json(),
            "ratios": {
                "rate": round(self.rate_ratio(), 3),
                "cpu": self.cpu_ratio().map(|ratio| round(ratio, 3)),
            },
        })
    }

    /// A table, with what it means below it.
    pub(super) fn words(&self) -> String {
        let or_none = |told: Option<String>| told.unwrap_or_else(|| "-".to_owned());
        let bytes = |bytes: Option<u64>| or_none(bytes.map(|bytes| mebibytes(bytes as f64)));
        let cpu = |of: &Measured| or_none(of.cpu_micros().map(|micros| format!("{micros:.1} us")));
        let rows = [
            self.row("deliveries/s", |of| whole(of.rate()), Some(self.rate_ratio())),
            self.row("events accepted/s", |of| whole(of.accepted_rate()), None),
            self.row("CPU per delivery", cpu, self.cpu_ratio()),
            self.row("latency, p50", |of| millis(of.quantile_micros(0.5)), None),
            self.row("latency, p99", |of| millis(of.quantile_micros(0.99)), None),
            self.row("latency, max", |of| millis(of.latencies.max()), None),
            self.row("memory (RSS), most", |of| bytes(of.rss_bytes), None),
            self.row("write-ahead log, most", |of| bytes(of.wal_bytes), None),
            self.row("deliveries", |of| whole(of.deliveries() as f64), None),
            self.row("duplicates", |of| of.duplicates.to_string(), None),
            self.row("lost", |of| of.lost.to_string(), None),
            self.row("events refused", |of| of.refused.to_string(), None),
        ];
        let mut words = self.title();
        words.extend(rows);
        for (name, measured) in [("relay", &self.relay), ("server", &self.server)] {
            if let Some(refusal) = &measured.refusal {
                // Writing to a string does not fail.
                let _ = write!(words, "\nThe {name} refused an event with {refusal}\n");
            }
        }
        if let Some(spent) = &self.server.postgres {
            let server_micros = self.server.cpu_micros().unwrap_or_default();
            words.push_str(&spent.words(self.server.deliveries(), server_micros));
        }
        words
    }

    fn title(&self) -> String {
        let manner = self.plan.manner;
        let pace = manner
            .per_second
            .map_or_else(String::new, |rate| format!(", {} events/s", whole(rate as f64)));
        format!(
            "{}: {} connections{pace}, fan-out {}, payloads of {PAYLOAD_BYTES} bytes, {} x {} s\n\n{:<22}{:>12}{:>14}{:>17}\n",
            self.name,
            manner.connections,
            self.plan.fan_out,
            self.rounds,
            self.plan.window.as_secs(),
            "",
            "relay",
            "server",
            "server / relay"
        )
    }

    fn row(&self, name: &str, shown: impl Fn(&Measured) -> String, ratio: Option<f64>) -> String {
        let ratio = ratio.map_or_else(String::new, |ratio| format!("{ratio:.2}"));
        let row = format!(
            "{name:<22}{:>12}{:>14}{ratio:>17}",
            shown(&self.relay),
            shown(&self.server)
        );
        format!("{}\n", row.trim_end())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::load::Manner;
    use super::super::measured::tests::measured;
    use super::*;

    fn both() -> SideBySide {
        SideBySide {
            name: "steady",
            plan: Plan {
                window: Duration::from_secs(2),
                manner: Manner::at_full_speed(256),
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
        let told = both().json();
        assert_eq!(told["relay"]["deliveries_per_second"], 40_000.0);
        assert_eq!(told["server"]["cpu_micros_per_delivery"], 40.0);
        assert_eq!(told["server"]["latency_micros"]["p99"], 1_500);
        assert_eq!(told["server"]["wal_bytes"], 4_194_304);
        assert_eq!(told["relay"]["wal_bytes"], Value::Null);
        assert_eq!(told["ratios"], json!({"rate": 0.6, "cpu": 2.0}));
    }

    #[test]
    fn the_table_stands_the_two_side_by_side() {
        let words = both().words();
        for line in [
            "steady: 256 connections, fan-out 1, payloads of 1024 bytes, 1 x 2 s",
            "                             relay        server   server / relay",
            "deliveries/s                40,000        24,000             0.60",
            "events accepted/s           40,000        24,000",
            "CPU per delivery           20.0 us       40.0 us             2.00",
            "latency, p50               1.50 ms       1.50 ms",
            "write-ahead log, most            -       4.0 MiB",
        ] {
            assert!(
                words.lines().any(|told| told == line),
                "{line:?} is not in\n{words}"
            );
        }
    }

    #[test]
    fn what_is_not_known_of_a_server_elsewhere_is_left_out() {
        let server = Measured {
            cpu: None,
            rss_bytes: None,
            ..measured(48_000, 0)
        };
        let both = SideBySide { server, ..both() };
        assert_eq!(both.json()["ratios"]["cpu"], Value::Null);
        let words = both.words();
        let line = "CPU per delivery           20.0 us             -";
        assert!(words.lines().any(|told| told == line), "{words}");
    }

    #[test]
    fn nothing_measured_is_zero_and_not_infinite() {
        let nothing = SideBySide {
            relay: measured(0, 0),
            server: measured(0, 0),
            ..both()
        };
        assert_eq!(nothing.json()["ratios"], json!({"rate": 0.0, "cpu": 0.0}));
        assert_eq!(nothing.faults().len(), 2);
    }
}
