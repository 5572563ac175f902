//! What PostgreSQL spent on a measurement, in words and as JSON: its processor time, its log, and what it did to rows.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use serde_json::{Map, Value, json};
use stentor_store::measure::{ServerFacts, TableCounts};

use super::figures::{mebibytes, ratio, round, whole};

/// A table that was touched less often for each delivery is left out of the words: it belongs to the setting up.
const TOLD_TOUCHES_MIN: f64 = 0.005;

/// What one round cost PostgreSQL, or several together.
#[derive(Clone, Debug)]
pub(super) struct Spent {
    pub(super) facts: ServerFacts,
    /// Of all its processes in the measured part, where they are on this machine.
    pub(super) cpu: Option<Duration>,
    /// Written to its log in the measured part.
    pub(super) wal_bytes: u64,
    /// All deliveries of the rounds, what came before and after the measured part included; the tables count those.
    pub(super) deliveries: u64,
    pub(super) tables: BTreeMap<String, TableCounts>,
}

impl Spent {
    /// Puts another round to this one. What a table had at the end is that of the round that had the most.
    pub(super) fn add(&mut self, other: &Self) {
        self.cpu = self.cpu.zip(other.cpu).map(|(one, other)| one + other);
        self.wal_bytes += other.wal_bytes;
        self.deliveries += other.deliveries;
        for (name, more) in &other.tables {
            let sum = self.tables.entry(name.clone()).or_default();
            sum.inserted += more.inserted;
            sum.updated += more.updated;
            sum.updated_not_hot += more.updated_not_hot;
            sum.deleted += more.deleted;
            sum.dead = sum.dead.max(more.dead);
            sum.bytes = sum.bytes.max(more.bytes);
            sum.vacuums += more.vacuums;
        }
    }

    /// Microseconds of processor time for each of the measured deliveries.
    pub(super) fn cpu_micros(&self, measured: u64) -> Option<f64> {
        let cpu = self.cpu?;
        Some(ratio(cpu.as_secs_f64() * 1e6, measured as f64))
    }

    fn wal_per_delivery(&self, measured: u64) -> f64 {
        ratio(self.wal_bytes as f64, measured as f64)
    }

    fn per_delivery(&self, count: u64) -> f64 {
        ratio(count as f64, self.deliveries as f64)
    }

    /// Rows inserted, updated and deleted for each delivery.
    fn touches(&self) -> f64 {
        self.per_delivery(self.tables.values().map(touches).sum())
    }

    /// `measured` is how many deliveries the measured part had.
    pub(super) fn json(&self, measured: u64) -> Value {
        let tables: Map<String, Value> = self
            .tables
            .iter()
            .filter(|(_, counts)| touches(counts) > 0)
            .map(|(name, counts)| {
                let told = json!({
                    "inserted": counts.inserted,
                    "updated": counts.updated,
                    "updated_not_hot": counts.updated_not_hot,
                    "deleted": counts.deleted,
                    "dead": counts.dead,
                    "bytes": counts.bytes,
                    "vacuums": counts.vacuums,
                });
                (name.clone(), told)
            })
            .collect();
        json!({
            "version": self.facts.version,
            "fsync": self.facts.fsync,
            "synchronous_commit": self.facts.synchronous_commit,
            "cpu_micros_per_delivery": self.cpu_micros(measured).map(|micros| round(micros, 2)),
            "wal_bytes_per_delivery": round(self.wal_per_delivery(measured), 0),
            "row_touches_per_delivery": round(self.touches(), 3),
            "deliveries": self.deliveries,
            "tables": tables,
        })
    }

