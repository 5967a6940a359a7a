//! A page of a list: keyset pagination, newest first.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::domain::clock::Timestamp;
use crate::domain::id::{Noun, PublicId};
use crate::store::Listed;

/// A page of a list, newest first.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Page<T> {
    /// What is on it.
    pub items: Vec<T>,
    /// What to give as `before` for the next one; none on the last.
    pub next: Option<String>,
    /// Until when this page looked back, where that was as far as one look goes and there is more: it
    /// may then hold fewer items than asked for, or none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub looked_to: Option<String>,
}

impl<T> Page<T> {
    /// A whole list.
    pub(super) fn whole(items: Vec<T>) -> Self {
        Self { items, next: None, looked_to: None }
    }

    /// The first `limit` of what was listed, and where the next page begins.
    pub(super) fn of<R>(
        listed: Listed<R>,
        limit: u32,
        noun: Noun,
        at: impl Fn(&R) -> (i64, Timestamp),
        view: impl Fn(&R) -> T,
    ) -> Self {
        let Listed { mut rows, looked_to } = listed;
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let id = |(key, at): (i64, Timestamp)| PublicId::new(noun, at, key).to_string();
        if rows.len() > limit {
            rows.truncate(limit);
            let next = rows.last().map(|last| id(at(last)));
            return Self { items: rows.iter().map(view).collect(), next, looked_to: None };
        }
        Self {
            items: rows.iter().map(view).collect(),
            next: looked_to.map(id),
            looked_to: looked_to.map(|(_, at)| at.to_iso()),
        }
    }

    /// The first `limit` of `rows`, which are one more where there is a next page; their cursor is a
    /// number.
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
