//! Applying a pipeline document through the API, on the real store: diff, idempotence, pruning,
//! rotation, and validation errors.

use http::StatusCode;
use serde_json::{Value, json};

use super::commands::ask;
use crate::support::app::{Builder, TestApp};

async fn post(app: &TestApp, request: Value) -> (StatusCode, Value) {
    app.client.post("/api/v1/pipeline", &request).await.unwrap()
}

async fn difference(app: &TestApp, request: Value) -> String {
    let (status, answer) = post(app, request).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    let lines = answer["lines"].as_array().unwrap().iter().map(|line| {
        let details = line["details"].as_array().into_iter().flatten();
        let details: Vec<_> = details.map(|detail| detail.as_str().unwrap()).collect();
        let (sign, what) = (line["sign"].as_str().unwrap(), line["what"].as_str().unwrap());
        format!("{sign} {what}: {}", details.join(", ")).trim_end_matches(": ").to_owned()
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn document(secret: &str, url: &str) -> Value {
    json!({"sources": [{
        "name": "website",
        "write_key": {"value": "key-1"},
        "destinations": [{
            "name": "warehouse",
            "shared_secret": {"value": secret},
            "mappings": [
                {"name": "everything", "url": url, "headers": {"X-Team": "a"}},
            ],
        }],
    }]})
}

const URL: &str = "http://127.0.0.1:9/hook";

#[tokio::test]
async fn applying_reports_the_diff_once() {
    let app = Builder::new().start().await;
    let request = json!({"document": document("secret-one", URL)});
    let made = "add source website: write key: given\n\
                add destination website/warehouse: shared secret: given\n\
                add mapping website/warehouse/everything: POST http://127.0.0.1:9/hook";
    let dry = json!({"document": document("secret-one", URL), "dry_run": true});
    assert_eq!(difference(&app, dry.clone()).await, made);
    assert_eq!(difference(&app, dry).await, made, "a dry run changes nothing");
    assert_eq!(difference(&app, request.clone()).await, made);
    let (_, again) = post(&app, request).await;
    assert_eq!((&again["changed"], &again["lines"]), (&json!(false), &json!([])));
    app.stop().await;
}

#[tokio::test]
async fn the_diff_shows_no_secrets() {
    let app = Builder::new().start().await;
    app.apply(document("secret-one", URL)).await;
    let mut changed = document("secret-two", "http://127.0.0.1:9/other");
    let destination = &mut changed["sources"][0]["destinations"][0];
    destination["timeout_ms"] = json!(3000);
    destination["rate_per_second"] = json!(10);
    destination["mappings"][0]["headers"] = json!({"X-Team": "c"});
    changed["sources"][0]["enabled"] = json!(false);
    let told = difference(&app, json!({"document": changed})).await;
    let (source, rest) = told.split_once('\n').unwrap();
    let (destination, mapping) = rest.split_once('\n').unwrap();
    assert_eq!(source, "change source website: enabled: true → false");
    assert!(
        destination.starts_with(
            "change destination website/warehouse: timeout_ms: 5000 → 3000, \
             rate_per_second: none → 10, shared secret: changed; the old one signs as well until "
        ),
        "{destination}"
    );
    assert_eq!(
        mapping,
        "change mapping website/warehouse/everything: url: http://127.0.0.1:9/hook → \
         http://127.0.0.1:9/other, headers.X-Team: a → c"
    );
    let pipeline = app.app.store.pipeline().await.unwrap();
    assert_eq!(pipeline.shared_secrets.len(), 2, "the one before goes on signing");
    app.stop().await;
}

#[tokio::test]
async fn unlisted_resources_are_kept_unless_pruned() {
    let app = Builder::new().start().await;
    app.apply(document("secret-one", URL)).await;
    let bare = json!({"sources": [{"name": "website", "destinations": [{"name": "warehouse"}]}]});
    let kept = difference(&app, json!({"document": bare})).await;
    assert_eq!(kept, "keep mapping website/warehouse/everything");
    let pruned = difference(&app, json!({"document": bare, "prune": true})).await;
    assert_eq!(
        pruned,
        "change destination website/warehouse: shared secret: removed\n\
         remove mapping website/warehouse/everything"
    );
    let gone = difference(&app, json!({"document": {"sources": []}, "prune": true})).await;
    assert_eq!(gone, "remove source website");
    app.stop().await;
}

#[tokio::test]
async fn a_write_key_is_generated_and_shown_once() {
    let app = Builder::new().start().await;
    let request = json!({"document": {"sources": [{"name": "website"}]}});
    let (_, first) = post(&app, request.clone()).await;
    let key = first["write_keys"][0]["write_key"].as_str().unwrap();
    assert!(key.starts_with("wk_"));
    let (_, again) = post(&app, request).await;
    assert_eq!(again["write_keys"], Value::Null);
    let (_, pipeline) = app.client.get("/api/v1/pipeline").await.unwrap();
    assert!(!pipeline.to_string().contains(key));
    app.stop().await;
}

#[tokio::test]
async fn every_error_has_its_path_and_nothing_changes() {
    let app = Builder::new().start().await;
    let document = json!({"sources": [
        {"name": "a/b", "write_key": {"value": "with:colon"}},
        {"name": "website", "write_key": {"env": "X"}, "destinations": [
            {"name": "d", "timeout_ms": 5, "shared_secret": {"value": "whsec_***"}, "mappings": [
                {"name": "m", "url": "ftp://x"},
                {"name": "m", "url": "http://10.0.0.1/", "headers": {}},
                {"name": "n", "url": "http://127.0.0.1/", "headers": {"Host": "x"}},
            ]},
        ]},
    ]});
    let (status, problem) = post(&app, json!({"document": document})).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    let faults = problem["faults"].as_array().unwrap();
    let mut paths: Vec<_> = faults.iter().map(|fault| fault["path"].as_str().unwrap()).collect();
    paths.sort_unstable();
    assert_eq!(
        paths,
        [
            "sources[0].name",
            "sources[0].write_key",
            "sources[1].destinations[0].mappings[0].url",
            "sources[1].destinations[0].mappings[1].name",
            "sources[1].destinations[0].mappings[1].url",
            "sources[1].destinations[0].mappings[2].headers.Host",
            "sources[1].destinations[0].shared_secret",
            "sources[1].destinations[0].timeout_ms",
            "sources[1].write_key",
        ]
    );
    assert!(app.app.store.pipeline().await.unwrap().sources.is_empty());
    app.stop().await;
}

#[tokio::test]
async fn hop_by_hop_headers_and_urls_that_cannot_be_meant_are_refused() {
    let app = Builder::new().start().await;
    let refused = async |destination: Value| {
        let document = json!({"sources": [{"name": "s", "destinations": [destination]}]});
        let (status, problem) = post(&app, json!({"document": document})).await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{document}");
        let faults = problem["faults"].as_array().unwrap().iter();
        let text = |fault: &Value, key: &str| fault[key].as_str().unwrap().to_owned();
        faults.map(|fault| (text(fault, "path"), text(fault, "message"))).collect::<Vec<_>>()
    };
    let with_mapping = |mapping: Value| {
        let mut mapping = mapping;
        mapping["name"] = json!("m");
        json!({"name": "d", "mappings": [mapping]})
    };
    let at = |field: &str| format!("sources[0].destinations[0].{field}");
    let names = [
        "Upgrade",
        "TE",
        "trailer",
        "Expect",
        "Keep-Alive",
        "Proxy-Connection",
        "Proxy-Authorization",
        "Connection",
        "Transfer-Encoding",
        "Content-Length",
        "Host",
    ];
    for name in names {
        let faults = refused(with_mapping(json!({"url": URL, "headers": {name: "x"}}))).await;
        let place = at(&format!("mappings[0].headers.{name}"));
        assert!(faults.iter().all(|(path, _)| *path == place), "{faults:?}");
        let secret =
            json!({"name": "d", "secret_headers": {name: {"value": "long-enough-secret"}}});
        let faults = refused(secret).await;
        assert_eq!(faults[0].0, at(&format!("secret_headers.{name}")));
    }
    let urls = [
        (json!("http://127.0.0.1:0/"), "port 0 is refused"),
        (json!("http://127.0.0.1:25/"), "it is SMTP's"),
        (json!("http://127.0.0.1/hook\u{a0}"), "U+00A0"),
        (json!("http://127.0.0.1/hook\u{200b}"), "U+200B"),
        (json!("http://127.0.0.1\u{feff}/hook"), "U+FEFF"),
        (json!({"@template": "http://127.0.0.1/{{userId}}\u{202f}"}), "U+202F"),
    ];
    for (url, why) in urls {
        let faults = refused(with_mapping(json!({"url": url}))).await;
        assert_eq!(faults[0].0, at("mappings[0].url"));
        assert!(faults[0].1.contains(why), "{faults:?}");
    }
    let auth = json!({"kind": "client_credentials", "token_url": "https://127.0.0.1/token\u{a0}",
        "client_id": "c", "client_secret": {"value": "long-enough-secret"}});
    let faults = refused(json!({"name": "d", "auth": auth})).await;
    assert_eq!(faults[0].0, at("auth.token_url"));
    app.stop().await;
}

#[tokio::test]
async fn a_write_key_identifies_one_source() {
    let app = Builder::new().start().await;
    app.apply(document("secret-one", URL)).await;
    let other = json!({"sources": [{"name": "shop", "write_key": {"value": "key-1"}}]});
    let (status, problem) = post(&app, json!({"document": other})).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(
        problem["detail"],
        "sources[0].write_key: is the write key of source website already"
    );
    app.stop().await;
}

#[tokio::test]
async fn batching_is_validated_and_shown() {
    let app = Builder::new().start().await;
    let with = |batching: Value, content_type: &str| {
        let mut document = document("secret-one", URL);
        let mapping = &mut document["sources"][0]["destinations"][0]["mappings"][0];
        mapping["batching"] = batching;
        mapping["headers"]["Content-Type"] = json!(content_type);
        json!({"document": document})
    };
    let json_type = "application/json";
    let (status, problem) = post(&app, with(json!({"size": 4_001}), json_type)).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    let fault = &problem["faults"][0];
    assert_eq!(fault["path"], "sources[0].destinations[0].mappings[0].batching.size");
    assert_eq!(fault["message"], "should be 1 to 4000, not 4001");
    let form = "application/x-www-form-urlencoded";
    let (_, problem) = post(&app, with(json!({}), form)).await;
    let faults = problem["faults"].as_array().unwrap().iter();
    let paths: Vec<_> = faults.map(|fault| fault["path"].as_str().unwrap()).collect();
    assert!(paths.contains(&"sources[0].destinations[0].mappings[0].batching"), "{paths:?}");
    let (_, problem) = post(&app, with(json!({"sise": 1}), json_type)).await;
    assert!(problem.to_string().contains("sise"), "{problem}");
    assert_eq!(post(&app, with(json!({"size": 0}), json_type)).await.0, StatusCode::OK);
    let told = difference(&app, with(json!({"size": 10}), json_type)).await;
    assert_eq!(told, "change mapping website/warehouse/everything: batching.size: 1000 → 10");
    app.stop().await;
}

#[tokio::test]
async fn a_shared_secret_with_traces_of_copying_or_too_short_is_refused_with_the_reason() {
    let app = Builder::new().start().await;
    let ask = async |secret: &str, weak: bool| {
        let mut document = document(secret, URL);
        document["sources"][0]["destinations"][0]["allow_weak_secret"] = json!(weak);
        post(&app, json!({"document": document, "dry_run": true})).await
    };
    for (secret, reason) in [
        ("long-enough\n", "line break"),
        ("long-enough\r\n", "line break"),
        ("long-enough ", "space"),
        ("\u{a0}long-enough", "space"),
        ("\"long-enough\"", "quotation mark"),
        ("\u{feff}long-enough", "byte order mark"),
        ("whsec_%%", "base64"),
    ] {
        for weak in [false, true] {
            let (status, answer) = ask(secret, weak).await;
            assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{secret:?}");
            let fault = &answer["faults"][0];
            assert_eq!(fault["path"], "sources[0].destinations[0].shared_secret");
            let message = fault["message"].as_str().unwrap();
            assert!(message.contains(reason), "{secret:?}: {message}");
            assert!(!answer.to_string().contains("long-enough"), "{answer}");
        }
    }
    for short in ["abc123", "whsec_AAECAw=="] {
        let (status, answer) = ask(short, false).await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{short}");
        assert!(answer.to_string().contains("--weak"), "{answer}");
        assert_eq!(ask(short, true).await.0, StatusCode::OK, "{short}");
    }
    for good in ["whsec_AAECAwQFBgc", "whsec_AAECAwQFBgc=", "with \"quotes\" inside!"] {
        let (status, answer) = ask(good, false).await;
        assert_eq!(status, StatusCode::OK, "{good}: {answer}");
    }
}

#[tokio::test]
async fn a_name_that_means_another_place_in_a_path_is_refused() {
    let app = Builder::new().start().await;
    for name in [".", "..", "a\u{1b}[2J", "a/b", " a", "a\u{200b}", "a\u{202e}b", "a\u{ad}b"] {
        for place in 0..3 {
            let mut document = document("a-shared-secret", URL);
            let source = &mut document["sources"][0];
            match place {
                0 => source["name"] = json!(name),
                1 => source["destinations"][0]["name"] = json!(name),
                _ => source["destinations"][0]["mappings"][0]["name"] = json!(name),
            }
            let (status, answer) = post(&app, json!({"document": document})).await;
            assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{name:?}: {answer}");
        }
    }
    for name in ["...", ".a", "a.b", "größe", "日本"] {
        let mut document = document("a-shared-secret", URL);
        document["sources"][0]["name"] = json!(name);
        let (status, answer) = post(&app, json!({"document": document, "dry_run": true})).await;
        assert_eq!(status, StatusCode::OK, "{name}: {answer}");
    }
}

#[tokio::test]
async fn apply_weak_takes_a_short_shared_secret_that_apply_refuses() {
    let app = Builder::new().start().await;
    let short = document("abc123", URL);
    let file = app.dir.path().join("pipeline.json");
    std::fs::write(&file, short.to_string()).unwrap();
    let file = file.to_str().unwrap();
    let secrets = async || app.app.store.pipeline().await.unwrap().shared_secrets.len();
    let (code, _, stderr) = ask(&app, &["apply", "-f", file]).await;
    assert_ne!(code, 0);
    assert!(stderr.contains("--weak"), "{stderr}");
    assert!(!stderr.contains("abc123"), "{stderr}");
    assert_eq!(secrets().await, 0);
    let (code, _, stderr) = ask(&app, &["apply", "-f", file, "--weak"]).await;
    assert_eq!((code, secrets().await), (0, 1), "{stderr}");
    // What traces of copying are in is refused all the same.
    std::fs::write(file, document("long-enough ", URL).to_string()).unwrap();
    let (code, _, stderr) = ask(&app, &["apply", "-f", file, "--weak"]).await;
    assert_ne!(code, 0);
    assert!(stderr.contains("space"), "{stderr}");
}
