//! Filters as their owners see them, and held against a model that is as plain as can be.

mod model;

use super::Filter;
use super::path::Path;
use super::payload::{self, Lazy};
use serde_json::{Value, json};
use std::cell::Cell;
use stentor_domain::limits::{
    FILTER_BYTES_MAX, FILTER_DEPTH_MAX, FILTER_ITEMS_MAX, FILTER_PATH_STEPS_MAX, FILTER_TESTS_MAX,
    PAYLOAD_BYTES_MAX,
};

fn filter(json: &Value) -> Filter {
    Filter::parse(&json.to_string()).unwrap_or_else(|fault| panic!("{json}: {fault}"))
}

/// Does the filter hold for the payload, and if not, why?
fn asked(filter: &Filter, payload: &str) -> Result<(), String> {
    let payload = Lazy::new(payload.as_bytes());
    filter.check(&payload).map_err(|failed| failed.words(&payload))
}

fn holds(json: Value, payload: &str) -> bool {
    asked(&filter(&json), payload).is_ok()
}

/// The field and the rule of a filter that is refused.
fn refused(text: &str) -> (String, String) {
    let fault = Filter::parse(text).map(drop).unwrap_err();
    (fault.field, fault.rule)
}

const ORDER: &str = r#"{"status": "paid", "total": 12.50, "customer": {"country": "DE", "vip": true, "note": null},
    "tags": ["new", "gift"], "items": [{"sku": "a-1", "count": 2}, {"sku": "b-7", "count": 5}], "grid": [[1, 2], [3]]}"#;

#[test]
fn every_operator_says_what_it_says() {
    for (yes, no) in [
        (json!({"status": "paid"}), json!({"status": "PAID"})),
        (
            json!({"status": {"$eq": "paid"}}),
            json!({"status": {"$eq": "pai"}}),
        ),
        (
            json!({"status": {"$ne": "open"}}),
            json!({"status": {"$ne": "paid"}}),
        ),
        (
            json!({"total": {"$in": [1, "x", 12.5]}}),
            json!({"total": {"$in": [1, "12.5", null]}}),
        ),
        (json!({"total": {"$gt": 12.49}}), json!({"total": {"$gt": 12.5}})),
        (
            json!({"total": {"$gte": 12.5}}),
            json!({"total": {"$gte": 12.51}}),
        ),
        (json!({"total": {"$lt": 13}}), json!({"total": {"$lt": 12.5}})),
        (json!({"total": {"$lte": 12.5}}), json!({"total": {"$lte": 12}})),
        (
            json!({"status": {"$gt": "open", "$lt": "q"}}),
            json!({"status": {"$gt": "paid"}}),
        ),
        (
            json!({"customer.note": {"$exists": true}}),
            json!({"customer.note": {"$exists": false}}),
        ),
        (
            json!({"customer.age": {"$exists": false}}),
            json!({"customer.age": {"$exists": true}}),
        ),
        (
            json!({"customer.country": {"$startsWith": "D"}}),
            json!({"customer.country": {"$startsWith": "E"}}),
        ),
        (
            json!({"customer.vip": true, "customer.note": null}),
            json!({"customer.vip": true, "status": "open"}),
        ),
        (
            json!({"$and": [{"status": "paid"}, {"total": {"$lt": 20}}]}),
            json!({"$and": [{"status": "paid"}, {"total": 1}]}),
        ),
        (
            json!({"$or": [{"status": "open"}, {"total": 12.5}]}),
            json!({"$or": [{"status": "open"}, {"total": 1}]}),
        ),
        (
            json!({"$not": {"status": "open"}}),
            json!({"$not": {"status": "paid", "total": 12.5}}),
        ),
        (
            json!({"$not": {"status": "paid", "total": 1}}),
            json!({"$not": {}}),
        ),
        (json!({}), json!({"$not": {"$not": {"status": "open"}}})),
    ] {
        assert!(holds(yes.clone(), ORDER), "{yes}");
        assert!(!holds(no.clone(), ORDER), "{no}");
    }
}

#[test]
fn what_is_missing_or_of_another_type_is_not_equal_and_not_ordered() {
    for json in [
        json!({"total": "12.50"}),
        json!({"total": {"$gt": "1"}}),
        json!({"status": {"$gt": 0}}),
        json!({"status": {"$lt": 0}}),
        json!({"customer": {"$eq": "DE"}}),
        json!({"customer": {"$in": ["DE", null, 0, true]}}),
        json!({"nowhere": null}),
        json!({"nowhere.at.all": {"$lt": 5}}),
        json!({"status.length": 4}),
        json!({"customer.vip": {"$startsWith": "t"}}),
    ] {
        assert!(!holds(json.clone(), ORDER), "{json}");
    }
    for json in [
        json!({"nowhere": {"$ne": 1}}),
        json!({"total": {"$ne": "12.5"}}),
        json!({"customer": {"$ne": null}}),
        json!({"$not": {"nowhere": {"$gt": 1}}}),
    ] {
        assert!(holds(json.clone(), ORDER), "{json}");
    }
}

