//! Payloads as the validator of a schema sees them: JSON values behind a meter. Every look into one costs steps. When they are
//! spent, or when the validator has gone so deep that the stack might end, every object and array looks empty, and it comes to
//! its end; what it says then is of no worth.

use jsonschema::JsonType;
use jsonschema::json::{Array, Json, Node, NodeIdentity, Object, cmp};
use serde_json::{Map, Number, Value};
use std::borrow::Cow;
use std::cell::Cell;
use std::collections::HashSet;
use std::hash::{Hash, Hasher};
use stentor_domain::limits::SCHEMA_STACK_BYTES_MAX;

/// Bytes of a text that are looked at in one step.
const BYTES_FOR_A_STEP: usize = 32;

/// The steps that are left for one payload.
#[derive(Debug)]
pub(super) struct Meter {
    left: Cell<usize>,
    /// Where the stack was when it was made.
    stack: usize,
}

impl Meter {
    /// A meter with so many steps, for a validator that is called from where this is.
    pub(super) fn new(steps: usize) -> Self {
        Self {
            left: Cell::new(steps),
            stack: stack(),
        }
    }

    /// Are no steps left?
    pub(super) fn is_spent(&self) -> bool {
        self.left.get() == 0
    }

    fn spend(&self, steps: usize) {
        let is_deep = self.stack.abs_diff(stack()) > SCHEMA_STACK_BYTES_MAX;
        let left = self.left.get().saturating_sub(steps);
        self.left.set(if is_deep { 0 } else { left });
    }
}

/// About where the stack is now.
fn stack() -> usize {
    let here = 0_u8;
    std::ptr::from_ref(&here).addr()
}

/// The kind of payloads that a validator is made for.
#[derive(Debug)]
pub(super) struct Instances;

/// A part of a payload. The name of a member, which is looked at as a text of its own, has no meter: its object has paid.
#[derive(Clone, Copy, Debug)]
pub(super) struct Metered<'a> {
    value: &'a Value,
    meter: Option<&'a Meter>,
}

impl<'a> Metered<'a> {
    pub(super) fn new(value: &'a Value, meter: &'a Meter) -> Self {
        Self {
            value,
            meter: Some(meter),
        }
    }

    /// Pays for a look into it. Nothing is to be seen any more where the meter is spent.
    fn look(&self, steps: usize) -> bool {
        self.meter.is_none_or(|meter| {
            meter.spend(steps);
            !meter.is_spent()
        })
    }
}

impl Json for Instances {
    type Node<'a> = Metered<'a>;
    type PreparedKey = String;
    type StringBuffer = Value;

    fn prepare_key(key: &str) -> String {
        key.to_owned()
    }

    fn with_string_node<T>(buffer: &mut Value, string: &str, look: impl FnOnce(Metered<'_>) -> T) -> T {
        *buffer = Value::String(string.to_owned());
        look(Metered {
            value: buffer,
            meter: None,
        })
    }
}

impl<'a> Node<'a, Instances> for Metered<'a> {
    type Object = Members<'a>;
    type Array = Items<'a>;
    type Number = &'a Number;

    fn as_object(&self) -> Option<Members<'a>> {
        let members = self.value.as_object()?;
        Some(Members {
            members: self.look(1).then_some(members),
            node: *self,
        })
    }

    fn as_array(&self) -> Option<Items<'a>> {
        let items = self.value.as_array()?;
        Some(Items {
            items: if self.look(1) { items } else { &[] },
            node: *self,
        })
    }

    fn as_string(&self) -> Option<Cow<'a, str>> {
        let text = self.value.as_str()?;
        self.look(1_usize.saturating_add(text.len() / BYTES_FOR_A_STEP));
        Some(Cow::Borrowed(text))
    }

    fn as_number(&self) -> Option<&'a Number> {
        self.look(1);
        match self.value {
            Value::Number(number) => Some(number),
            _ => None,
        }
    }

    fn as_boolean(&self) -> Option<bool> {
        self.value.as_bool()
    }

    fn is_null(&self) -> bool {
        self.value.is_null()
    }

    fn json_type(&self) -> JsonType {
        self.look(1);
        match self.value {
            Value::Null => JsonType::Null,
            Value::Bool(_) => JsonType::Boolean,
            Value::Number(_) => JsonType::Number,
            Value::String(_) => JsonType::String,
            Value::Array(_) => JsonType::Array,
            Value::Object(_) => JsonType::Object,
        }
    }

    fn equals_value(&self, expected: &Value) -> bool {
        // No more is looked at than the schema, which is small, has.
        self.look(1);
        cmp::equal(self.value, expected)
    }

    /// What a fault would quote: nothing. Copies of large payloads would be made for it.
    fn to_value(&self) -> Cow<'a, Value> {
        Cow::Owned(Value::Null)
    }

    fn identity(&self) -> Option<NodeIdentity> {
        Some(NodeIdentity::new(std::ptr::from_ref(self.value).addr()))
    }
}

