//! Filters held against a model: the rules in the fewest words, over values that are read in the usual way, with numbers that
//! any machine compares exactly.

use super::super::Filter;
use super::super::payload::Lazy;
use super::{asked, asked_of};
use proptest::prelude::*;
use serde_json::{Map, Value, json};
use std::cmp::Ordering;
use stentor_domain::limits::FILTER_ITEMS_MAX;

/// All values that a path finds. (Payloads here have fewer items than are looked at.)
fn found<'v>(value: &'v Value, steps: &[&str]) -> Vec<&'v Value> {
    let Some((step, rest)) = steps.split_first() else {
        return vec![value];
    };
    match value {
        Value::Object(members) => members.get(*step).map_or(vec![], |inner| found(inner, rest)),
        Value::Array(items) => match step.parse::<usize>() {
            Ok(at) => items.get(at).map_or(vec![], |item| found(item, rest)),
            Err(_) => {
                let objects = items.iter().filter(|item| item.is_object());
                objects.flat_map(|item| found(item, steps)).collect()
            }
        },
        _ => vec![],
    }
}

fn order(one: &Value, other: &Value) -> Option<Ordering> {
    match (one, other) {
        (Value::Null, Value::Null) => Some(Ordering::Equal),
        (Value::Bool(one), Value::Bool(other)) => Some(one.cmp(other)),
        (Value::Number(one), Value::Number(other)) => Some(one.as_i64().cmp(&other.as_i64())),
        (Value::String(one), Value::String(other)) => Some(one.cmp(other)),
        _ => None,
    }
}

fn test(found: &[&Value], operator: &str, operand: &Value) -> bool {
    let items = found.iter().flat_map(|value| match value {
        Value::Array(items) => items.iter().collect(),
        one => vec![*one],
    });
    let mut orders = items.clone().filter_map(|item| order(item, operand));
    match operator {
        "$exists" => found.is_empty() != (*operand == json!(true)),
        "$eq" => orders.any(Ordering::is_eq),
        "$ne" => !orders.any(Ordering::is_eq),
        "$in" => operand
            .as_array()
            .unwrap()
            .iter()
            .any(|one| test(found, "$eq", one)),
        "$gt" => orders.any(Ordering::is_gt),
        "$gte" => orders.any(Ordering::is_ge),
        "$lt" => orders.any(Ordering::is_lt),
        "$lte" => orders.any(Ordering::is_le),
        "$startsWith" => {
            let prefix = operand.as_str().unwrap();
            items
                .filter_map(Value::as_str)
                .any(|text| text.starts_with(prefix))
        }
        other => panic!("{other}"),
    }
}

fn model(filter: &Value, payload: &Value) -> bool {
    filter
        .as_object()
        .unwrap()
        .iter()
        .all(|(name, asked)| match name.as_str() {
            "$and" => asked
                .as_array()
                .unwrap()
                .iter()
                .all(|filter| model(filter, payload)),
            "$or" => asked
                .as_array()
                .unwrap()
                .iter()
                .any(|filter| model(filter, payload)),
            "$not" => !model(asked, payload),
            path => {
                let steps: Vec<&str> = path.split('.').collect();
                let found = found(payload, &steps);
                match asked {
                    Value::Object(tests) => tests
                        .iter()
                        .all(|(operator, operand)| test(&found, operator, operand)),
                    plain => test(&found, "$eq", plain),
                }
            }
        })
}

/// Few values, so that they are often equal.
fn scalar() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (-3_i64..3).prop_map(Value::from),
        Just(json!(i64::MAX)),
        "[ab]{0,2}".prop_map(Value::from),
    ]
}

fn name() -> impl Strategy<Value = String> {
    "[abc01]"
}

fn payload() -> impl Strategy<Value = Value> {
    scalar().prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(name(), inner, 0..4)
                .prop_map(|members| members.into_iter().collect::<Map<_, _>>().into()),
        ]
    })
}