#[test]
fn an_array_is_asked_item_by_item_and_entered_on_the_way() {
    for yes in [
        json!({"tags": "gift"}),
        json!({"tags": {"$in": ["x", "new"]}}),
        json!({"tags": {"$startsWith": "gi"}}),
        json!({"tags": {"$exists": true}}),
        json!({"tags.1": "gift"}),
        json!({"items.sku": "b-7"}),
        json!({"items.1.sku": "b-7"}),
        json!({"items.count": {"$gt": 4}}),
        json!({"grid.0": 2, "grid.1.0": 3}),
        // Each by itself, of whatever item.
        json!({"items.sku": "a-1", "items.count": 5}),
    ] {
        assert!(holds(yes.clone(), ORDER), "{yes}");
    }
    for no in [
        json!({"tags": {"$ne": "gift"}}),
        json!({"tags.2": {"$exists": true}}),
        json!({"tags.01": {"$ne": "gift"}}),
        json!({"items": {"$eq": "b-7"}}),
        json!({"items.0.sku": "b-7"}),
        // Arrays within arrays are entered by number alone.
        json!({"grid": 1}),
        json!({"grid.x": {"$exists": true}}),
        json!({"tags.sku": {"$exists": true}}),
    ] {
        assert!(!holds(no.clone(), ORDER), "{no}");
    }
    assert!(holds(
        json!({"7": "a name of digits", "a.7": 1}),
        r#"{"7": "a name of digits", "a": {"7": 1}}"#
    ));
}

#[test]
fn of_arrays_the_first_hundred_items_in_all_are_looked_at() {
    let payload = |count: usize| {
        let items: Vec<Value> = (1..=count).map(|n| json!({"n": n, "list": [n, -1]})).collect();
        json!({"items": items, "plain": (1..=count).collect::<Vec<_>>()}).to_string()
    };
    let last = |path: &str| holds(json!({path: FILTER_ITEMS_MAX}), &payload(FILTER_ITEMS_MAX));
    assert!(last("plain") && last("items.n"));
    let beyond = |path: &str| {
        holds(
            json!({path: FILTER_ITEMS_MAX + 1}),
            &payload(FILTER_ITEMS_MAX + 1),
        )
    };
    assert!(!beyond("plain") && !beyond("items.n"));
    // An item, and the two that are in it, are three.
    assert!(holds(json!({"items.list": 33}), &payload(100)));
    assert!(!holds(json!({"items.list": 34}), &payload(100)));
    assert!(!holds(json!({"plain.100": {"$exists": true}}), &payload(101)));
}

