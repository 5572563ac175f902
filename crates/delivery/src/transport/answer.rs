//! What is seen of an answer while it arrives, cut to the limits.

use crate::connect::Stage;
use crate::failure::Failure;
use crate::pool::connection::Lease;
use crate::transport::Sent;
use bytes::Bytes;
use http::header::RETRY_AFTER;
use http::response::Parts;
use http::{HeaderMap, HeaderValue};
use hyper::body::Incoming;
use stentor_domain::attempt::{Answer, ErrorClass, Exchange, Outcome};
use stentor_domain::limits::{ANSWER_BYTES_FAILED_MAX, ANSWER_HEADER_BYTES_MAX};

/// Read of a body, kept or not, so that its connection can be kept; a longer one closes it.
const READ_BYTES_MAX: usize = 64 * 1024;
/// Kept of a `Retry-After`; a date has 29 characters.
const RETRY_AFTER_CHARACTERS_MAX: usize = 64;

/// Everything known of an exchange so far. It outlives the exchange, so that a deadline takes nothing away.
#[derive(Default)]
pub(super) struct Seen {
    pub(super) exchange: Exchange,
    /// How far a new connection has come, if one is needed.
    pub(super) stage: Stage,
    head: Option<Head>,
    body: Vec<u8>,
    /// Was the body read to its end and kept whole?
    whole: bool,
}

struct Head {
    status: u16,
    lines: String,
    lines_cut: bool,
    retry_after: Option<String>,
    keep: usize,
}

impl Seen {
    /// Notes the complete head of an answer; `keep` are the bytes of the body to keep if it is a success.
    pub(super) fn head(&mut self, parts: &Parts, keep: usize) {
        let status = parts.status.as_u16();
        let (lines, lines_cut) = header_lines(&parts.headers);
        self.head = Some(Head {
            status,
            lines,
            lines_cut,
            retry_after: parts.headers.get(RETRY_AFTER).and_then(retry_after),
            keep: match Outcome::Answered(status).succeeded() {
                true => keep,
                false => ANSWER_BYTES_FAILED_MAX,
            },
        });
    }

    /// Reads the body from its connection to its end, or to the limit. `false` where the connection cannot be used again.
    pub(super) async fn read(&mut self, mut body: Incoming, lease: &mut Lease) -> bool {
        let keep = self.head.as_ref().map_or(0, |head| head.keep);
        let mut read = 0;
        let mut cut = false;
        while read <= READ_BYTES_MAX {
            let bytes = match lease.frame(&mut body).await {
                None => {
                    self.whole = !cut;
                    return true;
                }
                Some(Err(_)) => return false,
                Some(Ok(frame)) => frame.into_data().unwrap_or_default(),
            };
            // An empty frame counts too: a flood of them must end.
            read += bytes.len().max(1);
            let room = keep.saturating_sub(self.body.len()).min(bytes.len());
            cut |= room < bytes.len();
            self.body.extend_from_slice(bytes.get(..room).unwrap_or_default());
        }
        false
    }

    /// The result, with the failure that ended the exchange. A complete head is an answer whatever came after it.
    pub(super) fn into_sent(self, failure: Option<Failure>) -> Sent {
        let mut exchange = self.exchange;
        let Some(head) = self.head else {
            let failure = failure.unwrap_or(Failure::plain(ErrorClass::Protocol));
            exchange.detail = failure.detail;
            return Sent {
                outcome: Outcome::Failed(failure.class),
                exchange,
                retry_after: None,
            };
        };
        exchange.answer = Some(Answer {
            headers: head.lines,
            body: Bytes::from(self.body),
            truncated: !self.whole || head.lines_cut,
        });
        Sent {
            outcome: Outcome::Answered(head.status),
            exchange,
            retry_after: head.retry_after,
        }
    }
}

/// The header lines, `name: value` with a line feed after each, and whether they had to be cut.
fn header_lines(headers: &HeaderMap) -> (String, bool) {
    let long = headers
        .iter()
        .map(|(name, value)| name.as_str().len() + value.len() + 3);
    let mut lines = String::with_capacity(long.sum::<usize>().min(ANSWER_HEADER_BYTES_MAX));
    for (name, value) in headers {
        lines.push_str(name.as_str());
        lines.push_str(": ");
        lines.push_str(&String::from_utf8_lossy(value.as_bytes()));
        lines.push('\n');
        if lines.len() > ANSWER_HEADER_BYTES_MAX {
            // Room for the line feed that ends the last line.
            lines.truncate(lines.floor_char_boundary(ANSWER_HEADER_BYTES_MAX - 1));
            lines.push('\n');
            return (lines, true);
        }
    }
    (lines, false)
}

/// The value as text; of more digits than any wait needs the first say enough.
fn retry_after(value: &HeaderValue) -> Option<String> {
    let mut text = value.to_str().ok()?.to_owned();
    text.truncate(RETRY_AFTER_CHARACTERS_MAX);
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn header_lines_are_lossy_text_within_the_limit() {
        let mut headers = HeaderMap::new();
        headers.insert("x-latin", HeaderValue::from_bytes(b"gr\xfcn").unwrap());
        assert_eq!(
            header_lines(&headers),
            ("x-latin: gr\u{fffd}n\n".to_owned(), false)
        );

        let long = vec![b'\xe4'; ANSWER_HEADER_BYTES_MAX];
        headers.insert("x-long", HeaderValue::from_bytes(&long).unwrap());
        let (lines, cut) = header_lines(&headers);
        assert!(cut && lines.len() <= ANSWER_HEADER_BYTES_MAX && lines.ends_with('\n'));
    }

    #[test]
    fn an_overlong_retry_after_still_asks_for_a_long_wait() {
        assert_eq!(
            retry_after(&HeaderValue::from_static("120")).as_deref(),
            Some("120")
        );
        let long = HeaderValue::from_str(&"9".repeat(10_000)).unwrap();
        assert_eq!(retry_after(&long), Some("9".repeat(RETRY_AFTER_CHARACTERS_MAX)));
    }
}
