//! Deliveries end to end on PostgreSQL.

use http::StatusCode;
use postrider::domain::database::DatabaseAddress;
use serde_json::json;

use crate::support::app::{Builder, pipeline};
use crate::support::postgres::Database;
use crate::support::receiver::{Behaviour, Receiver};

#[tokio::test]
async fn events_are_delivered_once_from_a_postgresql_database() {
    let database = Database::new().await;
    let receiver = Receiver::start(Behaviour::ok()).await;
    let url = database.url();
    let builder = Builder::new().settings(move |settings| {
        settings.database = DatabaseAddress::Server(url.into());
    });
    let app = builder.start().await;
    app.apply(pipeline(&[("one", &receiver.url("/hook"), json!({}))])).await;
    for number in 0..5 {
        let event = json!({"event": "Bought", "userId": "u1", "messageId": format!("m{number}")});
        assert_eq!(app.send("/v1/track", &event).await, StatusCode::OK);
        assert_eq!(app.send("/v1/track", &event).await, StatusCode::OK, "a duplicate");
    }
    app.until_settled(5).await;
    assert_eq!(receiver.requests().len(), 5);
}
