//! A COMMIT whose answer is lost has happened or not: the writer finds out before anybody gets an answer.

use serde_json::json;

use crate::support::node::Cluster;
use crate::support::postgres::{self, Database};
use crate::support::postgres_proxy::{Cut, PostgresProxy};
use crate::support::receiver::{Behaviour, Receiver};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_whose_answer_is_lost_is_found_out_for_events_and_for_attempts() {
    let database = Database::migrated().await;
    let proxy = PostgresProxy::to(postgres::port()).await;
    let receiver = Receiver::start(Behaviour::ok()).await;
    let mut cluster = Cluster::new();
    cluster.start(&proxy.url(&database.url()), 1).await;
    cluster.apply(&[("one", &receiver.url("/recorded"), json!({}))]).await;
    let node = &cluster.nodes[0];
    let mut sent = 0;
    for cut in [Cut::Answer, Cut::Request] {
        // Its body is in the values of the transaction that accepts it.
        let id = format!("accepted-{cut:?}");
        proxy.cut_next(id.as_str(), cut);
        node.accept(&id).await;
        sent += 1;
        proxy.until_cut(sent).await;
        node.accept(&id).await;
        receiver.wait_for(sent).await;
        cluster.until_settled().await;
    }
    for cut in [Cut::Answer, Cut::Request] {
        // The URL is in the values of the transaction that records its attempt.
        proxy.cut_next("/recorded", cut);
        node.accept(&format!("recorded-{cut:?}")).await;
        sent += 1;
        proxy.until_cut(sent).await;
        cluster.until_settled().await;
    }
    let ledger = cluster.until_settled().await;
    assert_eq!((ledger.accepted, ledger.delivered, ledger.events_duplicate), (4, 4, 2));
    assert_eq!(receiver.requests().len(), 4, "none was repeated");
    let attempts = "SELECT count(*) || ' ' || count(DISTINCT delivery_id) FROM postrider.attempts";
    assert_eq!(database.text(attempts).await.as_deref(), Some("4 4"));
}
