//! `import segment`: responses of Segment's Public API become a pipeline file, and a list of what
//! is not imported.

use serde_json::{Value, json};
use tempfile::TempDir;

use super::commands::{ask_with, run};
use crate::support::app::Builder;

/// The pipeline file and the list that an export gives; both as values.
fn imported(folder: &TempDir, export: &str) -> (Value, Vec<Value>) {
    let (document, report) = imported_from(folder, "segment", export);
    (document, report["findings"].as_array().unwrap().clone())
}

/// The pipeline file and the report that an export of a service gives; both as values.
pub(super) fn imported_from(folder: &TempDir, service: &str, export: &str) -> (Value, Value) {
    std::fs::write(folder.path().join("export.json"), export).unwrap();
    let arguments = ["import", service, "export.json", "-o", "pipeline.yaml", "--json"];
    let (code, stdout, stderr) = run(folder, &arguments);
    assert_eq!((code, stdout.as_str()), (0, ""), "{stderr}");
    let yaml = std::fs::read_to_string(folder.path().join("pipeline.yaml")).unwrap();
    (serde_saphyr::from_str(&yaml).unwrap(), serde_json::from_str(&stderr).unwrap())
}

pub(super) fn destination(id: &str, slug: &str, settings: Value) -> Value {
    json!({
        "id": id, "sourceId": "src1", "name": slug, "enabled": true, "settings": settings,
        "metadata": {"id": "m", "name": "A name", "slug": slug},
    })
}

pub(super) fn subscription(name: &str, destination: &str, trigger: &str, settings: Value) -> Value {
    json!({
        "id": name, "name": name, "actionId": "a", "actionSlug": "send", "enabled": true,
        "destinationId": destination, "trigger": trigger, "settings": settings,
    })
}

/// A classic webhook and a webhook (actions), as the API answers them.
fn export() -> String {
    let classic = json!({
        "hooks": [
            {"hook": "http://127.0.0.1:9/a", "headers": [{"key": "", "value": ""}]},
            {"hook": "http://127.0.0.1:9/b", "headers": [{"key": "X-Team", "value": "growth"}]},
        ],
        "globalHook": "http://127.0.0.1:9/a", "sharedSecret": "classic-secret",
    });
    let destinations = json!({"data": {"destinations": [
        destination("d1", "webhooks", classic),
        destination("d2", "actions-webhook", json!({"sharedSecret": "actions-secret"})),
        destination("d3", "google-analytics", json!({})),
    ], "pagination": {"current": "MA=="}}});
    let subscriptions = json!({"data": {"subscriptions": [
        subscription("Signups", "d2", "type = \"track\" and event = \"Signed Up\"", json!({
            "url": "http://127.0.0.1:9/signups", "method": "PUT",
            "headers": {"X-Kind": {"@path": "$.type"}},
            "data": {"@path": "$.properties"}, "batch_keys": ["url", "method", "headers"],
        })),
        subscription("Everything", "d2", "properties.items\\[0\\].name != null", json!({
            "url": "http://127.0.0.1:9/all", "data": {"@path": "$."}, "note": "x",
            "enable_batching": true, "batch_size": 500,
        })),
        subscription("Wrong", "d2", "type = ", json!({"url": "http://127.0.0.1:9/w"})),
        subscription("Liquid", "d2", "type = \"track\"", json!({
            "url": "http://127.0.0.1:9/l", "data": {"name": {"@liquid": "{{ x | upcase }}"}},
        })),
        {"id": "s9", "name": "Other", "destinationId": "d2", "actionSlug": "upsert", "settings": {}},
        subscription("Lost", "d404", "", json!({})),
    ]}});
    let sources = json!({"data": {"sources": [
        {"id": "src1", "name": "Website", "workspaceId": "w", "writeKeys": ["a-write-key"]},
    ]}});
    format!("{destinations}\n{subscriptions}\n{sources}\n")
}

