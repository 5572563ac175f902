//! A payload as filters look at it: opened only where a filter asks, each part at most once, and never deeper than a path
//! goes. Nobody who has no filter pays for it.

use super::decimal::Decimal;
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;
use std::sync::OnceLock;
use stentor_domain::limits::FILTER_ITEMS_MAX;

/// JSON that is opened when it is first asked for. What is not JSON is [`Value::Strange`].
#[derive(Debug)]
pub(crate) struct Lazy<'a> {
    json: &'a [u8],
    opened: OnceLock<Value<'a>>,
}

/// What JSON text turned out to be; what is inside it is not opened yet.
#[derive(Debug)]
pub(crate) enum Value<'a> {
    Null,
    Bool(bool),
    Number(Decimal<'a>),
    Text(Cow<'a, str>),
    /// The first items of an array, and how many there are in all.
    Items(Vec<Lazy<'a>>, usize),
    Members(Members<'a>),
    /// What can be compared with nothing: text with half of a surrogate pair, a number with an exponent beyond 64 bits.
    Strange,
}

/// The members of an object. Of those with one name the last one counts, as for most readers of JSON.
#[derive(Debug, Default)]
pub(crate) struct Members<'a> {
    pub(crate) named: BTreeMap<Cow<'a, str>, Lazy<'a>>,
    /// A name that was there more than once.
    pub(crate) repeated: Option<String>,
}

impl<'a> Lazy<'a> {
    /// Some JSON. Costs nothing until it is asked for.
    pub(crate) fn new(json: &'a [u8]) -> Self {
        Self {
            json,
            opened: OnceLock::new(),
        }
    }

    /// What it is.
    pub(crate) fn value(&self) -> &Value<'a> {
        self.opened.get_or_init(|| open(self.json))
    }
}

fn open(json: &[u8]) -> Value<'_> {
    let text = std::str::from_utf8(json).unwrap_or_default().trim_ascii();
    let opened = match text.as_bytes().first() {
        Some(b'{') => serde_json::from_str(text).map(Value::Members).ok(),
        Some(b'[') => serde_json::from_str(text)
            .map(|Items { first, count }| Value::Items(first, count))
            .ok(),
        Some(b'"') => unquoted(text).map(Value::Text),
        Some(b'n') => Some(Value::Null),
        Some(b't') => Some(Value::Bool(true)),
        Some(b'f') => Some(Value::Bool(false)),
        Some(_) => Decimal::parse(text).map(Value::Number),
        None => None,
    };
    opened.unwrap_or(Value::Strange)
}

/// The text of a JSON string.
fn unquoted(quoted: &str) -> Option<Cow<'_, str>> {
    if quoted.contains('\\') {
        return serde_json::from_str(quoted).map(Cow::Owned).ok();
    }
    quoted.strip_prefix('"')?.strip_suffix('"').map(Cow::Borrowed)
}

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Read<'a>(PhantomData<Members<'a>>);

        impl<'de: 'a, 'a> Visitor<'de> for Read<'a> {
            type Value = Members<'a>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members<'a>, A::Error> {
                let mut members = Members::default();
                while let Some((name, value)) = map.next_entry::<&'de RawValue, &'de RawValue>()? {
                    // No path can name what is no text.
                    let Some(name) = unquoted(name.get()) else {
                        continue;
                    };
                    if let Some((name, _)) = members.named.remove_entry(&name) {
                        members.repeated = Some(name.into_owned());
                    }
                    members.named.insert(name, Lazy::new(value.get().as_bytes()));
                }
                Ok(members)
            }
        }

        deserializer.deserialize_map(Read(PhantomData))
    }
}

struct Items<'a> {
    first: Vec<Lazy<'a>>,
    count: usize,
}

impl<'de: 'a, 'a> Deserialize<'de> for Items<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Read<'a>(PhantomData<Items<'a>>);

        impl<'de: 'a, 'a> Visitor<'de> for Read<'a> {
            type Value = Items<'a>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an array")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Items<'a>, A::Error> {
                let (mut first, mut count) = (Vec::new(), 0_usize);
                while let Some(item) = items.next_element::<&'de RawValue>()? {
                    count = count.saturating_add(1);
                    if first.len() < FILTER_ITEMS_MAX {
                        first.push(Lazy::new(item.get().as_bytes()));
                    }
                }
                Ok(Items { first, count })
            }
        }

        deserializer.deserialize_seq(Read(PhantomData))
    }
}
