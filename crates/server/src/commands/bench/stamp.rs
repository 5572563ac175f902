//! What stands in the payload of each published event: which one it is, and when it was sent.

use std::time::Duration;

/// Bytes of each payload.
pub(super) const PAYLOAD_BYTES: usize = 1_024;
/// JSON allows no leading zeros in numbers, so that numbers of a fixed width are texts.
const DIGITS: usize = 16;
const SEQUENCE: &str = r#"{"sequence":""#;
const SENT: &str = r#"","sent_micros":""#;
const PADDING: &str = r#"","padding":""#;
const END: &str = r#""}"#;
const SEQUENCE_AT: usize = SEQUENCE.len();
const SENT_AT: usize = SEQUENCE_AT + DIGITS + SENT.len();
const FILLING: &[u8] = &[b'.'; PAYLOAD_BYTES - SENT_AT - DIGITS - PADDING.len() - END.len()];

/// The mark of one event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    /// Its number in its round, from 0.
    pub(super) sequence: u64,
    /// When it was published, by the clock of the bench's process; told in microseconds.
    pub(super) sent: Duration,
}

impl Stamp {
    /// Writes a payload of [`PAYLOAD_BYTES`] with this stamp.
    pub(super) fn write(self, into: &mut Vec<u8>) {
        let Self { sequence, sent } = self;
        let head = format!(
            "{SEQUENCE}{sequence:0DIGITS$}{SENT}{:0DIGITS$}{PADDING}",
            sent.as_micros()
        );
        into.extend_from_slice(head.as_bytes());
        into.extend_from_slice(FILLING);
        into.extend_from_slice(END.as_bytes());
    }

    /// Reads the stamp of a payload. `None` where it is not one of ours, byte for byte in its length.
    pub(super) fn read(payload: &[u8]) -> Option<Self> {
        if payload.len() != PAYLOAD_BYTES {
            return None;
        }
        let number = |at: usize| -> Option<u64> {
            let digits = payload.get(at..at + DIGITS)?;
            std::str::from_utf8(digits).ok()?.parse().ok()
        };
        Some(Self {
            sequence: number(SEQUENCE_AT)?,
            sent: Duration::from_micros(number(SENT_AT)?),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_is_json_of_its_fixed_size_and_gives_its_stamp_back() {
        let stamp = Stamp {
            sequence: 123_456,
            sent: Duration::from_micros(7_000_001),
        };
        let mut payload = Vec::new();
        stamp.write(&mut payload);
        assert_eq!(payload.len(), PAYLOAD_BYTES);
        let read: serde_json::Value = serde_json::from_slice(&payload).unwrap();
        assert_eq!(read["sequence"], "0000000000123456");
        assert_eq!(Stamp::read(&payload), Some(stamp));
    }

    #[test]
    fn a_payload_that_was_cut_or_changed_is_not_taken_for_one_of_ours() {
        let mut payload = Vec::new();
        let stamp = Stamp {
            sequence: 1,
            sent: Duration::ZERO,
        };
        stamp.write(&mut payload);
        assert_eq!(Stamp::read(&payload[..PAYLOAD_BYTES - 1]), None);
        payload[SEQUENCE_AT] = b'x';
        assert_eq!(Stamp::read(&payload), None);
        assert_eq!(Stamp::read(b""), None);
    }
}
