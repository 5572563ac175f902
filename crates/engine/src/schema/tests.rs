//! Schemas as their owners see them, and those that would bring a validator without bounds to its end.

use super::Schema;
use super::metered::{Meter, Metered};
use proptest::prelude::*;
use serde_json::{Map, Value, json};
use stentor_domain::limits::{
    PAYLOAD_BYTES_MAX, SCHEMA_BYTES_MAX, SCHEMA_DEPTH_MAX, SCHEMA_PARTS_MAX, SCHEMA_PATTERNS_MAX,
};

fn compiled(schema: &Value) -> Schema {
    Schema::compile(&schema.to_string()).unwrap_or_else(|fault| panic!("{schema}: {fault}"))
}

/// The fault of a payload, `field: rule`; none where it is as the schema wants it.
fn fault(schema: &Value, payload: &str) -> Option<String> {
    let checked = compiled(schema).check(payload.as_bytes());
    checked.err().map(|fault| fault.to_string())
}

/// The field and the rule of a schema that is refused.
fn refused(schema: &Value) -> (String, String) {
    let fault = Schema::compile(&schema.to_string()).map(drop).unwrap_err();
    (fault.field, fault.rule)
}

#[test]
fn a_payload_that_fails_is_told_where_and_by_which_rule() {
    let schema = json!({
        "type": "object",
        "required": ["id"],
        "properties": {
            "id": {"type": "integer", "minimum": 1},
            "email": {"format": "email"},
            "state": {"enum": ["new", "paid"]},
            "items": {"type": "array", "maxItems": 2, "items": {"$ref": "#/$defs/item"}},
        },
        "additionalProperties": false,
        "$defs": {"item": {"properties": {"sku": {"pattern": "^[a-z]+-[0-9]+$"}}, "required": ["sku"]}},
    });
    for (payload, expected) in [
        (r#"{"id": 1, "items": [{"sku": "a-1"}]}"#, None),
        ("{}", Some(r#"payload: "id" is a required property"#)),
        ("7", Some(r#"payload: the value is not of type "object""#)),
        (
            r#"{"id": 0}"#,
            Some("payload.id: the value is less than the minimum of 1"),
        ),
        (
            r#"{"id": "canary"}"#,
            Some(r#"payload.id: the value is not of type "integer""#),
        ),
        (
            r#"{"id": 1, "email": "canary"}"#,
            Some(r#"payload.email: the value is not a "email""#),
        ),
        (
            r#"{"id": 1, "state": "canary"}"#,
            Some(r#"payload.state: the value is not one of "new" or "paid""#),
        ),
        (
            r#"{"id": 1, "items": [{"sku": "a-1"}, {"sku": "canary"}]}"#,
            Some(r#"payload.items.1.sku: the value does not match "^[a-z]+-[0-9]+$""#),
        ),
        (
            r#"{"id": 1, "items": [{"sku": "a-1"}, {}]}"#,
            Some(r#"payload.items.1: "sku" is a required property"#),
        ),
        (
            r#"{"id": 1, "items": [1, 2, 3]}"#,
            Some("payload.items: the value has more than 2 items"),
        ),
        (
            r#"{"id": 1, "more": 2}"#,
            Some("payload: Additional properties are not allowed ('more' was unexpected)"),
        ),
    ] {
        assert_eq!(fault(&schema, payload).as_deref(), expected, "{payload}");
    }
}

#[test]
fn what_is_told_is_short_and_quotes_no_value() {
    let long = "x".repeat(10_000);
    let none = json!({"properties": {"a": {"additionalProperties": false}}});
    let told = fault(&none, &json!({"a": {&long: 1}}).to_string()).unwrap();
    assert!(told.len() < 300, "{told}");
    let deep = json!({"properties": {&long[..200]: {"properties": {&long[..200]: {"type": "null"}}}}});
    let told = fault(&deep, &json!({&long[..200]: {&long[..200]: 1}}).to_string()).unwrap();
    assert!(told.len() < 500, "{told}");
}

#[test]
fn payloads_that_cannot_be_read_as_values_are_refused_by_any_schema() {
    let any = json!({});
    for (payload, why) in [
        ("1E400", "number out of range"),
        (r#"{"a": "\ud800"}"#, "hex escape"),
        (
            &format!("{}{}", "[".repeat(200), "]".repeat(200)),
            "recursion limit",
        ),
    ] {
        let told = fault(&any, payload).unwrap();
        assert!(
            told.starts_with("payload: cannot be checked against the schema of its event type: "),
            "{told}"
        );
        assert!(told.contains(why), "{told}");
    }
    // The last of two members of one name counts, and whole numbers are exact.
    let schema = json!({"properties": {"a": {"const": 9_007_199_254_740_993_i64}}});
    assert_eq!(fault(&schema, r#"{"a": 1, "a": 9007199254740993}"#), None);
    assert!(fault(&schema, r#"{"a": 9007199254740992}"#).is_some());
}

#[test]
fn every_dialect_is_spoken_that_is_named() {
    let exclusive =
        |schema: &str| json!({"$schema": schema, "exclusiveMinimum": 1, "$id": "https://example.com/a"});
    for known in [
        "http://json-schema.org/draft-06/schema#",
        "http://json-schema.org/draft-07/schema",
        "https://json-schema.org/draft/2019-09/schema",
        "https://json-schema.org/draft/2020-12/schema#",
    ] {
        assert!(fault(&exclusive(known), "1").is_some(), "{known}");
        assert_eq!(fault(&exclusive(known), "2"), None, "{known}");
    }
    for unknown in [
        "http://json-schema.org/draft-04/schema#",
        "https://example.com/meta",
        "",
    ] {
        assert_eq!(refused(&exclusive(unknown)).0, "schema.$schema", "{unknown}");
    }
}

#[test]
fn nothing_outside_of_a_schema_can_be_named() {
    for reference in [
        "https://example.com/schema.json",
        "http://169.254.169.254/latest/meta-data",
        "file:///etc/passwd",
        "other.json",
        "other.json#/a",
        "",
        "//example.com/a",
        "https://json-schema.org/draft/2020-12/schema",
        "#anchor",
        "#/$defs/%61",
        "urn:a:b",
    ] {
        let schema = json!({"properties": {"a": {"items": [true, {"$ref": reference}]}}});
        let (field, rule) = refused(&schema);
        assert_eq!(field, "schema.properties.a.items.1.$ref", "{reference}");
        assert!(rule.contains("nothing is ever fetched"), "{rule}");
    }
    for (schema, field) in [
        (json!({"$ref": "#/$defs/b", "$defs": {"a": {}}}), "schema.$ref"),
        (json!({"$ref": 7}), "schema.$ref"),
        (json!({"$defs": {"a": {"$ref": "a"}}}), "schema.$defs.a.$ref"),
        (
            json!({"allOf": [{"$dynamicRef": "#a"}]}),
            "schema.allOf.0.$dynamicRef",
        ),
        (json!({"not": {"$recursiveRef": "#"}}), "schema.not.$recursiveRef"),
        (json!({"not": {"$id": "https://example.com/"}}), "schema.not.$id"),
    ] {
        assert_eq!(refused(&schema).0, field, "{schema}");
    }
    // These are names and data.
    let harmless =
        json!({"properties": {"$ref": {"type": "string"}, "$id": true}, "const": {"$ref": "https://a"}});
    compiled(&harmless);
}

#[test]
fn what_is_no_schema_is_refused_where_it_is_none() {
    for (schema, field) in [
        (json!([]), "schema"),
        (json!(true), "schema"),
        (json!({"type": "text"}), "schema.type"),
        (
            json!({"properties": {"a": {"minimum": "1"}}}),
            "schema.properties.a.minimum",
        ),
        (json!({"required": "a"}), "schema.required"),
    ] {
        assert_eq!(refused(&schema).0, field, "{schema}");
    }
    assert!(Schema::compile("{").is_err());
}

#[test]
fn patterns_take_linear_time_or_are_refused() {
    let told = fault(
        &json!({"pattern": "^(a+)+$", "patternProperties": {"(x|xx)+$": true}}),
        &json!("a".repeat(PAYLOAD_BYTES_MAX - 10) + "b").to_string(),
    );
    assert!(told.unwrap().contains("does not match"));
    for pattern in ["(?=a)b", r"(a)\1", "((a{1000}){1000}){1000}", "("] {
        let (field, rule) = refused(&json!({"properties": {"a": {"pattern": pattern}}}));
        assert_eq!(field, "schema.properties.a.pattern");
        assert!(rule.starts_with("must be a regular expression without"), "{rule}");
        let (field, _) = refused(&json!({"patternProperties": {pattern: true}}));
        assert!(field.starts_with("schema.patternProperties"), "{field}");
    }
    // Everyday ones fit.
    for pattern in [
        r"^[\p{L} .'-]+$",
        r"^.{1,255}$",
        "^[A-Z]{2}[0-9]{2}[A-Z0-9]{1,30}$",
        r"^\d{4}-\d{2}-\d{2}T[\d:.]+Z$",
    ] {
        compiled(&json!({"pattern": pattern}));
    }
    let many = |count: usize| json!({"allOf": vec![json!({"pattern": "a"}); count]});
    compiled(&many(SCHEMA_PATTERNS_MAX));
    let (field, rule) = refused(&many(SCHEMA_PATTERNS_MAX + 1));
    assert_eq!(field, format!("schema.allOf.{SCHEMA_PATTERNS_MAX}.pattern"));
    assert!(rule.contains("at most 25"), "{rule}");
}

#[test]
fn what_is_at_a_bound_is_taken_and_what_is_beyond_it_refused() {
    let long = |bytes: usize| json!({"description": "x".repeat(bytes - r#"{"description":""}"#.len())});
    compiled(&long(SCHEMA_BYTES_MAX));
    assert_eq!(
        refused(&long(SCHEMA_BYTES_MAX + 1)).1,
        "must be at most 32768 bytes"
    );
    let parts = |count: usize| json!({"allOf": vec![json!({}); count - 1]});
    compiled(&parts(SCHEMA_PARTS_MAX));
    assert!(
        refused(&parts(SCHEMA_PARTS_MAX + 1))
            .1
            .contains("asks for too much")
    );
    let nested = |depth: usize| (1..depth).fold(json!({}), |inner, _| json!({"not": inner}));
    compiled(&nested(SCHEMA_DEPTH_MAX));
    assert!(
        refused(&nested(SCHEMA_DEPTH_MAX + 1))
            .1
            .contains("deeper than 64")
    );
}

/// Definitions, each of which refers twice to the next one.
fn doubling(levels: usize, keyword: &str) -> Value {
    let mut definitions = Map::new();
    for level in 0..levels {
        let next = json!({"$ref": format!("#/$defs/d{}", level + 1)});
        definitions.insert(format!("d{level}"), json!({keyword: [next, next]}));
    }
    definitions.insert(format!("d{levels}"), json!({"type": "object"}));
    json!({"$ref": "#/$defs/d0", "$defs": definitions})
}

/// Definitions, each of which refers to the next one.
fn chain(levels: usize) -> Value {
    let link = |level: usize| {
        (
            format!("d{level}"),
            json!({"$ref": format!("#/$defs/d{}", level + 1)}),
        )
    };
    let mut definitions: Map<String, Value> = (0..levels).map(link).collect();
    definitions.insert(format!("d{levels}"), json!({"type": "object"}));
    json!({"$schema": "http://json-schema.org/draft-07/schema", "$ref": "#/$defs/d0", "$defs": definitions})
}

#[test]
fn what_grows_beyond_all_bounds_when_it_is_written_out_is_refused() {
    for keyword in ["allOf", "anyOf", "oneOf"] {
        compiled(&doubling(8, keyword));
        assert!(refused(&doubling(30, keyword)).1.contains("asks for too much"));
    }
    compiled(&chain(60));
    assert!(refused(&chain(500)).1.contains("deeper"));
}

#[test]
fn what_leads_back_to_itself_ends() {
    for schema in [
        json!({"$ref": "#"}),
        json!({"allOf": [{"$ref": "#"}]}),
        json!({"anyOf": [{"$ref": "#"}, {"$ref": "#"}]}),
        json!({"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}}),
        json!({"$schema": "http://json-schema.org/draft-07/schema", "$ref": "#/definitions/a",
               "definitions": {"a": {"$ref": "#/definitions/b"}, "b": {"$ref": "#/definitions/a"}}}),
    ] {
        assert_eq!(fault(&schema, r#"{"a": [1, {}]}"#), None, "{schema}");
    }
}

fn nested(depth: usize) -> String {
    format!("{}1{}", r#"{"a":"#.repeat(depth), "}".repeat(depth))
}

#[test]
fn recursive_schemas_hold_for_trees() {
    let tree = json!({
        "$defs": {"node": {
            "type": "object",
            "required": ["name"],
            "properties": {"name": {"type": "string"}, "children": {"type": "array", "items": {"$ref": "#/$defs/node"}}},
        }},
        "$ref": "#/$defs/node",
    });
    let leaf = json!({"name": "leaf"});
    let grown = (0..20).fold(
        leaf,
        |inner, _| json!({"name": "n", "children": [inner, {"name": "x"}]}),
    );
    assert_eq!(fault(&tree, &grown.to_string()), None);
    let withered = grown
        .to_string()
        .replace("leaf", "")
        .replace(r#"{"name":""}"#, "{}");
    let told = fault(&tree, &withered).unwrap();
    assert!(told.ends_with(r#""name" is a required property"#), "{told}");
}

/// Each of these asks for more at every level of a payload, so that what it asks for doubles from one to the next.
#[test]
fn what_would_take_for_ever_is_cut_off() {
    let again = json!({"type": "object", "required": ["a"], "properties": {"a": {"$ref": "#"}}});
    let number = json!({"type": "string"});
    for (schema, ends) in [
        (json!({"anyOf": [again, again, number]}), true),
        (
            json!({"allOf": [{"properties": {"a": {"$ref": "#"}}}, {"properties": {"a": {"$ref": "#"}}}]}),
            false,
        ),
        (json!({"oneOf": [again, again, number]}), true),
        (json!({"if": again, "then": again, "else": number}), true),
        (
            json!({"unevaluatedProperties": false, "allOf": [again, again, again]}),
            true,
        ),
        (
            json!({"allOf": [{"additionalProperties": {"$ref": "#"}}, {"patternProperties": {"": {"$ref": "#"}}}], "type": "object"}),
            true,
        ),
    ] {
        let told = fault(&schema, &nested(120));
        assert_eq!(told.is_some(), ends, "{schema}: {told:?}");
    }
}

#[test]
fn what_asks_much_of_many_items_is_cut_off() {
    let items = |count: usize| json!(vec![0; count]).to_string();
    let asks = vec![json!({"not": {"type": "string"}}); 900];
    let much = json!({"items": {"allOf": asks}});
    assert_eq!(fault(&much, &items(5)), None);
    let told = fault(&much, &items(PAYLOAD_BYTES_MAX / 2 - 2)).unwrap();
    assert!(told.contains("too many steps"), "{told}");
    // Few asks, however many items.
    let little = json!({"items": {"type": "integer", "minimum": 0}, "minItems": 1});
    assert_eq!(fault(&little, &items(PAYLOAD_BYTES_MAX / 2 - 2)), None);
}

#[test]
fn unique_items_are_told_apart_by_what_they_are() {
    let unique = json!({"uniqueItems": true});
    let numbers: Vec<usize> = (0..40_000).collect();
    assert_eq!(fault(&unique, &json!(numbers).to_string()), None);
    for twice in [
        "[1, 2, 1.0]",
        "[0, -0.0]",
        r#"[{"a": 1, "b": [2]}, {"b": [2.0], "a": 1}]"#,
    ] {
        assert!(fault(&unique, twice).unwrap().contains("non-unique"), "{twice}");
    }
    // Many arrays that differ only in how they are nested.
    let mut shapes = vec![json!([])];
    for at in 0..3_000 {
        let (one, other) = (&shapes[at / 2], &shapes[at / 3]);
        shapes.push(json!([one, other]));
    }
    let shapes: Vec<Value> = shapes
        .into_iter()
        .filter(|shape| shape.to_string().len() < 80)
        .collect();
    let _ = fault(&unique, &json!(shapes).to_string());
}

/// Schemas of a few keywords, which refer to each other and to themselves.
fn schema() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        any::<bool>().prop_map(Value::from),
        prop::sample::select(vec!["string", "object", "array", "integer"])
            .prop_map(|name| json!({"type": name})),
        prop::sample::select(vec!["#", "#/$defs/a", "#/$defs/b", "#/not"])
            .prop_map(|name| json!({"$ref": name})),
        Just(json!({"uniqueItems": true, "required": ["a"]})),
        Just(json!({"pattern": "^(a|b)*$", "enum": [1, "a", {"a": 1}]})),
    ];
    let inner = leaf.prop_recursive(4, 24, 3, |inner| {
        let several = vec!["allOf", "anyOf", "oneOf", "prefixItems"];
        let one = vec![
            "not",
            "items",
            "contains",
            "additionalProperties",
            "unevaluatedProperties",
            "unevaluatedItems",
        ];
        prop_oneof![
            (
                prop::sample::select(several),
                prop::collection::vec(inner.clone(), 1..4)
            )
                .prop_map(|(keyword, parts)| json!({keyword: parts})),
            (prop::sample::select(one), inner.clone()).prop_map(|(keyword, part)| json!({keyword: part})),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| json!({"properties": {"a": a, "b": b}})),
            (inner.clone(), inner.clone(), inner)
                .prop_map(|(a, b, c)| json!({"if": a, "then": b, "else": c})),
        ]
    });
    (inner.clone(), inner.clone(), inner)
        .prop_map(|(root, a, b)| json!({"allOf": [root], "not": false, "$defs": {"a": a, "b": b}}))
}

fn payload() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        (0..3).prop_map(Value::from),
        "[ab]{0,3}".prop_map(Value::from)
    ];
    leaf.prop_recursive(40, 120, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("[ab]", inner, 1..3)
                .prop_map(|members| members.into_iter().collect::<Map<_, _>>().into()),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// As a validator without bounds says, where it is asked for its verdict alone.
    #[test]
    fn the_meter_changes_no_verdict_and_nothing_breaks_it(schema in schema(), payload in payload()) {
        if let Ok(compiled) = Schema::compile(&schema.to_string()) {
            let plain = jsonschema::options().should_validate_formats(true).build(&schema).unwrap();
            let told = compiled.check(payload.to_string().as_bytes());
            let spent = told.as_ref().is_err_and(|fault| fault.rule.contains("too many steps"));
            prop_assert!(spent || told.is_ok() == plain.is_valid(&payload), "{:?}", told);
        }
    }

    #[test]
    fn a_meter_that_is_spent_breaks_nothing(schema in schema(), payload in payload(), steps in 0_usize..200) {
        if let Ok(compiled) = Schema::compile(&schema.to_string()) {
            let meter = Meter::new(steps);
            let _ = compiled.0.is_valid(Metered::new(&payload, &meter));
            let meter = Meter::new(steps);
            let _ = compiled.0.validate(Metered::new(&payload, &meter)).map_err(drop);
        }
    }

    #[test]
    fn no_text_breaks_the_reader(
        text in r#"([{}\[\],:]|"(\$ref|allOf|properties|pattern|items|const)":|"[#/a.]{0,4}"|[0-9]|null|true){0,30}"#,
    ) {
        let _ = Schema::compile(&text);
    }
}
