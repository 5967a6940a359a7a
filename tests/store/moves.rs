//! A move knows every table and column of both schemas.

use std::sync::Arc;

use postrider::domain::clock::ManualClock;
use postrider::domain::database::DatabaseAddress;
use postrider::store::Engine as _;
use postrider::store::sqlite::{OpenOptions, SqliteStore};
use postrider::store::transfer::knows_column;
use postrider::telemetry::metrics::Metrics;
use sqlx::{Connection as _, PgConnection, SqliteConnection};
use tempfile::TempDir;

use crate::support::postgres::Database;

fn assert_known(database: &DatabaseAddress, mut columns: Vec<(String, String)>) {
    assert!(columns.len() > 200, "the schema was read");
    columns.retain(|(table, column)| !knows_column(database, table, column));
    assert!(columns.is_empty(), "src/store/transfer does not know {columns:?}");
}

#[tokio::test]
async fn every_table_and_column_of_both_schemas_is_known_to_a_move() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("postrider.db");
    let clock = Arc::new(ManualClock::new(super::START));
    let options = OpenOptions::new(&path, Arc::new(Metrics::new()), clock);
    SqliteStore::open(options).await.unwrap().close().await;
    let mut sqlite =
        SqliteConnection::connect(&format!("sqlite://{}", path.display())).await.unwrap();
    let columns: Vec<(String, String)> = sqlx::query_as(
        "SELECT t.name, c.name FROM sqlite_schema AS t JOIN pragma_table_info(t.name) AS c
         WHERE t.type = 'table' ORDER BY 1, 2",
    )
    .fetch_all(&mut sqlite)
    .await
    .unwrap();
    assert_known(&DatabaseAddress::File(path), columns);

    let database = Database::migrated().await;
    let mut postgres = PgConnection::connect(&database.url()).await.unwrap();
    // Partitions have the columns of their tables.
    let columns: Vec<(String, String)> = sqlx::query_as(
        "SELECT c.relname::text, a.attname::text FROM pg_class AS c JOIN pg_attribute AS a
            ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
         WHERE c.relnamespace = 'postrider'::regnamespace AND c.relkind IN ('r', 'p')
            AND NOT c.relispartition ORDER BY 1, 2",
    )
    .fetch_all(&mut postgres)
    .await
    .unwrap();
    postgres.close().await.unwrap();
    assert_known(&DatabaseAddress::Server(database.url().into()), columns);
}
