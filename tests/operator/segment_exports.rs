//! Exports of Segment's Public API in its documented shapes: each imported file is valid for `apply`, and nothing is
//! lost without a word.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::commands::{ask_with, run};
use super::import::{destination, imported_from, subscription};
use crate::support::app::Builder;

const URL: &str = "http://127.0.0.1:9/hook";

/// An export by name.
struct Export {
    name: &'static str,
    answers: Value,
    /// Where findings are, each as `at field kind`.
    findings: &'static [&'static str],
    /// Parts of the document, by pointer from the first destination.
    document: Value,
}

fn actions(settings: Value) -> Value {
    json!([
        destination("d", "actions-webhook", json!({})),
        subscription("m", "d", "type = \"track\"", settings)
    ])
}

fn with_filters(filters: Value) -> Value {
    json!({
        "destinations": [destination("d", "actions-webhook", json!({}))],
        "subscriptions": [subscription("m", "d", "type = \"track\" or type = \"page\"", json!({"url": URL}))],
        "data": {"filters": filters},
    })
}

fn filter(condition: &str, actions: Value) -> Value {
    json!({"id": "f", "sourceId": "src1", "destinationId": "d", "title": "F", "if": condition,
        "actions": actions, "enabled": true})
}

fn extensible(auth: Value) -> Value {
    json!([
        destination("d", "actions-webhook-extensible", json!({"dynamicAuthSettings": auth})),
        subscription("m", "d", "", json!({"url": URL, "data": {"@path": "$."}})),
    ])
}

fn by_id(id: &str, settings: Value) -> Value {
    let mut given = destination("d", "x", settings);
    given["metadata"] = json!({"id": id});
    json!([given, subscription("m", "d", "", json!({"url": URL}))])
}

fn oauth(kind: &str, more: Value) -> Value {
    let mut oauth = json!({
        "type": kind, "clientId": "id", "clientSecret": "hush", "scopes": "read",
        "authorizationServerUrl": "http://127.0.0.1:9/authorize",
        "accessTokenServerUrl": "http://127.0.0.1:9/token",
        "refreshTokenServerUrl": "http://127.0.0.1:9/token",
    });
    oauth.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    json!({"oauth": oauth})
}

fn exports() -> Vec<Export> {
    let mut exports = of_filters();
    exports.extend(of_auth());
    exports.extend(of_mappings());
    exports.extend(of_secrets());
    exports.extend(of_destinations());
    exports
}

fn of_filters() -> Vec<Export> {
    let drop = || json!([{"type": "DROP"}]);
    vec![
        Export {
            name: "a filter that drops becomes a condition",
            answers: with_filters(json!([filter("event = \"Secret\"", drop())])),
            findings: &["src1/actions-webhook filters.F changed"],
            document: json!({"/mappings/0/trigger":
                "(type = \"track\" or type = \"page\") and !(event = \"Secret\")", "/enabled": true}),
        },
        Export {
            name: "a bare list of filters, with an index in brackets",
            answers: json!([
                destination("d", "webhooks", json!({"hooks": [{"hook": URL}]})),
                [filter("properties.items\\[0\\].name = \"x\"", drop())],
            ]),
            findings: &["src1/webhooks filters.F changed"],
            document: json!({"/mappings/0/trigger": "!(properties.items.0.name = \"x\")"}),
        },
        Export {
            name: "a filter that drops everything disables the destination",
            answers: with_filters(json!([filter("all", drop())])),
            findings: &["src1/actions-webhook filters.F changed"],
            document: json!({"/enabled": false}),
        },
        Export {
            name: "a filter that removes properties disables the destination",
            answers: with_filters(json!([filter(
                "type = \"identify\"",
                json!([{"type": "DROP_PROPERTIES", "fields": {"traits": {"fields": ["email"]}}}])
            )])),
            findings: &["src1/actions-webhook filters.F to_do"],
            document: json!({"/enabled": false, "/mappings/0/enabled": true}),
        },
        Export {
            name: "a filter that cannot be read disables the destination",
            answers: with_filters(json!([filter("type = ", drop())])),
            findings: &["src1/actions-webhook filters.F to_do"],
            document: json!({"/enabled": false}),
        },
        Export {
            name: "a disabled filter drops nothing",
            answers: {
                let mut disabled = filter("type = \"track\"", drop());
                disabled["enabled"] = false.into();
                with_filters(json!([disabled]))
            },
            findings: &["src1/actions-webhook filters.F left_out"],
            document: json!({"/mappings/0/trigger": "type = \"track\" or type = \"page\""}),
        },
        Export {
            name: "lists inside their destination",
            answers: {
                let mut given = destination("d", "actions-webhook", json!({}));
                given["subscriptions"] = json!([{"name": "m", "actionSlug": "send", "trigger": "", "settings": {"url": URL}}]);
                given["filters"] =
                    json!([{"title": "F", "if": "type = \"page\"", "actions": drop()}]);
                given
            },
            findings: &["src1/actions-webhook filters.F changed"],
            document: json!({"/mappings/0/trigger": "!(type = \"page\")"}),
        },
    ]
}

