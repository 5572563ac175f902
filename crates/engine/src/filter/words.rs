//! Why a filter does not hold, for people.

use super::payload::{Lazy, Value};
use super::{Cause, Failed, Path, Scalar, Test};
use std::cell::{Cell, RefCell};
use std::fmt;

/// Characters of a value that a reason quotes.
const QUOTED_CHARACTERS_MAX: usize = 40;
/// Values of a list, or filters of an `$or`, that a reason tells of.
const TOLD_MAX: usize = 5;

impl Failed<'_> {
    /// The reason as a clause without a full stop: `data.total is 12.5, but $gte asks for 100`.
    pub(crate) fn words(&self, payload: &Lazy<'_>) -> String {
        match &self.0 {
            Cause::Test(path, test) => {
                let found = found(path, payload);
                format!(
                    "{} is {found}, but {} asks for {test}",
                    path.text,
                    test.operator()
                )
            }
            Cause::Or(filters) => {
                let failed = filters.iter().filter_map(|filter| filter.check(payload).err());
                let told: Vec<String> = failed
                    .take(TOLD_MAX)
                    .map(|failed| failed.words(payload))
                    .collect();
                format!(
                    "none of the {} filters of $or holds ({})",
                    filters.len(),
                    told.join("; ")
                )
            }
            Cause::Not => "the filter of $not holds".into(),
        }
    }
}

/// What a path finds.
fn found(path: &Path, payload: &Lazy<'_>) -> String {
    let (count, first) = (Cell::new(0_usize), RefCell::new(String::from("missing")));
    path.any(payload, &|value| {
        if count.get() == 0 {
            first.replace(described(value));
        }
        count.set(count.get().saturating_add(1));
        false
    });
    match count.get() {
        0 | 1 => first.into_inner(),
        several => format!("there {several} times"),
    }
}

fn described(value: &Value<'_>) -> String {
    match value {
        Value::Null => "null".into(),
        Value::Bool(flag) => flag.to_string(),
        Value::Number(number) => cut(&number.to_string()),
        Value::Text(text) => quoted(text),
        Value::Items(first, count) if first.len() < *count => {
            format!(
                "an array of {count} items, of which the first {} are looked at",
                first.len()
            )
        }
        Value::Items(_, count) => format!("an array of {count} items"),
        Value::Members(_) => "an object".into(),
        Value::Strange => "nothing that can be compared".into(),
    }
}

impl Test {
    fn operator(&self) -> &'static str {
        match self {
            Self::Eq(_) => "$eq",
            Self::Ne(_) => "$ne",
            Self::In(_) => "$in",
            Self::Gt(_) => "$gt",
            Self::Gte(_) => "$gte",
            Self::Lt(_) => "$lt",
            Self::Lte(_) => "$lte",
            Self::Exists(_) => "$exists",
            Self::StartsWith(_) => "$startsWith",
        }
    }
}

impl fmt::Display for Test {
    /// What it asks for.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Eq(value)
            | Self::Ne(value)
            | Self::Gt(value)
            | Self::Gte(value)
            | Self::Lt(value)
            | Self::Lte(value) => value.fmt(f),
            Self::In(values) => {
                let told: Vec<String> = values.iter().take(TOLD_MAX).map(Scalar::to_string).collect();
                let more = if values.len() > TOLD_MAX { ", ..." } else { "" };
                write!(f, "one of {}{more}", told.join(", "))
            }
            Self::Exists(wanted) => wanted.fmt(f),
            Self::StartsWith(prefix) => f.write_str(&quoted(prefix)),
        }
    }
}

impl fmt::Display for Scalar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::Bool(flag) => flag.fmt(f),
            Self::Number(number) => f.write_str(&cut(&number.to_string())),
            Self::Text(text) => f.write_str(&quoted(text)),
        }
    }
}

fn quoted(text: &str) -> String {
    format!("{:?}", cut(text))
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(QUOTED_CHARACTERS_MAX) {
        Some((end, _)) => format!("{}...", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}
