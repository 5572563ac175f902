//! Payload filters: what an endpoint asks of a payload before an event goes there. `docs/filters.md` is what their owners
//! read.
//!
//! A filter is JSON text in the endpoint's settings. It is checked when it is saved (`read`) and compiled once for each
//! version of the endpoint: what was compiled lies beside that version in the snapshot of the configuration, and goes with
//! it. Its size, nesting and tests are bounded, it has no regular expressions, and a `path` looks at the first hundred items
//! of arrays, so that what asking costs grows with the filter alone. The `payload` is opened once for all filters of all
//! endpoints, and only if there is one. Numbers are compared as they are spelled (`decimal`). What did not hold is told in
//! `words`.
//!
//! Nothing about a payload is an error. What is missing, or of another type, is not equal, not greater and not less.

mod decimal;
mod path;
pub(crate) mod payload;
mod read;
#[cfg(test)]
mod tests;
mod words;

use decimal::Decimal;
use path::Path;
use payload::{Lazy, Value};
use std::cmp::Ordering;
use stentor_domain::name::Invalid;

/// What must hold of a payload: all of it.
#[derive(Debug)]
pub(crate) struct Filter(Vec<Clause>);

#[derive(Debug)]
enum Clause {
    /// Each of these tests of what a path finds.
    Path(Path, Vec<Test>),
    And(Vec<Filter>),
    Or(Vec<Filter>),
    Not(Filter),
}

/// Something asked of the values that a path finds.
#[derive(Debug)]
enum Test {
    Eq(Scalar),
    Ne(Scalar),
    /// In order, so that looking one up is cheap.
    In(Vec<Scalar>),
    Gt(Scalar),
    Gte(Scalar),
    Lt(Scalar),
    Lte(Scalar),
    Exists(bool),
    StartsWith(String),
}

/// A value without parts.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Scalar {
    Null,
    Bool(bool),
    Number(Decimal<'static>),
    Text(String),
}

/// What did not hold; it can say so in words.
#[derive(Debug)]
pub(crate) struct Failed<'f>(Cause<'f>);

#[derive(Debug)]
enum Cause<'f> {
    Test(&'f Path, &'f Test),
    Or(&'f [Filter]),
    Not,
}

impl Filter {
    /// Reads the text of a `filter` field; the error is the field inside it that breaks a rule.
    pub(crate) fn parse(text: &str) -> Result<Self, Invalid> {
        read::filter(text)
    }

    /// Does the payload have what is asked? The error is the first thing that it does not have.
    pub(crate) fn check(&self, payload: &Lazy<'_>) -> Result<(), Failed<'_>> {
        self.0.iter().try_for_each(|clause| match clause {
            Clause::Path(path, tests) => {
                let failed = tests.iter().find(|test| !test.holds(path, payload));
                failed.map_or(Ok(()), |test| Err(Failed(Cause::Test(path, test))))
            }
            Clause::And(filters) => filters.iter().try_for_each(|filter| filter.check(payload)),
            Clause::Or(filters) if filters.iter().any(|filter| filter.check(payload).is_ok()) => Ok(()),
            Clause::Or(filters) => Err(Failed(Cause::Or(filters))),
            Clause::Not(filter) if filter.check(payload).is_ok() => Err(Failed(Cause::Not)),
            Clause::Not(_) => Ok(()),
        })
    }
}

impl Test {
    fn holds(&self, path: &Path, payload: &Lazy<'_>) -> bool {
        let is = |wanted: fn(Ordering) -> bool, bound: &Scalar| {
            path.any_item(payload, &|value| compare(value, bound).is_some_and(wanted))
        };
        match self {
            Self::Exists(wanted) => path.any(payload, &|_| true) == *wanted,
            Self::Eq(wanted) => is(Ordering::is_eq, wanted),
            Self::Ne(other) => !is(Ordering::is_eq, other),
            Self::In(wanted) => path.any_item(payload, &|value| is_among(value, wanted)),
            Self::Gt(bound) => is(Ordering::is_gt, bound),
            Self::Gte(bound) => is(Ordering::is_ge, bound),
            Self::Lt(bound) => is(Ordering::is_lt, bound),
            Self::Lte(bound) => is(Ordering::is_le, bound),
            Self::StartsWith(prefix) => path.any_item(
                payload,
                &|value| matches!(value, Value::Text(text) if text.starts_with(prefix.as_str())),
            ),
        }
    }
}

/// How a value stands to a scalar of its own type. Values of two types are not comparable.
fn compare(value: &Value<'_>, scalar: &Scalar) -> Option<Ordering> {
    match (value, scalar) {
        (Value::Null, Scalar::Null) => Some(Ordering::Equal),
        (Value::Bool(one), Scalar::Bool(other)) => Some(one.cmp(other)),
        (Value::Number(one), Scalar::Number(other)) => Some(one.cmp(other)),
        (Value::Text(one), Scalar::Text(other)) => Some(one.as_ref().cmp(other.as_str())),
        _ => None,
    }
}

/// Is the value one of `scalars`, which are in order?
fn is_among(value: &Value<'_>, scalars: &[Scalar]) -> bool {
    let Some(rank) = rank(value) else {
        return false;
    };
    let found = scalars.binary_search_by(|scalar| {
        let order = compare(value, scalar).map(Ordering::reverse);
        order.unwrap_or_else(|| scalar.rank().cmp(&rank))
    });
    found.is_ok()
}

/// Where values of this type stand among all scalars in order.
fn rank(value: &Value<'_>) -> Option<u8> {
    match value {
        Value::Null => Some(0),
        Value::Bool(_) => Some(1),
        Value::Number(_) => Some(2),
        Value::Text(_) => Some(3),
        Value::Items(..) | Value::Members(_) | Value::Strange => None,
    }
}

impl Scalar {
    fn rank(&self) -> u8 {
        match self {
            Self::Null => 0,
            Self::Bool(_) => 1,
            Self::Number(_) => 2,
            Self::Text(_) => 3,
        }
    }
}