    /// `measured` is how many deliveries the measured part had, `server_micros` what each cost the server itself.
    pub(super) fn words(&self, measured: u64, server_micros: f64) -> String {
        let facts = &self.facts;
        let mut words = format!(
            "\nPostgreSQL {}, fsync {}, synchronous_commit {}\n",
            facts.version,
            if facts.fsync { "on" } else { "off" },
            facts.synchronous_commit
        );
        if !facts.fsync {
            words.push_str(
                "WARNING: this server does not wait for the disk. Nothing here was durable, and no figure counts.\n",
            );
        }
        let cpu = self.cpu_micros(measured).map_or_else(
            || "not known: it is not on this machine".to_owned(),
            |micros| {
                format!(
                    "{micros:.1} us, {:.1} us with the server's",
                    micros + server_micros
                )
            },
        );
        // Writing to a string does not fail.
        let _ = write!(
            words,
            "{:<26}{cpu}\n{:<26}{} bytes\n{:<26}{:.2}\n\n{:<18}{:>10}{:>10}{:>10}{:>12}{:>10}{:>14}{:>10}\n",
            "CPU per delivery",
            "log per delivery",
            whole(self.wal_per_delivery(measured)),
            "row touches per delivery",
            self.touches(),
            "per delivery",
            "inserted",
            "updated",
            "deleted",
            "not HOT",
            "dead",
            "size",
            "vacuums"
        );
        for (name, counts) in &self.tables {
            if self.per_delivery(touches(counts)) < TOLD_TOUCHES_MIN {
                continue;
            }
            let _ = writeln!(
                words,
                "{name:<18}{:>10.2}{:>10.2}{:>10.2}{:>12}{:>10}{:>14}{:>10}",
                self.per_delivery(counts.inserted),
                self.per_delivery(counts.updated),
                self.per_delivery(counts.deleted),
                whole(counts.updated_not_hot as f64),
                whole(counts.dead as f64),
                mebibytes(counts.bytes as f64),
                counts.vacuums
            );
        }
        words
    }
}

fn touches(counts: &TableCounts) -> u64 {
    counts.inserted + counts.updated + counts.deleted
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spent() -> Spent {
        let work = TableCounts {
            table: "work".to_owned(),
            inserted: 1_000,
            updated: 20,
            updated_not_hot: 3,
            deleted: 990,
            dead: 70,
            bytes: 1_048_576,
            vacuums: 2,
        };
        let tenants = TableCounts {
            table: "tenants".to_owned(),
            inserted: 4,
            ..TableCounts::default()
        };
        Spent {
            facts: ServerFacts {
                version: "15.1".to_owned(),
                fsync: true,
                synchronous_commit: "on".to_owned(),
                backend: 1,
            },
            cpu: Some(Duration::from_millis(16)),
            wal_bytes: 800_000,
            deliveries: 1_000,
            tables: [work, tenants]
                .map(|counts| (counts.table.clone(), counts))
                .into(),
        }
    }

    #[test]
    fn the_table_tells_what_a_delivery_did_to_rows() {
        let words = spent().words(800, 60.0);
        for line in [
            "PostgreSQL 15.1, fsync on, synchronous_commit on",
            "CPU per delivery          20.0 us, 80.0 us with the server's",
            "log per delivery          1,000 bytes",
            "row touches per delivery  2.01",
            "per delivery        inserted   updated   deleted     not HOT      dead          size   vacuums",
            "work                    1.00      0.02      0.99           3        70       1.0 MiB         2",
        ] {
            assert!(
                words.lines().any(|told| told == line),
                "{line:?} is not in\n{words}"
            );
        }
        assert!(
            !words.contains("tenants") && !words.contains("WARNING"),
            "{words}"
        );
    }

    #[test]
    fn a_server_that_does_not_wait_for_the_disk_is_told_loudly() {
        let mut spent = spent();
        spent.facts.fsync = false;
        let words = spent.words(800, 60.0);
        assert!(
            words.contains("WARNING: this server does not wait for the disk"),
            "{words}"
        );
        assert_eq!(spent.json(800)["fsync"], false);
    }

    #[test]
    fn rounds_are_put_together_and_a_server_elsewhere_has_no_processor_time() {
        let mut sum = spent();
        sum.add(&Spent { cpu: None, ..spent() });
        let told = sum.json(1_600);
        assert_eq!(told["cpu_micros_per_delivery"], Value::Null);
        assert_eq!(told["wal_bytes_per_delivery"], 1_000.0);
        assert_eq!(told["row_touches_per_delivery"], 2.014);
        let work = json!({"inserted": 2_000, "updated": 40, "updated_not_hot": 6, "deleted": 1_980, "dead": 70,
                          "bytes": 1_048_576, "vacuums": 4});
        assert_eq!(told["tables"]["work"], work);
        assert!(
            sum.words(1_600, 60.0)
                .contains("not known: it is not on this machine")
        );
    }
}
