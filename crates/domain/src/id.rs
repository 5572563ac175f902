//! Identities: one UUIDv7 per object, spelled from two numbers.
//!
//! `n` is the row's key: 42 bits of milliseconds, 13 of sequence, 8 of node. It is made by the node, grows even when
//! the clock steps back, and is never reused, so that a list by `n` is a stable list by age. `tag` is 53 random bits,
//! which make the public spelling unguessable. Both together fill a UUIDv7 exactly (48 bits of time, 74 free bits, of
//! which 21 hold the rest of `n`), so that a public id finds its row by `n` and needs no second index:
//!
//! ```text
//! uuid:  time 48        | 7 | high 12 of n's low 21 | 10 | low 9 of n's low 21 | tag 53
//! ```

use crate::{Chance, Timestamp, hex};
use std::fmt;
use std::sync::atomic::{AtomicI64, Ordering};

const NODE_BITS: u32 = 8;
const LOW_BITS: u32 = 21;
const TAG_BITS: u32 = 53;
const TAG_MASK: i64 = (1 << TAG_BITS) - 1;
const UUID_CHARACTERS: usize = 36;

/// The two numbers behind every public id.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id {
    /// The row's key: time, sequence, node. Unique among all objects.
    pub n: i64,
    /// 53 random bits; a public id is known only to those who were told it.
    pub tag: i64,
}

impl Id {
    /// The id whose UUID is `uuid`, or `None` where no id is spelled so. Only the canonical spelling is taken
    /// (lower-case, with hyphens): two spellings of one id would be two keys to every cache between us and the caller.
    pub fn parse_uuid(uuid: &str) -> Option<Self> {
        let bytes = uuid.as_bytes();
        if bytes.len() != UUID_CHARACTERS {
            return None;
        }
        let mut bits: u128 = 0;
        for (at, &byte) in bytes.iter().enumerate() {
            let digit = match (at, byte) {
                (8 | 13 | 18 | 23, b'-') => continue,
                (8 | 13 | 18 | 23, _) => return None,
                (_, b'0'..=b'9') => byte - b'0',
                (_, b'a'..=b'f') => byte - b'a' + 10,
                _ => return None,
            };
            bits = (bits << 4) | u128::from(digit);
        }
        let id = Self::from_bits(bits)?;
        (id.bits() == bits).then_some(id)
    }

    /// The UUID in its canonical spelling.
    pub fn uuid(self) -> String {
        text_of(&self.uuid_characters()).to_owned()
    }

    /// The characters of the UUID, all of them ASCII. Every event spells several ids: this is ten times as fast as `format!`.
    fn uuid_characters(self) -> [u8; UUID_CHARACTERS] {
        let mut characters = [b'-'; UUID_CHARACTERS];
        let mut rest = characters.as_mut_slice();
        for (at, byte) in self.bits().to_be_bytes().into_iter().enumerate() {
            if matches!(at, 4 | 6 | 8 | 10) {
                // The hyphen that stands there already.
                rest.split_off_first_mut();
            }
            if let Some(two) = rest.split_off_mut(..2) {
                two.copy_from_slice(&hex::of_byte(byte));
            }
        }
        characters
    }

    /// The id of attempt `no` of the delivery that this id names. Attempts store no id of their own: theirs is the
    /// delivery's with the number added to the tag.
    pub fn attempt(self, no: u32) -> Self {
        Self {
            n: self.n,
            tag: (self.tag + i64::from(no)) & TAG_MASK,
        }
    }

    /// When the id was made, to the millisecond (later than the clock said, where the sequence overflowed).
    pub fn made_at(self) -> Timestamp {
        Timestamp::from_micros((self.n >> LOW_BITS).saturating_mul(1_000))
    }

    /// The least key of an id made at `at` or later, so that a span of time is a range of keys. Ids tell milliseconds:
    /// an instant between two counts as the later one, as [`Id::made_at`] would compare.
    pub fn least_key_at(at: Timestamp) -> i64 {
        let millis = at.micros().saturating_add(999).div_euclid(1_000);
        millis.clamp(0, i64::MAX >> LOW_BITS) << LOW_BITS
    }

    fn bits(self) -> u128 {
        let n = u128::from(self.n.cast_unsigned());
        let low = n & ((1 << LOW_BITS) - 1);
        let tag = u128::from((self.tag & TAG_MASK).cast_unsigned());
        ((n >> LOW_BITS) << 80)
            | (0x7 << 76)
            | ((low >> 9) << 64)
            | (0b10 << 62)
            | ((low & 0x1ff) << TAG_BITS)
            | tag
    }

    fn from_bits(bits: u128) -> Option<Self> {
        let low = (((bits >> 64) & 0xfff) << 9) | ((bits >> TAG_BITS) & 0x1ff);
        let n = ((bits >> 80) << LOW_BITS) | low;
        let tag = bits & u128::from(TAG_MASK.cast_unsigned());
        Some(Self {
            n: i64::try_from(n).ok()?,
            tag: i64::try_from(tag).ok()?,
        })
    }
}

impl fmt::Debug for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.uuid())
    }
}

/// Makes ids for one node. Shared by all threads; never locks.
#[derive(Debug)]
pub struct Ids {
    last: AtomicI64,
    node: u8,
}

impl Ids {
    /// A maker for node number `node` that goes on after `last`, the highest key known to be in use (0: none).
    pub fn new(node: u8, last: i64) -> Self {
        Self {
            last: AtomicI64::new(last),
            node,
        }
    }

