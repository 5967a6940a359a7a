//! The checks when a mapping with a function is saved, and the diff of a changed function.

use http::StatusCode;
use serde_json::{Value, json};

use crate::support::app::{Builder, TestApp};

fn document(function: &Value) -> Value {
    json!({"sources": [{"name": "s", "write_key": {"value": "k"}, "destinations": [{
        "name": "d",
        "mappings": [{"name": "m", "url": "http://127.0.0.1:9/", "function": function}],
    }]}]})
}

async fn post(app: &TestApp, function: &Value) -> (StatusCode, Value) {
    let request = json!({"document": document(function)});
    app.client.post("/api/v1/pipeline", &request).await.unwrap()
}

#[tokio::test]
async fn an_invalid_function_is_refused_with_the_position() {
    let app = Builder::new()
        .functions(|options| options.timeout = std::time::Duration::from_secs(3))
        .start()
        .await;
    let long = format!("function onTrack() {{}} // {}", "x".repeat(64 * 1024));
    let big = json!({"a": "x".repeat(16 * 1024)});
    let good = "function onTrack(event) { return event }";
    for (function, path, expected) in [
        (
            json!({"source": "function onTrack(event) {\n  return event +;\n}"}),
            ".source",
            "SyntaxError: ",
        ),
        (
            json!({"source": "function onTrack(event) {\n  return event +;\n}"}),
            ".source",
            "(line 2, column ",
        ),
        (
            json!({"source": "const fs = require('fs'); function onTrack() {}"}),
            ".source",
            "require is not defined (line 1",
        ),
        (
            json!({"source": "function ontrack(event) { return event }"}),
            ".source",
            "defines no handler: onTrack",
        ),
        (json!({"source": "const onTrack = 5"}), ".source", "defines no handler: onTrack"),
        (json!({"source": "for (;;);"}), ".source", "took longer than 3 s"),
        (json!({"source": " \n"}), ".source", "is empty"),
        (json!({"source": long}), ".source", "is longer than 64 KiB"),
        (json!({"source": "a\0"}), ".source", "NUL"),
        (json!({"source": good, "settings": big}), ".settings", "are longer than 16 KiB"),
        (json!({"file": "function.js"}), ".file", "files are read where `postrider apply` runs"),
        (json!({}), "", "has neither source nor file"),
    ] {
        let (status, problem) = post(&app, &function).await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{function}");
        let fault = &problem["faults"][0];
        assert_eq!(fault["path"], format!("sources[0].destinations[0].mappings[0].function{path}"));
        let message = fault["message"].as_str().unwrap();
        assert!(message.contains(expected), "{message}");
    }
    assert!(app.app.store.pipeline().await.unwrap().sources.is_empty());
    app.stop().await;
}

#[tokio::test]
async fn the_diff_of_a_function_hides_its_settings() {
    let app = Builder::new().start().await;
    let function = |body: &str, settings: Value| json!({"source": format!("function onTrack(event) {{ {body} }}"), "settings": settings});
    let mut told = Vec::new();
    let first = function("return event", json!({"key": "hush"}));
    let steps = [
        Value::Null,
        first.clone(),
        function("return null", json!({"key": "hush"})),
        function("return null", json!({"key": "other"})),
        Value::Null,
    ];
    for step in steps {
        let (status, answer) = post(&app, &step).await;
        assert_eq!(status, StatusCode::OK, "{answer}");
        let lines = answer["lines"].as_array().unwrap();
        told.push(lines.last().unwrap()["details"].to_string());
    }
    assert_eq!(
        told,
        [
            r#"["POST http://127.0.0.1:9/"]"#,
            r#"["function: added"]"#,
            r#"["function.source: changed"]"#,
            r#"["function.settings: changed"]"#,
            r#"["function: removed"]"#,
        ]
    );
    let (_, again) = post(&app, &Value::Null).await;
    assert_eq!(again["changed"], false);
    app.stop().await;
}
