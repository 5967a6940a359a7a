//! No credential and no token appears in plain text anywhere, with the real program at log level trace.

use http::StatusCode;
use serde_json::json;
use tempfile::TempDir;

use super::begin_in;
use crate::process::service::Service;
use crate::support::app::pipeline;
use crate::support::oauth::{CLIENT_SECRET, OauthServer};
use crate::web::visitor::Visitor;

/// A browser that is signed in to a service in a process of its own.
async fn browser_of(service: &Service) -> Visitor {
    let mut browser = Visitor::at(service.base());
    browser.sign_in(&service.token()).await;
    browser
}

#[tokio::test]
async fn no_token_and_no_credential_appears_in_plain_text() {
    let dir = TempDir::new().unwrap();
    let mut service = Service::in_dir(dir.path(), "min_free_disk_mib = 0\nlog = \"trace\"");
    service.start().await;
    let server = OauthServer::start(None).await;
    server.register(format!("{}/oauth/callback", service.base()));
    let url = server.receiver.url("/hook");
    let header = json!({"X-Api-Key": {"value": "k3y-of-the-receiver"}});
    let bearer = json!({"kind": "bearer", "token": {"value": "t0ken-of-the-operator"}});
    service
        .apply(&[
            ("code", &url, json!({"auth": server.authorization_code(), "secret_headers": header})),
            ("own", &url, json!({"auth": server.client_credentials()})),
            ("bearer", &url, json!({"auth": bearer})),
        ])
        .await;
    let connect = service.run(&["connect", "website/code", "--no-wait"]);
    assert!(connect.status.success(), "{connect:?}");
    let begun = begin_in(&mut browser_of(&service).await, "code").await;
    let back = server.grant(&begun.url).await;
    assert_eq!(begun.come_back(&back).await.status, StatusCode::OK);
    // The token is refused once, so that a refresh is covered too.
    server.revoke_access();
    assert_eq!(service.source().track("one").await, Some(StatusCode::OK));
    service
        .until("all three are tried", async |service| {
            let ledger = service.status().await["ledger"].clone();
            ledger["delivered"].as_u64().unwrap() + ledger["dead"].as_u64().unwrap() == 3
        })
        .await;
    let client = service.client();
    let mut shown = service.log();
    for path in ["pipeline", "deliveries", "status", "destinations/website/code/connect"] {
        shown.push_str(&client.get(&format!("/api/v1/{path}")).await.unwrap().1.to_string());
    }
    let (_, list) = client.get("/api/v1/deliveries").await.unwrap();
    for delivery in list["items"].as_array().unwrap() {
        let id = delivery["id"].as_str().unwrap();
        let detail = client.get(&format!("/api/v1/deliveries/{id}")).await.unwrap().1;
        shown.push_str(&detail.to_string());
    }
    server.assert_correct();
    let mut secrets = server.secrets();
    let given = [CLIENT_SECRET, "t0ken-of-the-operator", "k3y-of-the-receiver"];
    secrets.extend(given.map(str::to_owned));
    assert!(secrets.len() >= 7, "tokens were given: {secrets:?}");
    for secret in &secrets {
        assert!(!shown.contains(secret.as_str()), "{secret} is shown");
    }
    service.kill();
    for entry in std::fs::read_dir(dir.path()).unwrap() {
        let path = entry.unwrap().path();
        let bytes = std::fs::read(&path).unwrap();
        for secret in &secrets {
            let found = bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
            assert!(!found, "{secret} is in plain text in {}", path.display());
        }
    }
}

#[tokio::test]
async fn connect_waits_until_the_destination_is_connected() {
    let dir = TempDir::new().unwrap();
    let mut service = Service::in_dir(dir.path(), "min_free_disk_mib = 0");
    service.start().await;
    let server = OauthServer::start(None).await;
    server.register(format!("{}/oauth/callback", service.base()));
    let mut auth = server.authorization_code();
    auth["client_secret"] = json!({"env": "CRM_CLIENT_SECRET"});
    let more = json!({"auth": auth, "secret_headers": {"X-Api-Key": {"file": "crm.key"}}});
    let document = pipeline(&[("crm", &server.receiver.url("/hook"), more)]).to_string();
    let file = dir.path().join("pipeline.yaml");
    std::fs::write(&file, document).unwrap();
    std::fs::write(dir.path().join("crm.key"), "k3y\n").unwrap();
    let apply = || service.verb(&["apply", "-f", file.to_str().unwrap()]);
    let unset = apply().output().unwrap();
    let message = String::from_utf8(unset.stderr).unwrap();
    let fault =
        "destination website/crm: auth.client_secret: the variable CRM_CLIENT_SECRET is not set";
    assert!(message.contains(fault), "{message}");
    let applied = apply().env("CRM_CLIENT_SECRET", CLIENT_SECRET).output().unwrap();
    assert!(applied.status.success(), "{applied:?}");
    let stdout = String::from_utf8(applied.stdout).unwrap();
    let expected = "destination website/crm: shared secret: given, auth.client_secret: given, \
                    secret_headers.X-Api-Key: given";
    assert!(stdout.contains(expected), "{stdout}");
    let status = service.run(&["status"]);
    let message = String::from_utf8(status.stdout).unwrap();
    let line = "held: website/crm: not connected yet; run: postrider connect website/crm";
    assert!(message.contains(line), "{message}");
    let mut waiting = service
        .verb(&["connect", "website/crm"])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut out = std::io::BufReader::new(waiting.stdout.take().unwrap());
    let mut line = String::new();
    std::io::BufRead::read_line(&mut out, &mut line).unwrap();
    let page = "/sources/website/destinations/crm#connection";
    assert_eq!(line.trim(), format!("{}{page}", service.base()));
    let begun = begin_in(&mut browser_of(&service).await, "crm").await;
    let back = server.grant(&begun.url).await;
    assert_eq!(begun.come_back(&back).await.status, StatusCode::OK);
    let done = tokio::task::spawn_blocking(move || {
        let mut rest = String::new();
        std::io::Read::read_to_string(&mut out, &mut rest).unwrap();
        (waiting.wait().unwrap().success(), rest)
    });
    assert_eq!(done.await.unwrap(), (true, "website/crm is connected\n".to_owned()));
    let ended = service.run(&["disconnect", "website/crm"]);
    let message = String::from_utf8(ended.stdout).unwrap();
    assert_eq!(message, "website/crm is disconnected: its deliveries are held\n");
    let other = service.run(&["connect", "website/nothing", "--no-wait"]);
    assert_eq!(other.status.code(), Some(3));
    assert_eq!(service.run(&["connect", "nothing"]).status.code(), Some(2));
}
