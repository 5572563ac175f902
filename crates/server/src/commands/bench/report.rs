//! What came of the scenarios, in words for people and as JSON for machines.

use serde_json::{Value, json};

use super::bars::{self, Bar};

/// What one scenario showed.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    /// All figures, as an object.
    pub(super) json: Value,
    /// The same as tables.
    pub(super) words: String,
    pub(super) bars: Vec<Bar>,
    /// What no measurement may have, such as lost deliveries.
    pub(super) faults: Vec<String>,
}

/// One object with plain units in the names of its fields.
pub(super) fn json(outcomes: &[Outcome]) -> Value {
    let scenarios: Vec<&Value> = outcomes.iter().map(|outcome| &outcome.json).collect();
    let bars: Vec<Value> = outcomes
        .iter()
        .flat_map(|outcome| &outcome.bars)
        .map(Bar::json)
        .collect();
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "scenarios": scenarios,
        "bars": bars,
    })
}

/// The bars of all, in the order of their numbers; empty where there is none.
pub(super) fn bars_in_words(outcomes: &[Outcome]) -> String {
    let mut all: Vec<Bar> = outcomes.iter().flat_map(|outcome| outcome.bars.clone()).collect();
    if all.is_empty() {
        return String::new();
    }
    all.sort_by_key(Bar::number);
    format!(
        "\nThe bars of this project, and what this run shows of them:\n\n{}",
        bars::table(&all)
    )
}

#[cfg(test)]
mod tests {
    use super::super::bars::Unit;
    use super::*;

    fn outcome(name: &str, id: &'static str, figure: f64) -> Outcome {
        Outcome {
            json: json!({"scenario": name}),
            bars: vec![Bar::at_least(id, name, figure, Unit::Ratio, 0.5)],
            ..Outcome::default()
        }
    }

    #[test]
    fn scenarios_and_bars_are_listed_and_bars_go_by_number() {
        let outcomes = [outcome("slow-disk", "P11", 0.9), outcome("steady", "P1", 0.4)];
        let told = json(&outcomes);
        assert_eq!(
            told["scenarios"],
            json!([{"scenario": "slow-disk"}, {"scenario": "steady"}])
        );
        assert_eq!(
            (&told["bars"][0]["met"], &told["bars"][1]["met"]),
            (&json!(true), &json!(false))
        );
        let words = bars_in_words(&outcomes);
        let order: Vec<_> = words.lines().filter(|line| line.starts_with('P')).collect();
        assert!(
            order[0].starts_with("P1 ") && order[1].starts_with("P11 "),
            "{words}"
        );
        assert_eq!(bars_in_words(&[]), "");
    }
}
