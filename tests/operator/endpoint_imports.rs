//! `import svix` and `import convoy`: endpoints in the shapes of their APIs become a pipeline file that applies.

use serde_json::{Value, json};
use tempfile::TempDir;

use super::commands::{ask_with, run};
use super::import::imported_from;
use crate::support::app::Builder;

const SECRET: &str = "q7Zr2Wm9Xc4Vb8Nk3Lp6Td1Hf5Gs0JyA";

fn listed(report: &Value) -> Vec<String> {
    let findings = report["findings"].as_array().unwrap().iter();
    findings
        .map(|it| ["at", "field", "kind"].map(|name| it[name].as_str().unwrap()).join(" "))
        .collect()
}

#[tokio::test]
async fn an_import_from_svix_applies() {
    let app = Builder::new().start().await;
    let endpoints = json!({"data": [
        {"id": "ep_1", "url": "http://127.0.0.1:9/a", "version": 1, "description": "Billing",
         "filterTypes": ["invoice.paid", "invoice.failed"], "channels": null, "disabled": false, "rateLimit": 5,
         "metadata": {}, "createdAt": "2024-01-01T00:00:00Z", "updatedAt": "2024-01-01T00:00:00Z",
         "headers": {"X-Team": "growth", "X-Api-Key": "hush"}, "secret": "whsec_aHVzaA=="},
        {"id": "ep_2", "uid": "own", "url": "http://127.0.0.1:9/b", "description": "", "filterTypes": null,
         "channels": ["project_1"], "disabled": false, "metadata": {"team": "x"}},
        {"id": "ep_3", "url": "http://127.0.0.1:9/c?token=hush", "description": "", "disabled": true},
    ], "iterator": "it_1", "done": true});
    let (document, report) = imported_from(&app.dir, "svix", &endpoints.to_string());
    let destinations = &document["sources"][0]["destinations"];
    assert_eq!(
        destinations[0],
        json!({
            "name": "Billing", "enabled": true, "rate_per_second": 5,
            "shared_secret": {"env": "SVIX_BILLING_SHARED_SECRET"},
            "secret_headers": {"X-Api-Key": {"env": "SVIX_BILLING_X_API_KEY"}},
            "mappings": [{
                "name": "messages", "enabled": true, "url": "http://127.0.0.1:9/a",
                "trigger": "type = \"track\" and (event = \"invoice.paid\" or event = \"invoice.failed\")",
                "data": {"@path": "$.properties"}, "headers": {"X-Team": "growth"},
            }],
        })
    );
    assert_eq!(
        (&destinations[1]["name"], &destinations[1]["enabled"]),
        (&json!("own"), &json!(false))
    );
    assert_eq!(destinations[1]["mappings"][0]["trigger"], "type = \"track\"");
    assert_eq!(destinations[2]["mappings"][0]["url"], "http://127.0.0.1:9/c");
    assert_eq!(destinations[2]["enabled"], false);
    let listed = listed(&report);
    for wanted in [
        "svix/Billing secret to_do",
        "svix/Billing headers.X-Api-Key to_do",
        "svix/own channels to_do",
        "svix/own metadata left_out",
        "svix/ep_3 url?token to_do",
        "svix write_key to_do",
    ] {
        assert!(listed.iter().any(|it| it == wanted), "{wanted} in {listed:#?}");
    }
    assert_eq!(report["carried_over"], json!({"sources": 1, "destinations": 3, "mappings": 3}));
    assert!(!document.to_string().contains("hush") && !report.to_string().contains("hush"));
    let variables = [
        "SVIX_BILLING_SHARED_SECRET",
        "SVIX_BILLING_X_API_KEY",
        "SVIX_OWN_SHARED_SECRET",
        "SVIX_EP_3_SHARED_SECRET",
        "SVIX_EP_3_TOKEN",
    ]
    .map(|name| (name, SECRET));
    let file = app.dir.path().join("pipeline.yaml");
    let arguments = ["apply", "--dry-run", "-f", file.to_str().unwrap()];
    let (code, stdout, stderr) = ask_with(&app, &arguments, &variables).await;
    assert_eq!(code, 5, "{stdout}{stderr}");
    app.stop().await;
}

