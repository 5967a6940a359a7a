//! Statements that are put together, as PostgreSQL binds their values.

use sqlx::{Postgres, QueryBuilder};

use super::rows::text;
use crate::store::statement::Statement;

impl Statement for QueryBuilder<Postgres> {
    const JOIN_BY_KEY: &'static str = "JOIN";

    fn begin(text: String) -> Self {
        Self::new(text)
    }

    fn add(&mut self, text: &str) -> &mut Self {
        self.push(text)
    }

    fn int(&mut self, value: i64) -> &mut Self {
        self.push_bind(value)
    }

    fn value(&mut self, value: &str) -> &mut Self {
        self.push_bind(text(value).into_owned())
    }

    fn among(&mut self, column: &str, ids: Vec<i64>) -> &mut Self {
        self.push(format!(" AND {column} = ANY (")).push_bind(ids).push(")")
    }
}
