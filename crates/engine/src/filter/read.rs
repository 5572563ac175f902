//! Reading a filter. Every bound is kept before anything is built, and a fault names its place: `filter.$or.1.data.total.$gt`.

use super::path::Path;
use super::payload::{Lazy, Members, Value};
use super::{Clause, Filter, Scalar, Test};
use stentor_domain::limits::{FILTER_BYTES_MAX, FILTER_DEPTH_MAX, FILTER_TESTS_MAX};
use stentor_domain::name::Invalid;

/// What a field inside a filter is within.
const FILTER: &str = "filter";
const OPERATORS: &str = "$eq, $ne, $in, $gt, $gte, $lt, $lte, $exists or $startsWith";

type Read<T> = Result<T, Invalid>;

/// Reads the text of a `filter` field.
pub(super) fn filter(text: &str) -> Read<Filter> {
    if text.len() > FILTER_BYTES_MAX {
        let rule = format!("must be at most {FILTER_BYTES_MAX} bytes");
        return Err(Invalid::new(FILTER, rule));
    }
    let mut reader = Reader {
        tests_left: FILTER_TESTS_MAX,
    };
    reader.filter(&Lazy::new(text.as_bytes()), FILTER, FILTER_DEPTH_MAX)
}

struct Reader {
    tests_left: usize,
}

impl Reader {
    /// Reads a filter that may have `depth` filters within filters.
    fn filter(&mut self, json: &Lazy<'_>, place: &str, depth: usize) -> Read<Filter> {
        let Some(depth) = depth.checked_sub(1) else {
            let rule = format!("must not be nested deeper than {FILTER_DEPTH_MAX} filters");
            return Err(Invalid::new(place, rule));
        };
        let clauses = members(
            json,
            place,
            "must be an object of paths and what is asked of them",
        )?
        .named
        .iter()
        .map(|(name, json)| self.clause(name, json, &format!("{place}.{name}"), depth));
        Ok(Filter(clauses.collect::<Read<_>>()?))
    }

    fn clause(&mut self, name: &str, json: &Lazy<'_>, place: &str, depth: usize) -> Read<Clause> {
        match name {
            "$and" => Ok(Clause::And(self.filters(json, place, depth)?)),
            "$or" => Ok(Clause::Or(self.filters(json, place, depth)?)),
            "$not" => Ok(Clause::Not(self.filter(json, place, depth)?)),
            _ if name.starts_with('$') => Err(Invalid::new(
                place,
                "must be $and, $or, $not or a path; a name that begins with a dollar is written \\$",
            )),
            _ => {
                let path = Path::parse(name).map_err(|rule| Invalid::new(place, rule))?;
                Ok(Clause::Path(path, self.tests(json, place)?))
            }
        }
    }

    fn filters(&mut self, json: &Lazy<'_>, place: &str, depth: usize) -> Read<Vec<Filter>> {
        let filters = items(json, place, "must be an array of filters")?
            .iter()
            .enumerate();
        filters
            .map(|(at, json)| self.filter(json, &format!("{place}.{at}"), depth))
            .collect()
    }

    /// What is asked of a path: operators, or a value that it must equal.
    fn tests(&mut self, json: &Lazy<'_>, place: &str) -> Read<Vec<Test>> {
        match json.value() {
            Value::Members(_) => {
                let rule = format!("must be a value, or an object of {OPERATORS}");
                let members = members(json, place, &rule)?;
                if members.named.is_empty() {
                    return Err(Invalid::new(place, rule));
                }
                let tests = members.named.iter();
                tests
                    .map(|(operator, json)| self.test(operator, json, &format!("{place}.{operator}")))
                    .collect()
            }
            Value::Items(..) => {
                let rule =
                    "must be a value or an object of operators; one of several values is {\"$in\": [...]}";
                Err(Invalid::new(place, rule))
            }
            _ => Ok(vec![self.counted(Test::Eq(scalar(json, place)?), place)?]),
        }
    }