/// The members of an object; none once the meter is spent.
#[derive(Debug)]
pub(super) struct Members<'a> {
    members: Option<&'a Map<String, Value>>,
    node: Metered<'a>,
}

impl<'a> Object<'a, Instances> for Members<'a> {
    type Node = Metered<'a>;
    type MemberName = &'a str;
    type MembersIter = MembersIter<'a>;

    fn len(&self) -> usize {
        self.members.map_or(0, Map::len)
    }

    fn get(&self, name: &String) -> Option<Metered<'a>> {
        self.node.look(1);
        let value = self.members?.get(name)?;
        Some(Metered { value, ..self.node })
    }

    fn members(&self) -> MembersIter<'a> {
        MembersIter {
            members: self.members.map(Map::iter),
            node: self.node,
        }
    }
}

/// The members of an object, one by one, each paid for.
#[derive(Debug)]
pub(super) struct MembersIter<'a> {
    members: Option<serde_json::map::Iter<'a>>,
    node: Metered<'a>,
}

impl<'a> Iterator for MembersIter<'a> {
    type Item = (&'a str, Metered<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        let (name, value) = self.members.as_mut()?.next()?;
        let steps = 1_usize.saturating_add(name.len() / BYTES_FOR_A_STEP);
        let node = Metered { value, ..self.node };
        self.node.look(steps).then_some((name.as_str(), node))
    }
}

/// The items of an array; none once the meter is spent.
#[derive(Debug)]
pub(super) struct Items<'a> {
    items: &'a [Value],
    node: Metered<'a>,
}

impl<'a> Array<'a, Instances> for Items<'a> {
    type Node = Metered<'a>;
    type ElementsIter = ItemsIter<'a>;

    fn len(&self) -> usize {
        self.items.len()
    }

    fn elements(&self) -> ItemsIter<'a> {
        ItemsIter {
            items: self.items.iter(),
            node: self.node,
        }
    }

    fn is_unique(&self) -> bool {
        let mut known = HashSet::with_capacity(self.items.len());
        self.items
            .iter()
            .all(|item| self.node.look(size(item)) && known.insert(Whole(item)))
    }
}

/// The items of an array, one by one, each paid for.
#[derive(Debug)]
pub(super) struct ItemsIter<'a> {
    items: std::slice::Iter<'a, Value>,
    node: Metered<'a>,
}

impl<'a> Iterator for ItemsIter<'a> {
    type Item = Metered<'a>;

    fn next(&mut self) -> Option<Metered<'a>> {
        let value = self.items.next()?;
        self.node.look(1).then_some(Metered { value, ..self.node })
    }
}

/// The steps of looking at all of a value.
fn size(value: &Value) -> usize {
    let steps = match value {
        Value::String(text) => text.len() / BYTES_FOR_A_STEP,
        Value::Array(items) => items.iter().map(size).sum(),
        Value::Object(members) => members.values().map(size).sum(),
        _ => 0,
    };
    steps.saturating_add(1)
}

/// A value that is compared as a whole. It is hashed with its structure, so that no payload can be made of many values with
/// one hash.
struct Whole<'a>(&'a Value);

impl PartialEq for Whole<'_> {
    fn eq(&self, other: &Self) -> bool {
        cmp::equal(self.0, other.0)
    }
}

impl Eq for Whole<'_> {}

impl Hash for Whole<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        match self.0 {
            Value::Null => 0_u8.hash(state),
            Value::Bool(flag) => (1_u8, flag).hash(state),
            // Equal numbers of different spellings are equal as floats; of zeros, one is negative.
            Value::Number(number) => {
                let float = number.as_f64().map(|number| (number + 0.0).to_bits());
                (2_u8, float).hash(state);
            }
            Value::String(text) => (3_u8, text).hash(state),
            Value::Array(items) => {
                (4_u8, items.len()).hash(state);
                items.iter().for_each(|item| Self(item).hash(state));
            }
            Value::Object(members) => {
                (5_u8, members.len()).hash(state);
                for (name, member) in members {
                    name.hash(state);
                    Self(member).hash(state);
                }
            }
        }
    }
}
