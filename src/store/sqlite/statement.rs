//! Statements that are put together, as SQLite binds their values.

use sqlx::{QueryBuilder, Sqlite};

use crate::store::statement::Statement;

impl Statement for QueryBuilder<Sqlite> {
    /// A cross join keeps to this order: each row finds the other by its key.
    const JOIN_BY_KEY: &'static str = "CROSS JOIN";

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
        self.push_bind(value.to_owned())
    }

    /// As JSON: a statement takes 32,766 parameters.
    fn among(&mut self, column: &str, ids: Vec<i64>) -> &mut Self {
        let ids = serde_json::Value::from(ids).to_string();
        self.push(format!(" AND {column} IN (SELECT value FROM json_each(")).push_bind(ids);
        self.push("))")
    }
}