#[test]
fn numbers_are_compared_as_they_are_spelled() {
    let payload = r#"{"id": 9007199254740993, "sum": 0.30000000000000000001, "huge": 1E400, "tiny": -1e-400, "one": 1.0}"#;
    for yes in [
        r#"{"id": 9007199254740993}"#,
        r#"{"id": {"$gt": 9007199254740992}}"#,
        r#"{"id": 9007199254740993.00}"#,
        r#"{"sum": {"$gt": 0.3}}"#,
        r#"{"huge": {"$gt": 1e399, "$lt": 1e401}}"#,
        r#"{"huge": 10E399}"#,
        r#"{"tiny": {"$lt": 0, "$gt": -1e-399}}"#,
        r#"{"one": {"$in": [3, 1, 2]}}"#,
    ] {
        assert_eq!(asked(&Filter::parse(yes).unwrap(), payload), Ok(()), "{yes}");
    }
    let neighbour = Filter::parse(r#"{"id": 9007199254740992}"#).unwrap();
    assert!(asked(&neighbour, payload).is_err());
}

#[test]
fn odd_payloads_are_looked_into_as_far_as_they_can_be_read() {
    for (json, payload, expected) in [
        // Of members with one name the last one counts.
        (json!({"a": 2}), r#"{"a": 1, "a": 2}"#, true),
        (json!({"a": 1}), r#"{"a": 1, "a": 2}"#, false),
        (json!({"ü.x": "ß"}), r#"{"\u00fc": {"x": "\u00df"}}"#, true),
        (
            json!({"a\\.b": 1, "\\$c": 2, "d\\\\": 3}),
            r#"{"a.b": 1, "$c": 2, "d\\": 3}"#,
            true,
        ),
        // Half of a surrogate pair is no text, but the rest of the payload is.
        (
            json!({"a": {"$exists": true}, "b": 1}),
            r#"{"a": "\ud800", "\udfff": 2, "b": 1}"#,
            true,
        ),
        (json!({"a": {"$ne": ""}}), r#"{"a": "\ud800"}"#, true),
        (json!({"a": {"$startsWith": ""}}), r#"{"a": "\ud800"}"#, false),
        (
            json!({"a": {"$lt": 1}}),
            r#"{"a": -1e99999999999999999999}"#,
            false,
        ),
        (
            json!({"a": {"$exists": true}}),
            r#"{"a": -1e99999999999999999999}"#,
            true,
        ),
        // What is no object has no members.
        (json!({"a": 1}), "7", false),
        (json!({"a": {"$exists": false}}), "\"text\"", true),
        (json!({"a": 1}), r#"  [{"a": 0}, {"a": 1}]  "#, true),
        (json!({"1.a": 1}), r#"[{"a": 0}, {"a": 1}]"#, true),
        (json!({}), "null", true),
    ] {
        assert_eq!(holds(json.clone(), payload), expected, "{json} {payload}");
    }
    for no_json in ["", "{", "\u{0}", "[1,", "{\"a\": }"] {
        assert!(!holds(json!({"a": {"$exists": true}}), no_json));
    }
}

#[test]
fn a_reason_tells_what_is_there_and_what_is_asked_for() {
    let long = format!(
        r#"{{"text": "{}", "list": {}}}"#,
        "ü".repeat(100),
        json!(vec![0; 101])
    );
    for (json, payload, reason) in [
        (
            json!({"total": {"$gte": 100}}),
            ORDER,
            "total is 12.5, but $gte asks for 100",
        ),
        (
            json!({"nowhere": "x"}),
            ORDER,
            r#"nowhere is missing, but $eq asks for "x""#,
        ),
        (
            json!({"customer": 1}),
            ORDER,
            "customer is an object, but $eq asks for 1",
        ),
        (
            json!({"tags": {"$ne": "gift"}}),
            ORDER,
            r#"tags is an array of 2 items, but $ne asks for "gift""#,
        ),
        (
            json!({"items.sku": {"$startsWith": "c"}}),
            ORDER,
            r#"items.sku is there 2 times, but $startsWith asks for "c""#,
        ),
        (
            json!({"status": {"$in": [1, 2, null, "a", false, "b"]}}),
            ORDER,
            r#"status is "paid", but $in asks for one of null, false, 1, 2, "a", ..."#,
        ),
        (
            json!({"$or": [{"status": "open"}, {"$not": {"total": 12.5}}]}),
            ORDER,
            r#"none of the 2 filters of $or holds (status is "paid", but $eq asks for "open"; the filter of $not holds)"#,
        ),
        (
            json!({"text": 1}),
            &long,
            &format!("text is \"{}...\", but $eq asks for 1", "ü".repeat(40)),
        ),
        (
            json!({"list": 1}),
            &long,
            "list is an array of 101 items, of which the first 100 are looked at, but $eq asks for 1",
        ),
    ] {
        assert_eq!(asked(&filter(&json), payload), Err(reason.to_owned()));
    }
}

#[test]
fn a_bad_filter_is_refused_where_it_is_bad() {
    for (text, field) in [
        ("[]", "filter"),
        ("\"status\"", "filter"),
        ("null", "filter"),
        ("", "filter"),
        (r#"{"a": 1, "a": 2}"#, "filter.a"),
        (r#"{"a": {"$gt": 1, "$gt": 2}}"#, "filter.a.$gt"),
        (r#"{"a": [1]}"#, "filter.a"),
        (r#"{"a": {}}"#, "filter.a"),
        (r#"{"a": {"b": 1}}"#, "filter.a.b"),
        (r#"{"a": {"$regex": "(a+)+$"}}"#, "filter.a.$regex"),
        (r#"{"$where": "1"}"#, "filter.$where"),
        (r#"{"$eq": 1}"#, "filter.$eq"),
        (r#"{"a": {"$eq": {}}}"#, "filter.a.$eq"),
        (r#"{"a": {"$gt": null}}"#, "filter.a.$gt"),
        (r#"{"a": {"$gt": [1]}}"#, "filter.a.$gt"),
        (r#"{"a": {"$in": 1}}"#, "filter.a.$in"),
        (r#"{"a": {"$in": []}}"#, "filter.a.$in"),
        (r#"{"a": {"$in": [1, [2]]}}"#, "filter.a.$in.1"),
        (r#"{"a": {"$exists": 1}}"#, "filter.a.$exists"),
        (r#"{"a": {"$startsWith": 1}}"#, "filter.a.$startsWith"),
        (r#"{"a": {"$not": {"$eq": 1}}}"#, "filter.a.$not"),
        (r#"{"a": "\ud800"}"#, "filter.a"),
        (r#"{"a": 1e99999999999999999999}"#, "filter.a"),
        (r#"{"$and": []}"#, "filter.$and"),
        (r#"{"$or": {}}"#, "filter.$or"),
        (r#"{"$or": [{}, {"a.b": {"$gt": true}}]}"#, "filter.$or.1.a.b.$gt"),
        (r#"{"$not": []}"#, "filter.$not"),
        (r#"{"": 1}"#, "filter."),
        (r#"{"a..b": 1}"#, "filter.a..b"),
        (r#"{".a": 1}"#, "filter..a"),
        (r#"{"a\\": 1}"#, "filter.a\\"),
        (r#"{"a\\n": 1}"#, "filter.a\\n"),
    ] {
        assert_eq!(refused(text).0, field, "{text}");
    }
}

#[test]
fn what_is_at_a_bound_is_taken_and_what_is_beyond_it_refused() {
    let padded = |bytes: usize| format!(r#"{{"a": "{}"}}"#, "x".repeat(bytes - 9));
    assert!(Filter::parse(&padded(FILTER_BYTES_MAX)).is_ok());
    assert_eq!(
        refused(&padded(FILTER_BYTES_MAX + 1)).1,
        "must be at most 4096 bytes"
    );

    let nested = |depth: usize| format!("{}{{}}{}", r#"{"$not":"#.repeat(depth - 1), "}".repeat(depth - 1));
    assert!(Filter::parse(&nested(FILTER_DEPTH_MAX)).is_ok());
    assert!(refused(&nested(FILTER_DEPTH_MAX + 1)).1.contains("deeper"));

    let tests = |count: usize| {
        let tests: Vec<Value> = (0..count).map(|n| json!({"a": n})).collect();
        json!({"$or": tests}).to_string()
    };
    assert!(Filter::parse(&tests(FILTER_TESTS_MAX)).is_ok());
    assert!(refused(&tests(FILTER_TESTS_MAX + 1)).1.contains("one too many"));

    let path = |steps: usize| json!({vec!["a"; steps].join("."): 1}).to_string();
    assert!(Filter::parse(&path(FILTER_PATH_STEPS_MAX)).is_ok());
    assert!(Filter::parse(&path(FILTER_PATH_STEPS_MAX + 1)).is_err());

    let list = |count: usize| json!({"a": {"$in": (0..count).collect::<Vec<_>>()}}).to_string();
    assert!(Filter::parse(&list(100)).is_ok());
    assert!(refused(&list(101)).1.contains("at most 100"));
}

/// How many values a path shows to whoever asks, at the most: nobody stops it.
fn asked_of(path: &str, payload: &str) -> usize {
    let asked = Cell::new(0);
    let nobody = |_: &payload::Value<'_>| {
        asked.set(asked.get() + 1);
        false
    };
    Path::parse(path)
        .unwrap()
        .any_item(&Lazy::new(payload.as_bytes()), &nobody);
    asked.get()
}

/// AP-22.
#[test]
fn the_worst_payload_is_asked_no_more_than_is_looked_at() {
    let deep = format!(
        "{}{}",
        "[".repeat(PAYLOAD_BYTES_MAX / 2),
        "]".repeat(PAYLOAD_BYTES_MAX / 2)
    );
    let digits = "9".repeat(PAYLOAD_BYTES_MAX);
    let numbers = vec!["-0"; PAYLOAD_BYTES_MAX / 3].join(",");
    let members: Vec<String> = (0..PAYLOAD_BYTES_MAX / 10)
        .map(|n| format!("\"{n:x}\":0"))
        .collect();
    let tests: Vec<Value> = (1..=FILTER_TESTS_MAX)
        .map(|n| json!({"a": {"$in": [n, "x", n + 1000]}}))
        .collect();
    let worst = filter(&json!({"$or": tests}));
    for payload in [
        format!(r#"{{"a": {deep}}}"#),
        deep,
        format!(r#"{{"a": {digits}}}"#),
        format!(r#"{{"a": [{numbers}]}}"#),
        format!(r#"{{"a": {{{}}}}}"#, members.join(",")),
        format!(r#"{{"a": "{}"}}"#, "\\u0041".repeat(PAYLOAD_BYTES_MAX / 6)),
        json!(vec![json!({"a": vec![json!({"a": 0}); 50]}); 50]).to_string(),
    ] {
        assert!(asked(&worst, &payload).is_err());
        for path in ["a", "a.a", "a.0.a", "0"] {
            assert!(asked_of(path, &payload) <= FILTER_ITEMS_MAX, "{path}");
        }
    }
}