#[tokio::test]
async fn an_import_from_segment_applies() {
    let app = Builder::new().start().await;
    let (document, _) = imported(&app.dir, &export());
    let source = &document["sources"][0];
    assert_eq!(source["name"], "Website");
    assert_eq!(
        source["destinations"],
        json!([
            {
                "name": "webhooks", "enabled": true, "policy": "any",
                "shared_secret": {"env": "WEBSITE_WEBHOOKS_SHARED_SECRET"},
                "mappings": [
                    {"name": "hook 1", "enabled": true, "profile": "segment_classic",
                     "url": "http://127.0.0.1:9/a"},
                    {"name": "hook 2", "enabled": true, "profile": "segment_classic",
                     "url": "http://127.0.0.1:9/b",
                     "headers": {"X-Team": "growth"}},
                ],
            },
            {
                "name": "actions-webhook", "enabled": true,
                "shared_secret": {"env": "WEBSITE_ACTIONS_WEBHOOK_SHARED_SECRET"},
                "mappings": [
                    {"name": "Signups", "enabled": true, "profile": "segment_actions",
                     "trigger": "type = \"track\" and event = \"Signed Up\"",
                     "url": "http://127.0.0.1:9/signups", "method": "PUT",
                     "headers": {"X-Kind": {"@path": "$.type"}},
                     "data": {"@path": "$.properties"}},
                    {"name": "Everything", "enabled": true, "profile": "segment_actions",
                     "trigger": "properties.items.0.name != null", "url": "http://127.0.0.1:9/all",
                     "batching": {"size": 500}},
                ],
            },
        ])
    );
    let variables = [
        ("WEBSITE_WEBHOOKS_SHARED_SECRET", "classic-secret"),
        ("WEBSITE_ACTIONS_WEBHOOK_SHARED_SECRET", "actions-secret"),
    ];
    let file = app.dir.path().join("pipeline.yaml");
    let file = file.to_str().unwrap();
    let (code, stdout, stderr) =
        ask_with(&app, &["apply", "--dry-run", "-f", file], &variables).await;
    assert_eq!(code, 5, "{stderr}");
    assert!(stdout.contains("+ mapping Website/webhooks/hook 2: POST http://127.0.0.1:9/b"));
    let (code, _, stderr) = ask_with(&app, &["apply", "-f", file], &variables).await;
    assert_eq!(code, 0, "{stderr}");
    app.stop().await;
}

#[test]
fn an_import_lists_what_it_leaves_out_and_writes_no_secret() {
    let folder = TempDir::new().unwrap();
    let (_, findings) = imported(&folder, &export());
    let text = |finding: &Value, field: &str| finding[field].as_str().unwrap().to_owned();
    let listed: Vec<_> = findings
        .iter()
        .map(|it| [text(it, "at"), text(it, "field"), text(it, "kind")].join(" "))
        .collect();
    for expected in [
        "Website/webhooks settings.sharedSecret to_do",
        "Website/actions-webhook settings.sharedSecret to_do",
        "Website/google-analytics  left_out",
        "Website/actions-webhook/Everything trigger changed",
        "Website/actions-webhook/Everything settings.note left_out",
        "Website/actions-webhook/Wrong trigger left_out",
        "Website/actions-webhook/Other actionSlug left_out",
        "Website write_key to_do",
        "Lost destinationId left_out",
    ] {
        assert!(listed.iter().any(|it| it == expected), "{expected} in {listed:#?}");
    }
    let liquid = findings.iter().find(|it| it["at"] == "Website/actions-webhook/Liquid").unwrap();
    assert!(text(liquid, "field").starts_with("settings.data.name"), "{liquid}");

    // In words, with the file on stdout.
    let (code, yaml, words) = run(&folder, &["import", "segment", "export.json"]);
    assert_eq!(code, 0);
    assert!(words.ends_with(
        "carried over: 1 sources, 2 destinations, 4 mappings; changed: 1; left out: 6; to do: 3\n"
    ));
    assert!(yaml.starts_with("sources:\n  - name: Website\n    destinations:\n"), "{yaml}");
    assert!(
        words.contains("left out: Website/actions-webhook/Wrong: trigger: the mapping is left out: expected a value"),
        "{words}"
    );
    for secret in ["classic-secret", "actions-secret", "a-write-key"] {
        assert!(!yaml.contains(secret) && !words.contains(secret), "{secret}");
    }
}

