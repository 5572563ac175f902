//! The trace that a publish belongs to, as W3C Trace Context tells it in the headers `traceparent` and `tracestate`: kept as it
//! came and sent on, where the operator wants that. Stentor takes no part in the trace, and makes none.
//!
//! What the recommendation calls invalid is ignored, as it asks for.

/// Length of a `traceparent` of version 00, the only version there is.
const PARENT_BYTES: usize = 55;
/// Entries that a `tracestate` may have (section 3.3.1).
const STATE_MEMBERS_MAX: usize = 32;
/// Length of a `tracestate` that is kept; whoever passes it on should take at least so much (section 3.3.1.5).
const STATE_BYTES_MAX: usize = 512;

/// A place in a trace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trace {
    parent: String,
    state: Option<String>,
}

impl Trace {
    /// The trace that the headers tell of; `None` where `traceparent` is invalid. A `tracestate` that is invalid, or too long,
    /// is left out.
    pub fn parse(parent: &str, state: Option<&str>) -> Option<Self> {
        let parent = checked_parent(parent)?;
        let state = state.map(str::trim).filter(|state| is_state(state));
        Some(Self {
            parent,
            state: state.map(str::to_owned),
        })
    }

    /// The value of `traceparent`.
    pub fn parent(&self) -> &str {
        &self.parent
    }

    /// The value of `tracestate`.
    pub fn state(&self) -> Option<&str> {
        self.state.as_deref()
    }
}

/// The value to be sent on: as it is; of a later version, what this one knows of it (section 4.3).
fn checked_parent(text: &str) -> Option<String> {
    let (known, more) = text.split_at_checked(PARENT_BYTES)?;
    let mut parts = known.split('-');
    let (version, trace, parent, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let lengths = [(version, 2), (trace, 32), (parent, 16), (flags, 2)];
    let fits = lengths
        .iter()
        .all(|(part, length)| part.len() == *length && part.bytes().all(is_hex));
    if parts.next().is_some() || !fits || version == "ff" || is_zero(trace) || is_zero(parent) {
        return None;
    }
    match (version, more) {
        ("00", "") => Some(known.to_owned()),
        ("00", _) => None,
        (_, more) if more.is_empty() || more.starts_with('-') => {
            let sampled = u8::from_str_radix(flags, 16).ok()? & 1;
            Some(format!("00-{trace}-{parent}-{sampled:02x}"))
        }
        _ => None,
    }
}

fn is_hex(byte: u8) -> bool {
    byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte)
}

fn is_zero(part: &str) -> bool {
    part.bytes().all(|byte| byte == b'0')
}

fn is_state(state: &str) -> bool {
    let member = |member: &str| {
        let member = member.trim();
        member.is_empty()
            || member
                .split_once('=')
                .is_some_and(|(key, value)| !key.is_empty() && !value.is_empty())
    };
    !state.is_empty()
        && state.len() <= STATE_BYTES_MAX
        && state
            .bytes()
            .all(|byte| (b' '..=b'~').contains(&byte) || byte == b'\t')
        && state.split(',').count() <= STATE_MEMBERS_MAX
        && state.split(',').all(member)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn parent(text: &str) -> Option<String> {
        Trace::parse(text, None).map(|trace| trace.parent)
    }

    #[test]
    fn a_valid_one_is_kept_as_it_came() {
        assert_eq!(parent(PARENT).as_deref(), Some(PARENT));
        let flags = PARENT.replace("-01", "-ff");
        assert_eq!(parent(&flags), Some(flags));
    }

    #[test]
    fn what_the_recommendation_calls_invalid_is_none() {
        let zeros = |count| "0".repeat(count);
        for text in [
            String::new(),
            "garbage".into(),
            PARENT[..54].into(),
            format!("{PARENT}0"),
            format!("{PARENT}-more"),
            PARENT.to_uppercase(),
            PARENT.replace("00-4b", "ff-4b"),
            PARENT.replace("00-4b", "0g-4b"),
            PARENT.replace('-', "_"),
            PARENT.replace("4bf92f3577b34da6a3ce929d0e0e4736", &zeros(32)),
            PARENT.replace("00f067aa0ba902b7", &zeros(16)),
            PARENT.replace("-01", "-0x"),
            PARENT.replace("4bf9", "4-f9"),
            PARENT.replace("01", "\u{e9}"),
        ] {
            assert_eq!(parent(&text), None, "{text}");
        }
    }

    #[test]
    fn a_later_version_is_sent_on_as_far_as_it_is_known() {
        let later = PARENT.replace("00-4b", "cc-4b");
        assert_eq!(parent(&later).as_deref(), Some(PARENT));
        assert_eq!(parent(&format!("{later}-what-comes")).as_deref(), Some(PARENT));
        assert_eq!(parent(&later.replace("-01", "-07")).as_deref(), Some(PARENT));
        assert_eq!(parent(&format!("{later}.")), None);
    }

    #[test]
    fn a_state_is_bounded_and_goes_only_with_a_parent() {
        let state = |text: &str| Trace::parse(PARENT, Some(text)).unwrap().state;
        let good = "rojo=00f067aa0ba902b7,congo=t61rcWkgMzE";
        assert_eq!(state(good).as_deref(), Some(good));
        let members = |count| vec!["a=1"; count].join(",");
        assert!(state(&members(32)).is_some() && state(&members(33)).is_none());
        assert!(state(&format!("a={}", "x".repeat(510))).is_some());
        assert!(state(&format!("a={}", "x".repeat(511))).is_none());
        for bad in ["", " ", "a", "a=1,b", "=1", "a=\u{e9}", "a=\r\nx: y"] {
            assert_eq!(state(bad), None, "{bad:?}");
        }
        assert_eq!(Trace::parse("garbage", Some(good)), None);
    }
}
