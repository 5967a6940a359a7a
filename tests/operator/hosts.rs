//! The `Host` of operators' requests: DNS rebinding is refused, tracking calls come under any name.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::support::app::{Builder, TestApp};

/// The status of a request with this host.
async fn status(app: &TestApp, path: &str, host: &str) -> u16 {
    let text = format!("GET {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
    let mut stream = TcpStream::connect(app.app.address).await.unwrap();
    stream.write_all(text.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer.split(' ').nth(1).unwrap().parse().unwrap()
}

#[tokio::test]
async fn a_host_that_is_not_ours_reads_nothing() {
    let app = Builder::new()
        .settings(|it| {
            it.public_url = Some("https://hooks.example.com".to_owned());
            it.trusted_hosts = vec!["postrider.default.svc".to_owned()];
            it.inspector = true;
        })
        .start()
        .await;
    let paths = ["/metrics", "/openapi.json", "/docs", "/sign-in", "/api/v1/status", "/", "/none"];
    for path in paths {
        for host in
            ["rebind.attacker.test", "rebind.attacker.test:8080", "hooks.example.com.evil.test"]
        {
            assert_eq!(status(&app, path, host).await, 421, "{path} {host}");
        }
        for host in
            ["127.0.0.1:8080", "localhost", "[::1]:1", "hooks.example.com", "postrider.default.svc"]
        {
            assert_ne!(status(&app, path, host).await, 421, "{path} {host}");
        }
    }
    assert_eq!(status(&app, "http://rebind.attacker.test/metrics", "localhost").await, 421);
    for path in ["/healthz", "/readyz", "/v1/track", "/inspect/any"] {
        assert_ne!(status(&app, path, "any.name.test").await, 421, "{path}");
    }
    app.stop().await;
}
