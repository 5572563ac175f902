//! Pages of lists: how many items, and an opaque cursor that stays good while new items arrive, over restarts and on every
//! node.
//!
//! A cursor is the key of the last item shown and a tag over it, the list and for whom it is. It opens nothing that its
//! bearer may not see: every list is filtered by that in any case. The tag lets nobody make or alter one, so that a cursor
//! of another list, or of another tenant's, is told as the mistake that it is.

use crate::problem::Problem;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::StatusCode;
use std::fmt::Display;
use stentor_store::authenticator::Authenticator;

/// What the key that cursors are made with is derived for.
pub(crate) const PURPOSE: &str = "cursors of lists";

const KEY_BYTES: usize = 8;

/// How many items a contract shows on a page.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PageItems {
    /// Where nobody says how many.
    pub(crate) by_default: u32,
    /// At most.
    pub(crate) max: u32,
}

impl PageItems {
    /// The number that the query asks for in `limit`.
    pub(crate) fn read(self, limit: Option<&str>) -> Result<u32, Problem> {
        let asked = match limit {
            None => Some(self.by_default),
            Some(text) => text.parse().ok(),
        };
        asked
            .filter(|asked| (1..=self.max).contains(asked))
            .ok_or_else(|| Problem::invalid().with_error("limit", format!("must be 1 to {}", self.max)))
    }
}

/// The cursors of one list, as it is for somebody.
#[derive(Debug)]
pub(crate) struct Cursors<'a> {
    authenticator: &'a Authenticator,
    /// What stands behind the key in what a tag is over.
    scope: String,
}

impl<'a> Cursors<'a> {
    /// `list` names the list among those of all contracts; `whom` says whose things are in it.
    pub(crate) fn new(authenticator: &'a Authenticator, list: &'static str, whom: impl Display) -> Self {
        Self {
            authenticator,
            scope: format!("{list} of {whom}"),
        }
    }

    /// The cursor of the page that begins after the item with this key.
    pub(crate) fn after(&self, key: i64) -> String {
        let tag = self.authenticator.tag(&self.tagged(key));
        URL_SAFE_NO_PAD.encode([&key.to_be_bytes()[..], &tag].concat())
    }

    /// The key that a page begins after.
    pub(crate) fn read(&self, cursor: &str) -> Result<i64, Problem> {
        let own = || {
            let bytes = URL_SAFE_NO_PAD.decode(cursor).ok()?;
            let (key, tag) = bytes.split_at_checked(KEY_BYTES)?;
            let key = i64::from_be_bytes(key.try_into().ok()?);
            self.authenticator.knows(&self.tagged(key), tag).then_some(key)
        };
        own().ok_or_else(|| {
            let detail =
                "The cursor is not one that this server gave for this list. Begin anew without a cursor.";
            Problem::new(StatusCode::BAD_REQUEST, "bad_cursor", detail)
        })
    }

    fn tagged(&self, key: i64) -> Vec<u8> {
        [&key.to_be_bytes()[..], self.scope.as_bytes()].concat()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_out_of_bounds_or_that_is_no_number_is_told_the_bounds() {
        let items = PageItems {
            by_default: 20,
            max: 100,
        };
        for wrong in ["0", "101", "-1", "x", "", "1.5", "99999999999"] {
            let refused = items.read(Some(wrong)).unwrap_err();
            assert_eq!(refused.errors()[0].message, "must be 1 to 100", "{wrong}");
        }
        assert_eq!(items.read(None).unwrap(), 20);
        for limit in [1, 100] {
            assert_eq!(items.read(Some(&limit.to_string())).unwrap(), limit);
        }
    }
}
