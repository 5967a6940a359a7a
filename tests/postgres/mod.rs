//! Running on PostgreSQL as docs/postgres.md describes it: rights, TLS, PgBouncer, what is monitored, the compose files.

mod compose;
mod pooler;
mod rights;
mod tls;

use postrider::domain::database::DatabaseAddress;
use serde_json::json;

use crate::support::app::{Builder, TestApp, pipeline};
use crate::support::receiver::{Behaviour, Receiver};

/// A service on this database, with one receiver.
async fn serve(url: &str) -> (TestApp, Receiver) {
    let receiver = Receiver::start(Behaviour::ok()).await;
    let address = DatabaseAddress::parse(url).expect("an address");
    let app = Builder::new().settings(move |settings| settings.database = address).start().await;
    app.apply(pipeline(&[("one", &receiver.url("/hook"), json!({}))])).await;
    (app, receiver)
}
