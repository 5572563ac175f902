//! Ways into a payload: `data.items.0.sku`.

use super::payload::{Lazy, Value};
use stentor_domain::limits::{FILTER_ITEMS_MAX, FILTER_PATH_STEPS_MAX};

/// What stands before a character that would mean something else.
const ESCAPE: char = '\\';

/// A way into a payload.
#[derive(Debug)]
pub(super) struct Path {
    /// As its owner wrote it.
    pub(super) text: String,
    steps: Vec<Step>,
}

#[derive(Debug)]
struct Step {
    /// The member of an object that it names.
    name: String,
    /// The item of an array that it names; without one it goes on in every item.
    item: Option<usize>,
}

impl Path {
    /// Reads names with dots between them. A dot within a name, a backslash, and the dollar that it begins with, have a
    /// backslash before them.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let mut names = vec![String::new()];
        let mut characters = text.chars();
        while let Some(character) = characters.next() {
            let literal = match character {
                '.' => {
                    names.push(String::new());
                    continue;
                }
                ESCAPE => match characters.next() {
                    Some(escaped @ ('.' | '$' | ESCAPE)) => escaped,
                    _ => {
                        return Err(
                            "has a backslash that stands before neither a dot, a dollar nor a backslash"
                                .into(),
                        );
                    }
                },
                other => other,
            };
            if let Some(name) = names.last_mut() {
                name.push(literal);
            }
        }
        if names.iter().any(String::is_empty) {
            return Err("must be names with dots between them, such as data.total".into());
        }
        if names.len() > FILTER_PATH_STEPS_MAX {
            return Err(format!("must have at most {FILTER_PATH_STEPS_MAX} names"));
        }
        Ok(Self {
            text: text.to_owned(),
            steps: names.into_iter().map(Step::new).collect(),
        })
    }

    /// Does `holds` say yes to any value that is found? The items of an array that stands at the end are asked, not the array.
    pub(super) fn any_item(&self, payload: &Lazy<'_>, holds: &dyn Fn(&Value<'_>) -> bool) -> bool {
        self.walk(payload, true, holds)
    }

    /// Does `holds` say yes to any value that is found?
    pub(super) fn any(&self, payload: &Lazy<'_>, holds: &dyn Fn(&Value<'_>) -> bool) -> bool {
        self.walk(payload, false, holds)
    }

    fn walk(&self, payload: &Lazy<'_>, into_items: bool, holds: &dyn Fn(&Value<'_>) -> bool) -> bool {
        let mut walk = Walk {
            items_left: FILTER_ITEMS_MAX,
            into_items,
            holds,
        };
        walk.any(payload.value(), &self.steps)
    }
}

impl Step {
    fn new(name: String) -> Self {
        let is_number = name.bytes().all(|byte| byte.is_ascii_digit());
        Self {
            item: is_number.then(|| name.parse().unwrap_or(usize::MAX)),
            name,
        }
    }
}

/// One search, which is over after so many items of all arrays on its way.
struct Walk<'h> {
    items_left: usize,
    into_items: bool,
    holds: &'h dyn Fn(&Value<'_>) -> bool,
}

impl Walk<'_> {
    /// No deeper than the steps are many: an array within an array is entered by a number only.
    fn any(&mut self, value: &Value<'_>, steps: &[Step]) -> bool {
        match (value, steps) {
            (Value::Items(items, _), []) if self.into_items => items
                .iter()
                .any(|item| self.has_left() && (self.holds)(item.value())),
            (_, []) => (self.holds)(value),
            (Value::Members(members), [step, rest @ ..]) => {
                let member = members.named.get(step.name.as_str());
                member.is_some_and(|member| self.any(member.value(), rest))
            }
            (Value::Items(items, _), [Step { item: Some(at), .. }, rest @ ..]) => {
                items.get(*at).is_some_and(|item| self.any(item.value(), rest))
            }
            (Value::Items(items, _), _) => items.iter().any(|item| {
                self.has_left() && matches!(item.value(), Value::Members(_)) && self.any(item.value(), steps)
            }),
            _ => false,
        }
    }

    fn has_left(&mut self) -> bool {
        let left = self.items_left.checked_sub(1);
        self.items_left = left.unwrap_or(0);
        left.is_some()
    }
}
