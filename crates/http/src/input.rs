//! Reading JSON and queries so that a fault names its field: malformed JSON is 400, everything else about a field is 422.

use crate::problem::Problem;
use bytes::Bytes;
use http::StatusCode;
use serde::Serialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize, DeserializeOwned, Deserializer, Error as _, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::fmt;
use std::marker::PhantomData;
use stentor_domain::Timestamp;
use stentor_domain::name::Invalid;

/// The field that a fault of a body as a whole is told of.
const WHOLE: &str = "body";
const NOT_NULL: &str = "must not be null";

/// Reads a JSON body. No body reads as an empty object, so that an operation without required fields needs none.
pub(crate) fn json<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, Problem> {
    let body = if body.is_empty() { b"{}" } else { body };
    // Checked as a whole: what is read over because nobody asks for it must be text, too.
    let text = std::str::from_utf8(body).map_err(|error| malformed(&error))?;
    // An array would be read as the fields in their order, which no contract means.
    if !text.trim_ascii_start().starts_with('{') {
        return Err(no_object(text));
    }
    // Where the fault lies is looked for only where there is one.
    serde_json::from_str(text).map_err(|_| fault::<T>(text))
}

/// Why a body that is no object is refused.
fn no_object(text: &str) -> Problem {
    match serde_json::from_str::<IgnoredAny>(text) {
        Ok(_) => Problem::invalid().with_error(WHOLE, "must be an object"),
        Err(error) => malformed(&error),
    }
}

/// Why `text` cannot be read as a `T`: names the field and the rule, never the value, which may be a secret.
fn fault<'a, T: Deserialize<'a>>(text: &'a str) -> Problem {
    // A field's fault in a text that is no JSON at all is not the field's.
    if let Err(error) = serde_json::from_str::<IgnoredAny>(text) {
        return malformed(&error);
    }
    let mut reader = serde_json::Deserializer::from_str(text);
    match serde_path_to_error::deserialize::<_, T>(&mut reader) {
        Ok(_) => Problem::invalid(),
        Err(error) => Problem::invalid().with_fault(refused(&error.path().to_string(), error.inner())),
    }
}

fn refused(path: &str, error: &serde_json::Error) -> Invalid {
    let path = path.replace('[', ".").replace(']', "");
    let text = error.to_string();
    let text = text
        .rsplit_once(" at line ")
        .map_or(text.as_str(), |(text, _)| text);
    // A missing field has no path of its own; its parent's is known.
    let missing = text
        .strip_prefix("missing field `")
        .and_then(|rest| rest.strip_suffix('`'));
    let field = match (missing, path.as_str()) {
        (Some(name), ".") => name.to_owned(),
        (Some(name), parent) => format!("{parent}.{name}"),
        (None, ".") => WHOLE.to_owned(),
        (None, path) => path.to_owned(),
    };
    let rule = match (missing, text.rsplit_once(", expected ")) {
        (Some(_), _) => "is required".to_owned(),
        // A rule of our own, whose text stands in the source.
        (None, _) if text.starts_with("must ") => text.to_owned(),
        (None, Some((_, "struct" | "a struct"))) => "must be an object".to_owned(),
        (None, Some((_, "a sequence"))) => "must be an array".to_owned(),
        (None, Some((_, expected))) if expected.starts_with("struct ") => "must be an object".to_owned(),
        // Whoever writes JSON knows no types of a width.
        (None, Some((_, "i64" | "u64" | "u32"))) => "must be an integer".to_owned(),
        (None, Some((_, expected))) => format!("must be {expected}"),
        (None, None) => "has a value that is not allowed here".to_owned(),
    };
    Invalid::new(field, rule)
}

fn malformed(error: &dyn fmt::Display) -> Problem {
    let detail = format!("The body is not well-formed JSON in UTF-8: {error}");
    Problem::new(StatusCode::BAD_REQUEST, "malformed_json", detail)
}

/// Reads a query string; names that nobody knows are ignored. All fields are read as text, so that there is one way to be
/// at fault: to stand there twice.
pub(crate) fn query<T: DeserializeOwned>(query: Option<&str>) -> Result<T, Problem> {
    let reader =
        serde_html_form::Deserializer::new(url::form_urlencoded::parse(query.unwrap_or_default().as_bytes()));
    serde_path_to_error::deserialize(reader).map_err(|error| {
        let field = error.path().to_string();
        Problem::invalid().with_error(field, "must be given once")
    })
}

/// Writes an answer that is kept for repetitions.
pub(crate) fn bytes<T: Serialize>(answer: &T) -> Bytes {
    // Strings, numbers and lists of them always serialize.
    serde_json::to_vec(answer).unwrap_or_default().into()
}

