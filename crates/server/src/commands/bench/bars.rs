//! The bars: what the project asks of itself, each with the figure of this run and whether it is met.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::figures::{mebibytes, round, whole};

/// What a figure counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unit {
    /// One figure by another.
    Ratio,
    Millis,
    Seconds,
    Bytes,
    PerSecond,
}

/// On which side of a bar a figure has to be.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Bound {
    AtLeast(f64),
    AtMost(f64),
}

/// A bar with its figure.
#[derive(Clone, Debug)]
pub(super) struct Bar {
    id: &'static str,
    /// What the figure is.
    what: String,
    figure: f64,
    unit: Unit,
    bound: Bound,
    /// Another way to meet it, in words, and whether it is met so.
    or: Option<(String, bool)>,
}

impl Bar {
    pub(super) fn at_least(id: &'static str, what: &str, figure: f64, unit: Unit, bound: f64) -> Self {
        Self {
            id,
            what: what.to_owned(),
            figure,
            unit,
            bound: Bound::AtLeast(bound),
            or: None,
        }
    }

    pub(super) fn at_most(id: &'static str, what: &str, figure: f64, unit: Unit, bound: f64) -> Self {
        Self {
            bound: Bound::AtMost(bound),
            ..Self::at_least(id, what, figure, unit, bound)
        }
    }

    /// Another way to meet it.
    pub(super) fn or(self, words: String, met: bool) -> Self {
        Self {
            or: Some((words, met)),
            ..self
        }
    }

    /// Is the figure where it has to be?
    pub(super) fn is_met(&self) -> bool {
        let by_figure = match self.bound {
            Bound::AtLeast(bound) => self.figure >= bound,
            Bound::AtMost(bound) => self.figure <= bound,
        };
        by_figure || self.or.as_ref().is_some_and(|(_, met)| *met)
    }

    /// The number in its name.
    pub(super) fn number(&self) -> u32 {
        self.id.trim_start_matches('P').parse().unwrap_or(u32::MAX)
    }

    fn asked(&self) -> String {
        let asked = match self.bound {
            Bound::AtLeast(bound) => format!("at least {}", told(bound, self.unit)),
            Bound::AtMost(bound) => format!("at most {}", told(bound, self.unit)),
        };
        match &self.or {
            Some((words, _)) => format!("{asked}, or {words}"),
            None => asked,
        }
    }

    pub(super) fn json(&self) -> Value {
        let unit = match self.unit {
            Unit::Ratio => "ratio",
            Unit::Millis => "ms",
            Unit::Seconds => "s",
            Unit::Bytes => "bytes",
            Unit::PerSecond => "per_second",
        };
        json!({
            "id": self.id,
            "what": self.what,
            "figure": round(self.figure, 3),
            "unit": unit,
            "bar": self.asked(),
            "met": self.is_met(),
        })
    }
}

fn told(figure: f64, unit: Unit) -> String {
    match unit {
        Unit::Ratio => format!("{figure:.2}"),
        Unit::Millis => format!("{figure:.2} ms"),
        Unit::Seconds => format!("{figure:.2} s"),
        Unit::Bytes => mebibytes(figure),
        Unit::PerSecond => format!("{}/s", whole(figure)),
    }
}

/// A line for each.
pub(super) fn table(bars: &[Bar]) -> String {
    let width = bars.iter().map(|bar| bar.what.len()).max().unwrap_or(0);
    let mut words = String::new();
    for bar in bars {
        let met = if bar.is_met() { "met" } else { "MISSED" };
        // Writing to a string does not fail.
        let _ = writeln!(
            words,
            "{:<4}{:<width$}  {:>12}   {met:<7}{}",
            bar.id,
            bar.what,
            told(bar.figure, bar.unit),
            bar.asked()
        );
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_is_met_on_its_side_or_in_its_other_way() {
        let rate = |figure| Bar::at_least("P1", "rate", figure, Unit::Ratio, 0.5);
        assert!(rate(0.5).is_met() && !rate(0.499).is_met());
        let restart = |figure| Bar::at_most("P5", "restart", figure, Unit::Seconds, 2.0);
        assert!(restart(2.0).is_met() && !restart(2.001).is_met());
        assert!(restart(9.0).or("a miracle".to_owned(), true).is_met());
        assert!(!restart(9.0).or("a miracle".to_owned(), false).is_met());
    }

    #[test]
    fn a_line_tells_the_figure_what_is_asked_and_whether_it_is_met() {
        let bars = [
            Bar::at_least("P1", "rate beside the relay", 0.36, Unit::Ratio, 0.5),
            Bar::at_most("P5", "idle memory", 29_360_128.0, Unit::Bytes, 41_943_040.0),
            Bar::at_least("P9", "accepted", 61_234.4, Unit::PerSecond, 50_000.0),
        ];
        let lines = [
            "P1  rate beside the relay          0.36   MISSED at least 0.50",
            "P5  idle memory                28.0 MiB   met    at most 40.0 MiB",
            "P9  accepted                   61,234/s   met    at least 50,000/s",
        ];
        assert_eq!(table(&bars), lines.map(|line| format!("{line}\n")).concat());
        let other = Bar::at_most("P4", "p99", 1.3, Unit::Ratio, 1.2).or("0.50 ms more".to_owned(), true);
        assert_eq!(
            other.json(),
            json!({"id": "P4", "what": "p99", "figure": 1.3, "unit": "ratio", "bar": "at most 1.20, or 0.50 ms more",
                   "met": true})
        );
    }
}