fn of_auth() -> Vec<Export> {
    vec![
        Export {
            name: "noAuth beside a token that is left over",
            answers: extensible(
                json!({"bearer": {"bearerToken": "hush"}, "oauth": {"type": "noAuth"}}),
            ),
            findings: &[
                "src1/actions-webhook-extensible settings.dynamicAuthSettings.bearer left_out",
            ],
            document: json!({"/auth": null, "/enabled": true}),
        },
        Export {
            name: "a token",
            answers: extensible(json!({"bearer": {"bearerToken": "hush"}})),
            findings: &["src1/actions-webhook-extensible settings.dynamicAuthSettings to_do"],
            document: json!({"/auth/kind": "bearer"}),
        },
        Export {
            name: "client credentials with a prefix and parameters",
            answers: extensible(oauth(
                "clientCredentials",
                json!({"customParams": {
                    "tokenPrefix": "Token", "refreshRequest": [
                        {"key": "audience", "value": "a b", "sendIn": "query"},
                        {"key": "resource", "value": "r", "sendIn": "body"},
                        {"key": "X-Key", "value": "v", "sendIn": "header"},
                    ],
                }}),
            )),
            findings: &[
                "src1/actions-webhook-extensible settings.dynamicAuthSettings.oauth.customParams.refreshRequest.X-Key left_out",
            ],
            document: json!({
                "/auth/kind": "client_credentials", "/auth/token_prefix": "Token",
                "/auth/client_auth": "basic_unencoded", "/auth/parameters": {"resource": "r"},
                "/auth/token_url": "http://127.0.0.1:9/token?audience=a+b",
            }),
        },
        Export {
            name: "an authorization code",
            answers: extensible(oauth("authCode", json!({}))),
            findings: &["src1/actions-webhook-extensible settings.dynamicAuthSettings to_do"],
            document: json!({"/auth/kind": "authorization_code", "/auth/scopes": ["read"]}),
        },
        Export {
            name: "an authorization server that would be refused",
            answers: extensible(oauth(
                "clientCredentials",
                json!({"accessTokenServerUrl": "http://example.com/t"}),
            )),
            findings: &["src1/actions-webhook-extensible auth.token_url to_do"],
            document: json!({"/auth": null, "/enabled": false}),
        },
    ]
}

fn of_mappings() -> Vec<Export> {
    let form = json!({"Content-Type": "application/x-www-form-urlencoded"});
    vec![
        Export {
            name: "batching with a form header",
            answers: actions(
                json!({"url": URL, "enable_batching": true, "batch_size": 10, "headers": form}),
            ),
            findings: &[],
            document: json!({"/mappings/0/batching/size": 10, "/mappings/0/profile": "segment_actions"}),
        },
        Export {
            name: "a method that a directive gives",
            answers: actions(json!({"url": URL, "method": {"@path": "$.properties.method"}})),
            findings: &[],
            document: json!({"/mappings/0/method": {"@path": "$.properties.method"}}),
        },
        Export {
            name: "headers that a directive gives",
            answers: actions(json!({"url": URL, "headers": {"@path": "$.properties.headers"}})),
            findings: &[],
            document: json!({"/mappings/0/headers": {"@path": "$.properties.headers"}}),
        },
        Export {
            name: "null as data, as a header, and headers that are ours",
            answers: actions(
                json!({"url": URL, "data": null, "headers": {"X-N": null, "Host": "x", "X-L": [1]}}),
            ),
            findings: &["src1/actions-webhook/m settings.headers.Host left_out"],
            document: json!({"/mappings/0/data": {"@literal": null}, "/mappings/0/headers": {"X-N": null, "X-L": [1]}}),
        },
        Export {
            name: "names of headers that differ in case only",
            answers: actions(json!({"url": URL, "headers": {"X-A": "1", "x-a": "2"}})),
            findings: &["src1/actions-webhook/m settings.headers.x-a left_out"],
            document: json!({"/mappings": []}),
        },
        Export {
            name: "more mappings than a destination may have",
            answers: {
                let many =
                    (0..51).map(|at| subscription(&format!("m{at}"), "d", "", json!({"url": URL})));
                let first = destination("d", "actions-webhook", json!({}));
                std::iter::once(first).chain(many).collect()
            },
            findings: &["src1/actions-webhook subscriptions changed"],
            document: json!({"/mappings/49/name": "m49", "/mappings/50": null}),
        },
    ]
}