/// A `T` inside a body, as an object only: an array would be read as the fields in their order, which no contract means.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Object<T>(pub(crate) T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for Fields<T> {
            type Value = Object<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Object<T>, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map)).map(Object)
            }
        }

        deserializer.deserialize_map(Fields(PhantomData))
    }
}

/// An instant: ISO 8601 with an offset or `Z`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Instant(pub(crate) Timestamp);

impl<'de> Deserialize<'de> for Instant {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let at = Timestamp::parse_iso(&text);
        at.map(Self)
            .ok_or_else(|| D::Error::custom("must be an ISO 8601 instant, such as 2030-01-31T00:00:00Z"))
    }
}

/// A field of a change: absent, null, or a value. Use with `#[serde(default)]`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Field<T> {
    /// Not there: left alone.
    #[default]
    Absent,
    /// There, and null: cleared.
    Null,
    /// There.
    Value(T),
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Field<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Option::<T>::deserialize(deserializer).map(|value| value.map_or(Self::Null, Self::Value))
    }
}

impl<T> Field<T> {
    /// For a field that null clears: `None` leaves alone, `Some(None)` clears.
    pub(crate) fn clearing(self) -> Option<Option<T>> {
        match self {
            Self::Absent => None,
            Self::Null => Some(None),
            Self::Value(value) => Some(Some(value)),
        }
    }

    /// For a field of which null says what absence does.
    pub(crate) fn or_absent(self) -> Option<T> {
        match self {
            Self::Absent | Self::Null => None,
            Self::Value(value) => Some(value),
        }
    }

    /// For a field that cannot be null, whose fault waits among `faults`: `None` leaves alone.
    pub(crate) fn not_null(self, name: &str, faults: &mut Vec<Invalid>) -> Option<T> {
        if matches!(self, Self::Null) {
            faults.push(Invalid::new(name, NOT_NULL));
        }
        self.or_absent()
    }

    /// For a field that cannot be null: `None` leaves alone.
    pub(crate) fn required(self, name: &str) -> Result<Option<T>, Problem> {
        match self {
            Self::Absent => Ok(None),
            Self::Null => Err(Problem::invalid().with_error(name, NOT_NULL)),
            Self::Value(value) => Ok(Some(value)),
        }
    }
}

/// A field whose wrong type waits as a fault, so that its sender hears of every bad field at once. Use with
/// `#[serde(default)]`.
#[derive(Clone, Debug)]
pub(crate) struct Noted<T>(Result<Field<T>, Invalid>);

impl<T> Default for Noted<T> {
    fn default() -> Self {
        Self(Ok(Field::Absent))
    }
}

impl<'de, T: DeserializeOwned> Deserialize<'de> for Noted<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Box::<RawValue>::deserialize(deserializer)?;
        let mut reader = serde_json::Deserializer::from_str(text.get());
        let read = serde_path_to_error::deserialize::<_, Field<T>>(&mut reader);
        Ok(Self(read.map_err(|error| {
            refused(&error.path().to_string(), error.inner())
        })))
    }
}

impl<T> Noted<T> {
    /// The field, which is called `name`; where its type is wrong it goes to `faults`, and counts as absent.
    pub(crate) fn read(self, name: &str, faults: &mut Vec<Invalid>) -> Field<T> {
        let fault = match self.0 {
            Ok(field) => return field,
            Err(fault) => fault,
        };
        let field = match fault.field.trim_start_matches('.') {
            WHOLE => name.to_owned(),
            // Of an item, such as `.3`, or of a value in a map, such as `X-Team`.
            path => format!("{name}.{path}"),
        };
        faults.push(Invalid { field, ..fault });
        Field::Absent
    }

    /// The value of a field that cannot be null, which is called `name`; `None` leaves alone. What is wrong goes to
    /// `faults`.
    pub(crate) fn value(self, name: &str, faults: &mut Vec<Invalid>) -> Option<T> {
        self.read(name, faults).not_null(name, faults)
    }
}

/// The text of a JSON value that is kept as it was sent.
pub(crate) fn json_text(json: Box<RawValue>) -> String {
    Box::<str>::from(json).into_string()
}

