//! Pages of lists: newest first, with an opaque cursor that stays good while new items arrive.

use crate::problem::Problem;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use stentor_domain::limits::{PAGE_ITEMS, PAGE_ITEMS_MAX};
use stentor_engine::Page;
use utoipa::{IntoParams, ToSchema};

const KEY_BYTES: usize = 8;
const CHECK_BYTES: usize = 4;

/// The query of every list.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct PageQuery {
    /// How many items, 1 to 250.
    // Read as text, so that what is no number is told the rule, too.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 250, default = 50)]
    pub(crate) limit: Option<String>,
    /// Where the page begins: `next_cursor` of the page before.
    pub(crate) cursor: Option<String>,
}

impl PageQuery {
    /// The limit, and the key that the page begins after.
    pub(crate) fn read(&self) -> Result<(u32, Option<i64>), Problem> {
        let limit = match self.limit.as_deref() {
            None => Some(PAGE_ITEMS),
            Some(text) => text.parse().ok(),
        };
        let Some(limit) = limit.filter(|limit| (1..=PAGE_ITEMS_MAX).contains(limit)) else {
            return Err(Problem::invalid().with_error("limit", format!("must be 1 to {PAGE_ITEMS_MAX}")));
        };
        Ok((limit, self.cursor.as_deref().map(decode).transpose()?))
    }
}

/// A page as v1 shows it.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PageOut<T> {
    /// The items, newest first.
    data: Vec<T>,
    /// The `cursor` of the next page; null on the last one.
    #[schema(required)]
    next_cursor: Option<String>,
}

impl<T> PageOut<T> {
    /// Shows a page, each item by `show`.
    pub(crate) fn of<S>(page: Page<S>, show: impl FnMut(S) -> T) -> Self {
        Self {
            next_cursor: page.next.map(encode),
            data: page.items.into_iter().map(show).collect(),
        }
    }
}

/// The cursor that begins after the item with this key.
pub(crate) fn encode(key: i64) -> String {
    URL_SAFE_NO_PAD.encode([&key.to_be_bytes()[..], &check(key)].concat())
}

fn decode(cursor: &str) -> Result<i64, Problem> {
    let bad = || {
        Problem::new(
            StatusCode::BAD_REQUEST,
            "bad_cursor",
            "The cursor is not one that this server gave.",
        )
    };
    let bytes = URL_SAFE_NO_PAD.decode(cursor).map_err(|_| bad())?;
    let (key, checked) = bytes.split_at_checked(KEY_BYTES).ok_or_else(bad)?;
    let key = i64::from_be_bytes(key.try_into().map_err(|_| bad())?);
    if checked == check(key) {
        Ok(key)
    } else {
        Err(bad())
    }
}

/// Tells an altered cursor from one of ours. It protects nobody's data: every list is filtered by what its caller may
/// see.
fn check(key: i64) -> [u8; CHECK_BYTES] {
    let mut check = [0; CHECK_BYTES];
    let digest = Sha256::new()
        .chain_update(b"cursor")
        .chain_update(key.to_be_bytes())
        .finalize();
    check.iter_mut().zip(digest).for_each(|(to, from)| *to = from);
    check
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_survives_and_an_altered_one_does_not() {
        let cursor = encode(1 << 60);
        assert_eq!(decode(&cursor).unwrap(), 1 << 60);
        for bad in [
            "",
            "x",
            &cursor[1..],
            &format!("{cursor}A"),
            &cursor.replacen('E', "F", 1),
            "ünicode",
        ] {
            assert_eq!(decode(bad).unwrap_err().status().as_u16(), 400, "{bad}");
        }
    }

    #[test]
    fn a_limit_out_of_bounds_or_that_is_no_number_is_told_the_bounds() {
        for wrong in ["0", "251", "-1", "x", "", "1.5", "99999999999"] {
            let query = PageQuery {
                limit: Some(wrong.into()),
                cursor: None,
            };
            let refused = query.read().unwrap_err();
            assert_eq!(refused.errors()[0].message, "must be 1 to 250", "{wrong}");
        }
        assert_eq!(PageQuery::default().read().unwrap(), (50, None));
    }
}