fn of_secrets() -> Vec<Export> {
    vec![
        Export {
            name: "a token for hosts that the event decides on, and over http",
            answers: json!([
                destination(
                    "d",
                    "actions-webhook-extensible",
                    json!({"dynamicAuthSettings": {"bearer": {"bearerToken": "hush"}}})
                ),
                subscription("a", "d", "", json!({"url": {"@path": "$.properties.url"}})),
                subscription("b", "d", "", json!({"url": "http://192.0.2.1/hook"})),
            ]),
            findings: &[
                "src1/actions-webhook-extensible/a url left_out",
                "src1/actions-webhook-extensible/b url left_out",
            ],
            document: json!({"/auth/kind": "bearer", "/mappings": []}),
        },
        Export {
            name: "a secret in headers that a directive gives",
            answers: actions(json!({"url": URL, "headers": {"@literal": {"X-Api-Key": "hush"}}})),
            findings: &["src1/actions-webhook/m headers.@literal left_out"],
            document: json!({"/mappings": []}),
        },
        Export {
            name: "a key in the URL that all mappings share",
            answers: json!([
                destination("d", "actions-webhook", json!({})),
                subscription("a", "d", "", json!({"url": format!("{URL}?v=1&api_key=hush#f")})),
                subscription(
                    "b",
                    "d",
                    "",
                    json!({"url": {"@template": format!("{URL}?api_key=hush&u={{{{userId}}}}")}})
                ),
            ]),
            findings: &["src1/actions-webhook settings.url?api_key to_do"],
            document: json!({
                "/secret_parameters/api_key/env": "SRC1_ACTIONS_WEBHOOK_API_KEY",
                "/mappings/0/url": format!("{URL}?v=1#f"),
                "/mappings/1/url": {"@template": format!("{URL}?u={{{{userId}}}}")},
                "/mappings/1/enabled": true,
            }),
        },
        Export {
            name: "a key in the URL of one mapping of two",
            answers: json!([
                destination("d", "actions-webhook", json!({})),
                subscription("a", "d", "", json!({"url": format!("{URL}?token=hush")})),
                subscription("b", "d", "", json!({"url": URL})),
            ]),
            findings: &["src1/actions-webhook/a settings.url?token to_do"],
            document: json!({"/mappings/0/enabled": false, "/mappings/0/url": URL, "/mappings/1/enabled": true}),
        },
        Export {
            name: "a user name and a password in the URL",
            answers: actions(json!({"url": "http://me:hush@127.0.0.1:9/hook"})),
            findings: &["src1/actions-webhook settings.headers.authorization to_do"],
            document: json!({"/mappings/0/url": URL}),
        },
    ]
}

fn of_destinations() -> Vec<Export> {
    let source = |enabled: bool| json!({"id": "src1", "name": "Website", "workspaceId": "w", "enabled": enabled});
    let hooks =
        || json!({"hooks": [{"hook": URL, "headers": [{"key": "X-Team", "value": "growth"}]}]});
    vec![
        Export {
            name: "a disabled source",
            answers: json!([source(false), destination("d", "webhooks", hooks())]),
            findings: &["Website write_key to_do"],
            document: json!({"/enabled": true}),
        },
        Export {
            name: "a disabled destination",
            answers: {
                let mut given = destination("d", "webhooks", hooks());
                given["enabled"] = false.into();
                given
            },
            findings: &[],
            document: json!({"/enabled": false}),
        },
        Export {
            name: "a classic webhook by the id of its kind",
            answers: by_id("54521fdc25e721e32a72ef04", hooks()),
            findings: &[],
            document: json!({"/mappings/0/profile": "segment_classic", "/policy": "any"}),
        },
        Export {
            name: "an extensible webhook by the id of its kind",
            answers: by_id("66b1f528d26440823fb27af9", json!({})),
            findings: &["src1/x/m settings.data changed"],
            document: json!({"/mappings/0/profile": "segment_extensible"}),
        },
        Export {
            name: "another destination by the id of its kind, whatever its settings",
            answers: json!([
                by_id("54521fdd25e721e32a72ef00", hooks()),
                {"id": "w", "sourceId": "src1", "metadata": {"slug": "webhooks"}, "settings": hooks()},
            ]),
            findings: &["src1/x  left_out"],
            document: json!({"/policy": "any"}),
        },
        Export {
            name: "a list that nothing is imported from",
            answers: json!([destination("d", "webhooks", hooks()), {"data": {"functions": [{"id": "f"}]}}]),
            findings: &[" functions left_out"],
            document: json!({}),
        },
        Export {
            name: "pages that are all there",
            answers: json!([
                {"data": {"destinations": [destination("d", "webhooks", hooks())],
                    "pagination": {"current": "MA==", "next": "MQ==", "totalEntries": 2}}},
                {"data": {"destinations": [destination("e", "webhooks", hooks())],
                    "pagination": {"current": "MQ==", "totalEntries": 2}}},
            ]),
            findings: &[],
            document: json!({"/name": "webhooks"}),
        },
    ]
}