#[tokio::test]
async fn an_import_from_convoy_applies() {
    let app = Builder::new().start().await;
    let answer = |content: Value| {
        json!({"status": true, "message": "fetched", "data": {"content": content,
            "pagination": {"per_page": 20, "has_next_page": false, "next_page_cursor": ""}}})
    };
    let endpoints = answer(json!([
        {"uid": "E1", "name": "Billing", "url": "http://127.0.0.1:9/a", "status": "active", "http_timeout": 12,
         "rate_limit": 90, "rate_limit_duration": 60, "secrets": [{"uid": "s", "value": "hush"}],
         "authentication": {"type": "api_key", "api_key": {"header_name": "X-Key", "header_value": "hush"}}},
        {"uid": "E2", "title": "Old", "target_url": "http://127.0.0.1:9/b", "status": "paused",
         "http_timeout": "60s", "content_type": "application/x-www-form-urlencoded"},
    ]));
    let subscriptions = answer(json!([
        {"uid": "S1", "name": "Paid", "endpoint_metadata": {"uid": "E1"},
         "filter_config": {"event_types": ["invoice.paid"], "filter": {"headers": {}, "body": {}}},
         "retry_config": {"type": "linear", "retry_count": 3}},
        {"uid": "S2", "name": "Large", "endpoint_id": "E1",
         "filter_config": {"event_types": ["*"], "filter": {"body": {"amount": {"$gt": 5}}}}},
        {"uid": "S3", "name": "Lost", "endpoint_id": "E9", "filter_config": {"event_types": ["*"]}},
    ]));
    let (document, report) =
        imported_from(&app.dir, "convoy", &format!("{endpoints}\n{subscriptions}"));
    let destinations = &document["sources"][0]["destinations"];
    let billing = &destinations[0];
    assert_eq!((&billing["timeout_ms"], &billing["rate_per_second"]), (&json!(12_000), &json!(2)));
    assert_eq!(billing["secret_headers"], json!({"X-Key": {"env": "CONVOY_BILLING_X_KEY"}}));
    let mappings = &billing["mappings"];
    assert_eq!(mappings[0]["trigger"], "type = \"track\" and event = \"invoice.paid\"");
    assert_eq!(
        (&mappings[1]["trigger"], &mappings[1]["enabled"]),
        (&json!("type = \"track\""), &json!(false))
    );
    assert_eq!(
        (&destinations[1]["enabled"], &destinations[1]["timeout_ms"]),
        (&json!(false), &json!(30_000))
    );
    let listed = listed(&report);
    for wanted in [
        "convoy/Billing signature changed",
        "convoy/Billing/Paid retry_config left_out",
        "convoy/Billing/Large filter_config.filter.body to_do",
        "convoy/Old content_type left_out",
        "convoy/Old subscriptions changed",
        "Lost endpoint_id left_out",
    ] {
        assert!(listed.iter().any(|it| it == wanted), "{wanted} in {listed:#?}");
    }
    assert!(!document.to_string().contains("hush") && !report.to_string().contains("hush"));
    let variables =
        ["CONVOY_BILLING_SHARED_SECRET", "CONVOY_BILLING_X_KEY", "CONVOY_OLD_SHARED_SECRET"]
            .map(|name| (name, SECRET));
    let file = app.dir.path().join("pipeline.yaml");
    let arguments = ["apply", "--dry-run", "-f", file.to_str().unwrap()];
    let (code, stdout, stderr) = ask_with(&app, &arguments, &variables).await;
    assert_eq!(code, 5, "{stdout}{stderr}");

    // Without their subscriptions, endpoints are disabled: their events are not known.
    let (document, _) = imported_from(&app.dir, "convoy", &endpoints.to_string());
    assert_eq!(document["sources"][0]["destinations"][0]["enabled"], false);
    app.stop().await;
}

#[test]
fn incomplete_lists_of_endpoints_are_refused() {
    let folder = TempDir::new().unwrap();
    for (service, answer) in [
        (
            "svix",
            json!({"data": [{"id": "e", "url": "http://a.test/"}], "iterator": "it_1", "done": false}),
        ),
        (
            "convoy",
            json!({"status": true, "data": {"content": [{"uid": "e", "url": "http://a.test/"}],
                "pagination": {"has_next_page": true, "next_page_cursor": "it_1"}}}),
        ),
    ] {
        std::fs::write(folder.path().join("e.json"), answer.to_string()).unwrap();
        let (code, _, stderr) = run(&folder, &["import", service, "e.json"]);
        assert_eq!(code, 2);
        assert!(stderr.contains("that follows is missing") && stderr.contains("it_1"), "{stderr}");
    }
    for (service, answer) in [
        ("svix", r#"{"code": "authentication_failed", "detail": "Invalid token"}"#),
        ("convoy", r#"{"status": false, "message": "unauthorized"}"#),
    ] {
        std::fs::write(folder.path().join("e.json"), answer).unwrap();
        let (code, _, stderr) = run(&folder, &["import", service, "e.json"]);
        assert_eq!(code, 2);
        assert!(stderr.contains("e.json holds an error answer"), "{stderr}");
    }
}
