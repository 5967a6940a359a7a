//! Orders in PostgreSQL with sqlx: an order and the event about it are one transaction.
//!
//! ```sh
//! cargo run --example orders_postgres postgres://shop:secret@localhost/shop
//! ```

use serde_json::json;
use sqlx::{Connection as _, PgConnection};

/// Why an order was not placed.
#[derive(Debug, thiserror::Error)]
enum NotPlaced {
    #[error("the customer's bank declined the payment")]
    Declined,
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

async fn place_order(db: &mut PgConnection, number: i64) -> Result<(), NotPlaced> {
    let event = json!({
        "type": "track",
        "event": "Order placed",
        "userId": format!("customer-{}", number % 7),
        "properties": {"number": number},
    });
    // Dropped before its commit, a transaction is rolled back: both rows, or none.
    let mut transaction = db.begin().await?;
    sqlx::query("INSERT INTO orders (number) VALUES ($1)")
        .bind(number)
        .execute(&mut *transaction)
        .await?;
    sqlx::query("SELECT postrider.enqueue($1, $2::text::json, $3)")
        .bind("shop")
        .bind(event.to_string())
        .bind(format!("order-{number}"))
        .execute(&mut *transaction)
        .await?;
    charge(number)?;
    transaction.commit().await?;
    Ok(())
}

const fn charge(number: i64) -> Result<(), NotPlaced> {
    if number % 5 == 0 { Err(NotPlaced::Declined) } else { Ok(()) }
}

#[tokio::main]
#[expect(clippy::print_stdout, reason = "an example tells what it does")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let url = std::env::args().nth(1).ok_or("the address of a database is missing")?;
    let mut db = PgConnection::connect(&url).await?;
    let last = sqlx::query_scalar("SELECT coalesce(max(number), 0) FROM orders");
    let last: i64 = last.fetch_one(&mut db).await?;
    for number in last + 1.. {
        match place_order(&mut db, number).await {
            Ok(()) => println!("placed {number}"),
            Err(NotPlaced::Declined) => println!("declined {number}"),
            Err(NotPlaced::Database(error)) => return Err(error.into()),
        }
    }
    Ok(())
}