/// The variables that a document names.
fn variables(value: &Value, found: &mut BTreeSet<String>) {
    if let Some(name) = value.get("env").and_then(Value::as_str) {
        found.insert(name.to_owned());
    }
    let below: Vec<&Value> = match value {
        Value::Array(items) => items.iter().collect(),
        Value::Object(fields) => fields.values().collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Vec::new(),
    };
    below.into_iter().for_each(|it| variables(it, found));
}

#[tokio::test]
async fn every_imported_file_is_valid_and_nothing_is_lost_without_a_word() {
    let app = Builder::new().start().await;
    let exports = exports();
    assert!(exports.len() >= 20);
    for Export { name, answers, findings, document: expected } in exports {
        let (document, report) = imported_from(&app.dir, "segment", &answers.to_string());
        let listed: Vec<String> = report["findings"]
            .as_array()
            .unwrap()
            .iter()
            .map(|it| ["at", "field", "kind"].map(|field| it[field].as_str().unwrap()).join(" "))
            .collect();
        for wanted in findings {
            assert!(listed.iter().any(|it| it == wanted), "{name}: {wanted} in {listed:#?}");
        }
        let first = &document["sources"][0]["destinations"][0];
        for (pointer, value) in expected.as_object().unwrap() {
            let found = first.pointer(pointer).unwrap_or(&Value::Null);
            assert_eq!(found, value, "{name}: {pointer} of {first:#}");
        }
        assert!(!document.to_string().contains("hush"), "{name}: {document:#}");
        assert!(!report.to_string().contains("hush"), "{name}: {report:#}");
        let mut names = BTreeSet::new();
        variables(&document, &mut names);
        let secret = "q7Zr2Wm9Xc4Vb8Nk3Lp6Td1Hf5Gs0JyA";
        let variables: Vec<_> = names.iter().map(|name| (name.as_str(), secret)).collect();
        let file = app.dir.path().join("pipeline.yaml");
        let arguments = ["apply", "--dry-run", "-f", file.to_str().unwrap()];
        let (code, stdout, stderr) = ask_with(&app, &arguments, &variables).await;
        assert_eq!(code, 5, "{name}: {stdout}{stderr}");
    }
    app.stop().await;
}

#[test]
fn an_incomplete_list_and_an_error_answer_are_refused() {
    let folder = TempDir::new().unwrap();
    let hooks = json!({"hooks": [{"hook": URL}]});
    let page = |current: &str, next: Value| {
        json!({"data": {"destinations": [destination(current, "webhooks", hooks.clone())],
            "pagination": {"current": current, "next": next}}})
        .to_string()
    };
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    write("one.json", &page("MA==", "MQ==".into()));
    write("two.json", &page("MQ==", json!(null)));
    write("error.json", r#"{"errors": [{"type": "forbidden", "message": "no such workspace"}]}"#);
    let (code, _, stderr) = run(&folder, &["import", "segment", "one.json"]);
    assert_eq!(code, 2);
    assert!(stderr.contains("the page of destinations that follows is missing"), "{stderr}");
    let (code, yaml, stderr) = run(&folder, &["import", "segment", "one.json", "two.json"]);
    assert_eq!(code, 0, "{stderr}");
    assert_eq!(yaml.matches("policy: any").count(), 2, "{yaml}");
    let (code, _, stderr) = run(&folder, &["import", "segment", "two.json", "error.json"]);
    assert_eq!(code, 2);
    assert!(stderr.contains("error.json holds an error answer: no such workspace"), "{stderr}");
}