    /// The next id: greater than every one before it, whatever the clock says.
    pub fn next(&self, now: Timestamp, chance: &dyn Chance) -> Id {
        let floor = (now.millis().max(0) << LOW_BITS) | i64::from(self.node);
        let step = 1_i64 << NODE_BITS;
        let after = |last: i64| {
            // The node's own bits stay as they are: a full sequence carries into the milliseconds.
            let next = (last & !(step - 1)).saturating_add(step) | i64::from(self.node);
            next.max(floor)
        };
        let last = self
            .last
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |last| Some(after(last)));
        let n = after(last.unwrap_or_else(|last| last));
        Id {
            n,
            tag: (chance.u64() >> (64 - TAG_BITS)).cast_signed(),
        }
    }
}

/// The text of characters that are all ASCII.
fn text_of(characters: &[u8]) -> &str {
    std::str::from_utf8(characters).unwrap_or_default()
}

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident = $prefix:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub Id);

        impl $name {
            /// What stands before the UUID in the v1 spelling.
            pub const PREFIX: &'static str = $prefix;

            /// The row's key.
            pub const fn n(self) -> i64 {
                self.0.n
            }

            /// The id that the v1 spelling `text` names, or `None`.
            pub fn parse(text: &str) -> Option<Self> {
                text.strip_prefix(Self::PREFIX).and_then(Id::parse_uuid).map(Self)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                // In one piece, so that a string is made with one allocation.
                let mut text = [0; Self::PREFIX.len() + UUID_CHARACTERS];
                let (prefix, uuid) = text.split_at_mut(Self::PREFIX.len());
                prefix.copy_from_slice(Self::PREFIX.as_bytes());
                uuid.copy_from_slice(&self.0.uuid_characters());
                f.write_str(text_of(&text))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl From<Id> for $name {
            fn from(id: Id) -> Self {
                Self(id)
            }
        }
    )*};
}

ids! {
    /// Names a project.
    ProjectId = "prj_";
    /// Names an API key (not the key's own text).
    KeyId = "key_";
    /// Names a tenant.
    TenantId = "ten_";
    /// Names an endpoint.
    EndpointId = "ep_";
    /// Names an event type.
    EventTypeId = "ety_";
    /// Names an event; what receivers see as `webhook-id`.
    EventId = "evt_";
    /// Names a delivery.
    DeliveryId = "dlv_";
    /// Names an attempt; derived from its delivery's, see [`Id::attempt`].
    AttemptId = "att_";
    /// Names a replay.
    ReplayId = "rpl_";
    /// Names a row of the audit log.
    AuditId = "aud_";
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    struct Fixed(u64);
    impl Chance for Fixed {
        fn fill(&self, bytes: &mut [u8]) {
            bytes.copy_from_slice(&self.0.to_le_bytes()[..bytes.len()]);
        }
    }

    proptest! {
        #[test]
        fn every_id_survives_its_spelling(n in 0..i64::MAX, tag in 0..=TAG_MASK) {
            let id = Id { n, tag };
            prop_assert_eq!(Id::parse_uuid(&id.uuid()), Some(id));
            prop_assert_eq!(id.uuid().as_bytes()[14], b'7');
            let digits = format!("{:032x}", id.bits());
            prop_assert_eq!(id.uuid().replace('-', ""), digits);
            prop_assert_eq!(EventId(id).to_string(), format!("evt_{}", id.uuid()));
            prop_assert!(matches!(id.uuid().as_bytes()[19], b'8' | b'9' | b'a' | b'b'));
        }

        #[test]
        fn no_text_panics_and_every_taken_one_is_canonical(text in "\\PC{0,40}|[0-9a-f-]{36}") {
            if let Some(id) = Id::parse_uuid(&text) {
                prop_assert_eq!(id.uuid(), text);
            }
        }
    }

    #[test]
    fn ids_grow_when_the_clock_steps_back_and_when_the_sequence_overflows() {
        let ids = Ids::new(7, 0);
        let now = Timestamp::from_seconds(1_700_000_000);
        let mut last = ids.next(now, &Fixed(1));
        for step in 0..20_000 {
            let at = if step % 2 == 0 {
                Timestamp::from_seconds(5)
            } else {
                now
            };
            let next = ids.next(at, &Fixed(1));
            assert!(next.n > last.n);
            assert_eq!(next.n & 0xff, 7);
            last = next;
        }
        assert!(last.made_at() > now);
    }

    #[test]
    fn a_span_of_time_is_a_range_of_keys() {
        let made = Timestamp::from_micros(1_700_000_000_123_000);
        let id = Ids::new(255, 0).next(made, &Fixed(1));
        for (micros, later) in [(-1, true), (0, true), (1, false), (1_000, false)] {
            let at = Timestamp::from_micros(made.micros() + micros);
            assert_eq!(id.n >= Id::least_key_at(at), later, "{micros}");
            assert_eq!(id.made_at() >= at, later, "{micros}");
        }
        assert_eq!(Id::least_key_at(Timestamp::from_micros(i64::MIN)), 0);
        assert!(Id::least_key_at(Timestamp::from_micros(i64::MAX)) > id.n);
    }

    #[test]
    fn an_id_of_another_kind_or_case_is_not_taken() {
        let id = Id {
            n: 1 << 60,
            tag: 0xabc,
        };
        let text = EndpointId(id).to_string();
        assert_eq!(EndpointId::parse(&text), Some(EndpointId(id)));
        assert_eq!(EventId::parse(&text), None);
        assert_eq!(EndpointId::parse(&text.to_uppercase()), None);
        assert_eq!(EndpointId::parse(&text[3..]), None);
    }
}