#[test]
fn batching_and_auth_are_imported_from_segment() {
    let folder = TempDir::new().unwrap();
    let oauth = json!({"dynamicAuthSettings": {"oauth": {
        "type": "authCode", "clientId": "id-1", "clientSecret": "hush",
        "authorizationServerUrl": "https://auth.test/authorize",
        "accessTokenServerUrl": "https://auth.test/token",
        "refreshTokenServerUrl": "https://auth.test/token", "scopes": "read write",
    }}});
    let bearer = json!({"dynamicAuthSettings": {"bearer": {"bearerToken": "hush"}}});
    let half = json!({"dynamicAuthSettings": {"oauth": {"type": "clientCredentials"}}});
    let to = |destination: &str, more: Value| {
        let mut settings = json!({"url": "https://receiver.test/"});
        settings.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        subscription("Send", destination, "", settings)
    };
    let key = json!({"headers": {"X-Api-Key": "hush"}});
    let export = json!([
        destination("d1", "actions-webhook-extensible", oauth),
        destination("d2", "actions-webhook-extensible", bearer),
        destination("d3", "actions-webhook-extensible", half),
        destination("d4", "actions-webhook", json!({})),
        destination("d5", "actions-webhook", json!({})),
        to("d1", json!({"enable_batching": true, "batch_size": "5"})),
        to("d2", json!({"enable_batching": true, "batch_size": 0})),
        to("d3", json!({"enable_batching": false, "batch_size": 7})),
        to(
            "d4",
            json!({"enable_batching": true, "batch_size": 9000, "headers": {"X-Api-Key": "hush"}})
        ),
        to("d5", key),
        to("d5", json!({"headers": {"Authorization": {"@template": "Bearer {{context.token}}"}}})),
        to("d5", json!({"headers": {"Authorization": {"@literal": "Bearer hush"}}})),
    ]);
    let (document, findings) = imported(&folder, &export.to_string());
    let destinations = document["sources"][0]["destinations"].as_array().unwrap();
    let batching: Vec<_> = destinations.iter().map(|it| &it["mappings"][0]["batching"]).collect();
    assert_eq!(
        batching,
        [
            &json!({"size": 5}),
            &json!({"size": 1000}),
            &Value::Null,
            &json!({"size": 4000}),
            &Value::Null
        ]
    );
    assert_eq!(
        destinations[0]["auth"],
        json!({
            "kind": "authorization_code", "authorize_url": "https://auth.test/authorize",
            "token_url": "https://auth.test/token", "refresh_url": "https://auth.test/token",
            "client_id": "id-1", "client_auth": "basic_unencoded",
            "client_secret": {"env": "SRC1_ACTIONS_WEBHOOK_EXTENSIBLE_CLIENT_SECRET"},
            "scopes": ["read", "write"],
        })
    );
    let token = json!({"env": "SRC1_ACTIONS_WEBHOOK_EXTENSIBLE_2_TOKEN"});
    assert_eq!(destinations[1]["auth"], json!({"kind": "bearer", "token": token}));
    assert_eq!(
        (&destinations[2]["auth"], &destinations[2]["enabled"]),
        (&Value::Null, &json!(false))
    );
    // A secret header that every mapping has is the destination's; else the mapping waits for one.
    let key = json!({"X-Api-Key": {"env": "SRC1_ACTIONS_WEBHOOK_X_API_KEY"}});
    assert_eq!(destinations[3]["secret_headers"], key);
    assert_eq!(destinations[4]["mappings"][0]["enabled"], false);
    assert_eq!(destinations[4]["mappings"][1]["enabled"], true, "the event gives the value");
    assert_eq!(destinations[4]["mappings"][2]["enabled"], false);
    assert!(!document.to_string().contains("hush"));
    assert!(!findings.iter().any(|it| it.to_string().contains("hush")));
}

#[test]
fn a_file_without_destinations_is_refused() {
    let folder = TempDir::new().unwrap();
    for (text, cause) in
        [("{", "e.json is not JSON"), ("{}", "there are no destinations in what was read")]
    {
        std::fs::write(folder.path().join("e.json"), text).unwrap();
        let (code, _, stderr) = run(&folder, &["import", "segment", "e.json"]);
        assert_eq!(code, 2);
        assert!(stderr.starts_with(&format!("error: {cause}")), "{stderr}");
    }
}
