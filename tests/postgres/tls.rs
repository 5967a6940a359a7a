//! TLS to the database.

use std::sync::Arc;

use postrider::domain::clock::ManualClock;
use postrider::store::postgres::{OpenError, OpenOptions, PostgresStore};
use postrider::telemetry::metrics::Metrics;
use tempfile::TempDir;

use super::serve;
use crate::store::START;
use crate::support::certificates::Authority;
use crate::support::postgres::text;
use crate::support::postgres_server::Server;

#[tokio::test]
async fn a_server_is_verified_by_its_authority_and_its_host() {
    let (authority, other) = (Authority::new(), Authority::new());
    let (certificate, key) = authority.certificate("localhost");
    let server = Server::new();
    server.speak_tls(&certificate, &key).await;
    let folder = TempDir::new().unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let (right, wrong) = (file("ca.pem", &authority.pem()), file("other.pem", &other.pem()));
    let url = |host: &str, mode: &str, root: &str| {
        let port = server.port();
        format!(
            "postgres://postrider:secret@{host}:{port}/postgres?sslmode={mode}&sslrootcert={root}"
        )
    };
    for (url, why) in [
        (url("localhost", "verify-full", &wrong), "another authority"),
        (url("127.0.0.1", "verify-full", &right), "another host"),
    ] {
        let clock = Arc::new(ManualClock::new(START));
        let opened =
            PostgresStore::open(OpenOptions::new(url, Arc::new(Metrics::new()), clock)).await;
        let error = opened.err().unwrap_or_else(|| panic!("{why} was accepted"));
        assert!(matches!(error, OpenError::Unreachable { .. }), "{why}: {error:?}");
    }
    let (app, _receiver) = serve(&url("localhost", "verify-full", &right)).await;
    app.track("m-1").await;
    app.until_settled(1).await;
    let clear = "SELECT count(*)::text FROM pg_stat_activity JOIN pg_stat_ssl USING (pid)
        WHERE application_name LIKE 'postrider%' AND NOT ssl";
    assert_eq!(text(&server.url("postgres"), clear).await.unwrap(), "0", "a connection in clear");
    app.app.stop().await;
}
