//! The pages of v1's lists: newest first, `limit` and `cursor` in the query, `next_cursor` in the answer.

use crate::input;
use crate::paging::{Cursors, PageItems};
use crate::problem::Problem;
use serde::{Deserialize, Serialize};
use stentor_domain::limits::{PAGE_ITEMS, PAGE_ITEMS_MAX};
use stentor_engine::Page;
use utoipa::{IntoParams, ToSchema};

const ITEMS: PageItems = PageItems {
    by_default: PAGE_ITEMS,
    max: PAGE_ITEMS_MAX,
};

/// The query of every list.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct PageQuery {
    /// How many items, 1 to 250.
    // Read as text, so that what is no number is told the rule, too.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 250, default = 50)]
    limit: Option<String>,
    /// Where the page begins: `next_cursor` of the page before.
    cursor: Option<String>,
}

impl PageQuery {
    /// The limit, and the key that the page begins after, in the query of a list with these cursors.
    pub(super) fn read(query: Option<&str>, cursors: &Cursors<'_>) -> Result<(u32, Option<i64>), Problem> {
        let Self { limit, cursor } = input::query(query)?;
        let limit = ITEMS.read(limit.as_deref())?;
        let before = cursor.map(|cursor| cursors.read(&cursor)).transpose()?;
        Ok((limit, before))
    }
}

/// A page as v1 shows it.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct PageOut<T> {
    /// The items, newest first.
    data: Vec<T>,
    /// The `cursor` of the next page; null on the last one.
    #[schema(required)]
    next_cursor: Option<String>,
}

impl<T> PageOut<T> {
    /// Shows a page of the list with these cursors, each item by `show`.
    pub(super) fn of<S>(page: Page<S>, cursors: &Cursors<'_>, show: impl FnMut(S) -> T) -> Self {
        Self {
            next_cursor: page.next.map(|last| cursors.after(last)),
            data: page.items.into_iter().map(show).collect(),
        }
    }
}