    fn test(&mut self, operator: &str, json: &Lazy<'_>, place: &str) -> Read<Test> {
        let test = match operator {
            "$eq" => Test::Eq(scalar(json, place)?),
            "$ne" => Test::Ne(scalar(json, place)?),
            "$in" => Test::In(scalars(json, place)?),
            "$gt" => Test::Gt(bound(json, place)?),
            "$gte" => Test::Gte(bound(json, place)?),
            "$lt" => Test::Lt(bound(json, place)?),
            "$lte" => Test::Lte(bound(json, place)?),
            "$exists" => match json.value() {
                Value::Bool(wanted) => Test::Exists(*wanted),
                _ => return Err(Invalid::new(place, "must be true or false")),
            },
            "$startsWith" => match json.value() {
                Value::Text(prefix) => Test::StartsWith(prefix.clone().into_owned()),
                _ => return Err(Invalid::new(place, "must be a string")),
            },
            _ => {
                let rule = format!(
                    "must be {OPERATORS}; what is inside a value is named by its path, such as data.total"
                );
                return Err(Invalid::new(place, rule));
            }
        };
        self.counted(test, place)
    }

    fn counted(&mut self, test: Test, place: &str) -> Read<Test> {
        let left = self.tests_left.checked_sub(1);
        self.tests_left = left.ok_or_else(|| {
            let rule = format!("is one too many: a filter asks at most {FILTER_TESTS_MAX} things");
            Invalid::new(place, rule)
        })?;
        Ok(test)
    }
}

/// The members of an object, none of which is given twice.
fn members<'j, 'a>(json: &'j Lazy<'a>, place: &str, rule: &str) -> Read<&'j Members<'a>> {
    match json.value() {
        Value::Members(Members {
            repeated: Some(name), ..
        }) => Err(Invalid::new(format!("{place}.{name}"), "is given twice")),
        Value::Members(members) => Ok(members),
        _ => Err(Invalid::new(place, rule)),
    }
}

/// The items of an array, of which there is at least one, and no more than are ever looked at.
fn items<'j, 'a>(json: &'j Lazy<'a>, place: &str, rule: &str) -> Read<&'j [Lazy<'a>]> {
    match json.value() {
        Value::Items(items, count) if *count > items.len() => Err(Invalid::new(
            place,
            format!("must have at most {} items", items.len()),
        )),
        Value::Items(items, _) if !items.is_empty() => Ok(items),
        Value::Items(..) => Err(Invalid::new(place, "must have at least one item")),
        _ => Err(Invalid::new(place, rule)),
    }
}

fn scalars(json: &Lazy<'_>, place: &str) -> Read<Vec<Scalar>> {
    let items = items(json, place, "must be an array of values")?
        .iter()
        .enumerate();
    let mut scalars: Vec<Scalar> = items
        .map(|(at, json)| scalar(json, &format!("{place}.{at}")))
        .collect::<Read<_>>()?;
    scalars.sort_unstable();
    Ok(scalars)
}

fn scalar(json: &Lazy<'_>, place: &str) -> Read<Scalar> {
    match json.value() {
        Value::Null => Ok(Scalar::Null),
        Value::Bool(flag) => Ok(Scalar::Bool(*flag)),
        Value::Number(number) => Ok(Scalar::Number(number.clone().into_owned())),
        Value::Text(text) => Ok(Scalar::Text(text.clone().into_owned())),
        Value::Items(..) | Value::Members(_) => Err(Invalid::new(
            place,
            "must be a string, a number, true, false or null",
        )),
        Value::Strange => Err(Invalid::new(
            place,
            "must be text in Unicode, or a number with an exponent of 64 bits",
        )),
    }
}

fn bound(json: &Lazy<'_>, place: &str) -> Read<Scalar> {
    match scalar(json, place)? {
        bound @ (Scalar::Number(_) | Scalar::Text(_)) => Ok(bound),
        Scalar::Null | Scalar::Bool(_) => Err(Invalid::new(place, "must be a number or a string")),
    }
}