/// JSON that is stored as text.
pub(crate) fn stored_json(text: &Option<String>) -> Option<Box<RawValue>> {
    text.clone().and_then(|text| RawValue::from_string(text).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, serde::Deserialize)]
    struct Inner {
        #[expect(dead_code, reason = "only its type matters here")]
        payload: u32,
    }

    #[derive(Debug, serde::Deserialize)]
    struct Outer {
        events: Vec<Object<Inner>>,
        #[serde(default)]
        name: Field<String>,
    }

    fn fault(body: &str) -> (u16, Option<String>) {
        let problem = json::<Outer>(body.as_bytes()).unwrap_err();
        (
            problem.status().as_u16(),
            problem.errors().first().map(|error| error.field.clone()),
        )
    }

    #[test]
    fn a_fault_names_its_field() {
        assert_eq!(
            fault(r#"{"events":[{"payload":1},{}]}"#),
            (422, Some("events.1.payload".into()))
        );
        assert_eq!(
            fault(r#"{"events":[{"payload":"x"}]}"#),
            (422, Some("events.0.payload".into()))
        );
        assert_eq!(fault("{}"), (422, Some("events".into())));
        for no_object in ["[]", "[[]]", "7", "null", r#""text""#] {
            assert_eq!(fault(no_object), (422, Some("body".into())), "{no_object}");
        }
    }

    #[test]
    fn an_array_is_no_object_with_its_fields_in_order() {
        assert_eq!(fault(r#"{"events":[[1]]}"#), (422, Some("events.0".into())));
        let problem = json::<Outer>(br#"{"events":[{"payload":1},[1]]}"#).unwrap_err();
        assert_eq!(problem.errors()[0].message, "must be an object");
    }

    #[test]
    fn a_fault_never_quotes_the_value() {
        for body in [
            r#"{"events":"canary"}"#,
            r#""canary""#,
            r#"{"events":[{"payload":"canary"}]}"#,
        ] {
            let problem = json::<Outer>(body.as_bytes()).unwrap_err();
            assert!(!format!("{problem:?}").contains("canary"), "{problem:?}");
            assert!(problem.errors()[0].message.starts_with("must be"), "{problem:?}");
        }
    }

    #[test]
    fn a_fault_tells_a_rule_of_our_own_in_its_words() {
        #[derive(Debug, serde::Deserialize)]
        struct Until {
            #[expect(dead_code, reason = "only its type matters here")]
            at: Instant,
        }
        let problem = json::<Until>(br#"{"at": "tomorrow"}"#).unwrap_err();
        let rule = "must be an ISO 8601 instant, such as 2030-01-31T00:00:00Z";
        assert_eq!(problem.errors()[0].message, rule);
    }

    #[test]
    fn a_noted_fault_names_its_field_and_lets_the_others_be_read() {
        #[derive(serde::Deserialize)]
        struct Patient {
            #[serde(default)]
            url: Noted<String>,
            #[serde(default)]
            events: Noted<Vec<String>>,
            #[serde(default)]
            active: Noted<bool>,
            #[serde(default)]
            absent: Noted<bool>,
        }
        let read: Patient = json(br#"{"url": 7, "events": ["a", 8], "active": true}"#).unwrap();
        let mut faults = vec![];
        assert_eq!(read.url.read("url", &mut faults), Field::Absent);
        assert_eq!(read.events.read("events", &mut faults), Field::Absent);
        assert_eq!(read.active.read("active", &mut faults), Field::Value(true));
        assert_eq!(read.absent.read("absent", &mut faults), Field::Absent);
        let told: Vec<String> = faults.iter().map(Invalid::to_string).collect();
        assert_eq!(told, ["url: must be a string", "events.1: must be a string"]);

        let read: Patient = json(br#"{"url": "\ud800", "events": "a", "active": null}"#).unwrap();
        let mut faults = vec![];
        read.url.read("url", &mut faults);
        read.events.read("events", &mut faults);
        read.active
            .read("active", &mut faults)
            .not_null("active", &mut faults);
        let told: Vec<String> = faults.iter().map(Invalid::to_string).collect();
        assert_eq!(
            told,
            [
                "url: has a value that is not allowed here",
                "events: must be an array",
                "active: must not be null"
            ]
        );
    }

    #[test]
    fn what_is_not_json_is_400() {
        for body in [
            "{",
            "\u{feff}{}",
            r#"{"events":[NaN]}"#,
            r#"{"events":[]} x"#,
            "nonsense",
        ] {
            assert_eq!(fault(body), (400, None), "{body}");
        }
        assert_eq!(
            json::<Outer>(b"{\"events\":[],\"x\":\"\xff\"}")
                .unwrap_err()
                .status()
                .as_u16(),
            400
        );
    }

    #[test]
    fn absent_null_and_value_are_three_things() {
        let read = |body: &str| json::<Outer>(body.as_bytes()).unwrap();
        assert_eq!(read(r#"{"events":[]}"#).name, Field::Absent);
        assert_eq!(read(r#"{"events":[],"name":null}"#).name.clearing(), Some(None));
        assert!(
            read(r#"{"events":[],"name":null}"#)
                .name
                .required("name")
                .is_err()
        );
        assert_eq!(
            read(r#"{"events":[],"name":"x","unknown":1}"#)
                .name
                .required("name")
                .unwrap(),
            Some("x".into())
        );
        assert!(read(r#"{"events":[]}"#).events.is_empty());
    }
}
