//! A page of a list: keyset pagination, newest first.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::domain::id::{Noun, PublicId};
use crate::store::{Cursor, Listed};

/// A page of a list, newest first.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Page<T> {
    /// The items.
    pub items: Vec<T>,
    /// The cursor: `before` of the next page; none on the last page.
    pub next: Option<String>,
    /// How far back the query scanned, where it reached its row limit and there is more: the page
    /// may hold fewer items than its limit, or none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub looked_to: Option<String>,
}

impl<T> Page<T> {
    /// An unpaginated list.
    pub(super) fn whole(items: Vec<T>) -> Self {
        Self { items, next: None, looked_to: None }
    }

    /// The first `limit` rows, and the cursor of the next page.
    pub(super) fn of<R>(
        listed: Listed<R>,
        limit: u32,
        noun: Noun,
        at: impl Fn(&R) -> Cursor,
        view: impl Fn(&R) -> T,
    ) -> Self {
        let Listed { mut rows, looked_to } = listed;
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let id = |cursor: Cursor| PublicId::new(noun, cursor.at, cursor.key).to_string();
        if rows.len() > limit {
            rows.truncate(limit);
            let next = rows.last().map(|last| id(at(last)));
            return Self { items: rows.iter().map(view).collect(), next, looked_to: None };
        }
        Self {
            items: rows.iter().map(view).collect(),
            next: looked_to.map(id),
            looked_to: looked_to.map(|cursor| cursor.at.to_iso()),
        }
    }

    /// The same where the cursor is a number.
    pub(super) fn numbered<R>(
        mut rows: Vec<R>,
        limit: u32,
        number: impl Fn(&R) -> i64,
        view: impl Fn(&R) -> T,
    ) -> Self {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let has_next = rows.len() > limit;
        rows.truncate(limit);
        let next = rows.last().filter(|_| has_next).map(|last| number(last).to_string());
        Self { items: rows.iter().map(view).collect(), next, looked_to: None }
    }
}
