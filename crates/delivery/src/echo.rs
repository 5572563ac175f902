//! Receivers that repeat in their answers what they were sent. The values of custom headers that nobody is shown are sealed
//! where they are kept, and an answer that is kept in clear must not undo that.

use bytes::Bytes;
use stentor_domain::attempt::Answer;
use stentor_domain::custom_headers::{CustomHeaders, MASK};

/// The secrets of an endpoint's custom headers, the longest first.
pub(crate) struct Secrets(Vec<String>);

impl Secrets {
    pub(crate) fn of(headers: &CustomHeaders) -> Self {
        Self(headers.secrets().into_iter().map(str::to_owned).collect())
    }

    /// Puts a mask in the place of every secret in an answer, and of the begun one that it was cut within.
    pub(crate) fn hide(&self, answer: &mut Answer) {
        for secret in &self.0 {
            if answer.headers.contains(secret.as_str()) {
                answer.headers = answer.headers.replace(secret.as_str(), MASK);
            }
            if let Some(body) = masked(&answer.body, secret.as_bytes(), answer.truncated) {
                answer.body = body;
            }
        }
    }
}

/// The body without the secret; `None` where it is not in there.
fn masked(body: &[u8], secret: &[u8], truncated: bool) -> Option<Bytes> {
    let mut kept = Vec::new();
    let mut rest = body;
    while let Some(at) = rest.windows(secret.len()).position(|window| window == secret) {
        let (before, found) = rest.split_at(at);
        kept.extend_from_slice(before);
        kept.extend_from_slice(MASK.as_bytes());
        rest = found.get(secret.len()..).unwrap_or_default();
    }
    let begun = if truncated { begun(rest, secret) } else { 0 };
    if rest.len() == body.len() && begun == 0 {
        return None;
    }
    kept.extend_from_slice(rest.get(..rest.len() - begun).unwrap_or_default());
    if begun > 0 {
        kept.extend_from_slice(MASK.as_bytes());
    }
    Some(kept.into())
}

/// Of how many bytes at the end of `text` the secret's beginning is; half of it is none to be afraid of.
fn begun(text: &[u8], secret: &[u8]) -> usize {
    (secret.len() / 2..secret.len())
        .rev()
        .find(|length| secret.get(..*length).is_some_and(|start| text.ends_with(start)))
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(body: &str, truncated: bool) -> (String, String) {
        let headers = [
            ("Authorization", "Bearer abcdefgh12345678"),
            ("X-Api-Key", "short"),
            ("X-Shop", "northern shop"),
        ];
        let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let mut answer = Answer {
            headers: format!("x-echo: {body}\n"),
            body: Bytes::copy_from_slice(body.as_bytes()),
            truncated,
        };
        Secrets::of(&CustomHeaders::new(headers.to_vec()).unwrap()).hide(&mut answer);
        (String::from_utf8(answer.body.to_vec()).unwrap(), answer.headers)
    }

    #[test]
    fn what_nobody_is_shown_is_masked_wherever_it_stands() {
        for (body, expected) in [
            ("nothing", "nothing"),
            ("", ""),
            ("Bearer abcdefgh12345678", "***"),
            ("<abcdefgh12345678abcdefgh12345678>", "<******>"),
            ("a northern shop is short", "a northern shop is short"),
            ("abcdefgh1234567", "abcdefgh1234567"),
        ] {
            let headers = format!("x-echo: {expected}\n");
            assert_eq!(shown(body, false), (expected.to_owned(), headers));
        }
    }

    #[test]
    fn a_secret_that_the_end_of_the_body_cuts_is_masked_too() {
        assert_eq!(shown("{abcdefgh1234", true).0, "{***");
        assert_eq!(shown("{abc", true).0, "{abc");
        assert_eq!(
            shown("Bearer abcdefgh12345678, abcdefgh1234567", true).0,
            "***, ***"
        );
    }
}
