//! `pause` and `resume` on the command line.

use serde_json::{Value, json};

use super::commands::ask;
use crate::support::app::TestApp;
use crate::support::receiver::{Behaviour, Receiver};

#[tokio::test]
async fn destinations_and_mappings_are_paused_and_resumed_by_name() {
    let receiver = Receiver::start(Behaviour::ok()).await;
    let app = TestApp::with(&[("crm", &receiver.url("/"), json!({}))]).await;
    for subject in ["website/crm", "website/crm/everything"] {
        let (code, out, err) = ask(&app, &["pause", subject, "--note", "a migration"]).await;
        assert_eq!(
            (code, out.trim()),
            (0, &*format!("{subject} is paused: 0 deliveries wait")),
            "{err}"
        );
    }
    app.track("held").await;
    let (_, out, _) = ask(&app, &["pause", "website/crm"]).await;
    assert_eq!(out.trim(), "website/crm was paused already: 1 deliveries wait");
    let (code, out, _) = ask(&app, &["status"]).await;
    assert_eq!(code, 0);
    let line = out.lines().find(|it| it.starts_with("paused: website/crm since ")).unwrap();
    assert!(line.ends_with("by operator (a migration): 1 wait"), "{line}");
    let (_, out, _) = ask(&app, &["explain", "held"]).await;
    assert!(out.contains("the mapping is paused by operator since"), "{out}");
    let (code, out, _) = ask(&app, &["resume", "website/crm/everything", "--rate", "5"]).await;
    assert_eq!(
        (code, out.trim()),
        (0, "website/crm/everything is resumed at 5 deliveries a second: 1 deliveries wait")
    );
    let (code, out, _) = ask(&app, &["resume", "website/crm", "--json"]).await;
    let view: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, &view["changed"]), (0, &json!(true)));
    app.until_settled(1).await;
    let (code, out, _) = ask(&app, &["resume", "website/crm"]).await;
    assert_eq!((code, out.trim()), (0, "website/crm was not paused: 0 deliveries wait"));
}

#[tokio::test]
async fn a_pause_of_nothing_is_refused() {
    let app = TestApp::with(&[("crm", "http://127.0.0.1:9/", json!({}))]).await;
    for (subject, expected) in
        [("website", 2), ("website//x", 2), ("website/other", 3), ("website/crm/other", 3)]
    {
        let (code, _, err) = ask(&app, &["pause", subject]).await;
        assert_eq!(code, expected, "{subject}: {err}");
        assert!(!err.is_empty());
    }
    let (code, _, _) = ask(&app, &["resume", "website/crm", "--rate", "0"]).await;
    assert_eq!(code, 2);
}