fn asks() -> impl Strategy<Value = Value> {
    let bound = prop_oneof![
        (-3_i64..3).prop_map(Value::from),
        "[ab]{0,2}".prop_map(Value::from)
    ];
    let operator = prop_oneof![
        scalar().prop_map(|value| ("$eq", value)),
        scalar().prop_map(|value| ("$ne", value)),
        prop::collection::vec(scalar(), 1..5).prop_map(|values| ("$in", values.into())),
        (prop::sample::select(vec!["$gt", "$gte", "$lt", "$lte"]), bound),
        any::<bool>().prop_map(|wanted| ("$exists", wanted.into())),
        "[ab]{0,2}".prop_map(|prefix| ("$startsWith", prefix.into())),
    ];
    let operators = prop::collection::vec(operator, 1..3).prop_map(|operators| {
        let members = operators
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value));
        members.collect::<Map<_, _>>().into()
    });
    prop_oneof![scalar(), operators]
}

fn filter() -> impl Strategy<Value = Value> {
    let path = prop::collection::vec(name(), 1..4).prop_map(|names| names.join("."));
    let plain = prop::collection::btree_map(path, asks(), 0..3);
    let plain = plain.prop_map(|members| members.into_iter().collect::<Map<_, _>>().into());
    plain.prop_recursive(3, 12, 3, |inner| {
        let list = prop::collection::vec(inner.clone(), 1..3).prop_map(Value::from);
        prop_oneof![
            list.clone().prop_map(|filters| json!({"$and": filters})),
            list.prop_map(|filters| json!({"$or": filters})),
            inner.prop_map(|filter| json!({"$not": filter})),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn a_filter_says_what_the_model_says(filter in filter(), payload in payload()) {
        let compiled = Filter::parse(&filter.to_string()).unwrap();
        let asked = asked(&compiled, &payload.to_string());
        prop_assert_eq!(asked.is_ok(), model(&filter, &payload), "{}", asked.unwrap_err());
        if let Err(reason) = asked {
            prop_assert!(!reason.is_empty() && reason.len() < 4_096, "{}", reason);
        }
    }

    #[test]
    fn no_text_breaks_the_reader(text in "\\PC{0,200}", payload in "\\PC{0,200}") {
        if let Ok(filter) = Filter::parse(&text) {
            let _ = asked(&filter, &payload);
        }
        let _ = asked(&Filter::parse(r#"{"a.b": {"$gt": 1}}"#).unwrap(), &payload);
    }

    #[test]
    fn nothing_that_looks_like_a_filter_breaks_the_reader(
        text in r#"([{}\[\],:]|"\$(or|and|not|in|eq|exists)":|"[a.\\\\$]{0,3}":|[0-9eE.+-]{1,3}|null|true| ){0,40}"#,
    ) {
        let _ = Filter::parse(&text);
        let payload = Lazy::new(text.as_bytes());
        let _ = Filter::parse(r#"{"a": {"$exists": true}, "0.a": 1}"#).unwrap().check(&payload);
    }

    #[test]
    fn not_and_or_are_what_they_are_in_logic(one in filter(), other in filter(), payload in payload()) {
        let payload = payload.to_string();
        let holds = |json: Value| asked(&Filter::parse(&json.to_string()).unwrap(), &payload).is_ok();
        let (first, second) = (holds(one.clone()), holds(other.clone()));
        prop_assert_eq!(holds(json!({"$not": one})), !first);
        prop_assert_eq!(holds(json!({"$and": [one, other]})), first && second);
        prop_assert_eq!(holds(json!({"$or": [one, other]})), first || second);
        let neither = json!({"$not": {"$or": [one, other]}});
        let none = json!({"$and": [{"$not": one}, {"$not": other}]});
        prop_assert_eq!(holds(neither), holds(none));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn no_payload_makes_a_path_ask_more_than_it_may(
        payload in payload(),
        copies in prop::collection::vec(1_usize..40, 2),
        path in prop::collection::vec(name(), 1..4),
    ) {
        let wide = vec![vec![payload; copies[0]]; copies[1]];
        let wide = json!({"a": {"b": wide}, "b": wide[0], "c": [{"a": wide[0]}, {"b": wide}]});
        prop_assert!(asked_of(&path.join("."), &wide.to_string()) <= FILTER_ITEMS_MAX);
    }
}
