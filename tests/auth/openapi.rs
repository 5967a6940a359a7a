//! The OpenAPI document against the API.

use std::collections::BTreeSet;

use http::Method;
use serde_json::{Value, json};

use super::{bare, bearing, with_role};
use crate::support::app::{Builder, TestApp, pipeline};

/// Every operation: method, path with its placeholders filled, and what is said of it.
async fn operations(app: &TestApp) -> Vec<(Method, String, Value)> {
    let (status, document) = app.client.get("/openapi.json").await.unwrap();
    assert_eq!(status, 200);
    let mut operations = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let filled: Vec<&str> =
                path.split('/').map(|it| if it.starts_with('{') { "x" } else { it }).collect();
            let method = method.to_uppercase().parse().unwrap();
            operations.push((method, filled.join("/"), operation.clone()));
        }
    }
    assert!(operations.len() > 20, "{}", operations.len());
    operations
}

#[tokio::test]
async fn every_described_operation_exists_and_requires_a_token() {
    let app = Builder::new().start().await;
    let nobody = bearing(&app, "prt_nobody");
    for (method, path, operation) in operations(&app).await {
        let status = bare(&nobody, method.clone(), &path).await.status;
        let open = operation.get("security").is_none();
        assert_eq!(open, !path.starts_with("/api/v1/"), "{method} {path}");
        assert_eq!(status == 401, !open, "{method} {path}: {status}");
        assert_ne!(status, 405, "{method} {path}");
    }
}

#[tokio::test]
async fn every_operation_describes_itself_and_its_errors() {
    let app = Builder::new().start().await;
    let mut ids = BTreeSet::new();
    for (method, path, operation) in operations(&app).await {
        let said = |what: &str| operation[what].as_str().is_some_and(|text| !text.is_empty());
        assert!(said("summary"), "{method} {path}");
        assert!(ids.insert(operation["operationId"].to_string()), "{method} {path}");
        for parameter in operation["parameters"].as_array().into_iter().flatten() {
            assert!(parameter["schema"].is_object(), "{method} {path}: {parameter}");
            let described = parameter["description"].as_str().is_some_and(|it| !it.is_empty());
            assert!(described, "{method} {path}: {parameter}");
        }
        for (status, response) in operation["responses"].as_object().unwrap() {
            // A head that is too large is refused before anything is known of its request.
            let refusal = status.as_str() >= "400" && status != "431" && path.starts_with("/api/");
            let problem = &response["content"]["application/problem+json"];
            assert_eq!(problem.is_object(), refusal, "{method} {path} {status}");
        }
    }
}

/// What a list does not take it names with all that it takes: that is what is described.
#[tokio::test]
async fn exactly_the_filters_of_each_list_are_described() {
    let app = Builder::new().settings(|it| it.inspector = true).start().await;
    app.apply(pipeline(&[("x", "https://127.0.0.1:1/", json!({}))])).await;
    let mut lists = 0;
    for (method, path, operation) in operations(&app).await {
        if method != Method::GET
            || !path.starts_with("/api/")
            || path.contains("inspectors/x/stream")
        {
            continue;
        }
        let parameters = operation["parameters"].as_array().into_iter().flatten();
        let described: BTreeSet<&str> = parameters
            .filter(|it| it["in"] == "query")
            .map(|it| it["name"].as_str().unwrap())
            .collect();
        let path = path.replace("/x/x/x", "/website/x/everything");
        let (status, problem) = app.client.get(&format!("{path}?no-such=1")).await.unwrap();
        let told = problem["faults"][0]["message"].as_str().unwrap_or_default();
        let Some((_, known)) = told.split_once("(filters: ") else {
            // What has a query of a fixed shape, or none.
            let fixed = ["/audit/verification", "/diff"].iter().any(|end| path.ends_with(end));
            assert_eq!(fixed, !described.is_empty(), "{path} takes none: {problem}");
            continue;
        };
        assert_eq!(status, 422, "{path}");
        let taken: BTreeSet<&str> = known.trim_end_matches(')').split(", ").collect();
        assert_eq!(described, taken, "{path}");
        for name in taken {
            if path.ends_with("/stream") {
                continue;
            }
            let (_, answer) = app.client.get(&format!("{path}?{name}=%00")).await.unwrap();
            assert!(
                !answer.to_string().contains("is not a filter of this list"),
                "{path}?{name}: {answer}"
            );
        }
        lists += 1;
    }
    assert!(lists >= 10, "{lists}");
    app.stop().await;
}

#[tokio::test]
async fn a_viewer_can_change_nothing() {
    let app = Builder::new().start().await;
    let viewer = with_role(&app, "viewer", &[]).await;
    for (method, path, _) in operations(&app).await {
        // Streams go on as long as they are listened to.
        if path.starts_with("/api/") && !path.ends_with("/stream") {
            let refused = bare(&viewer, method.clone(), &path).await.status == 403;
            assert_eq!(refused, method != Method::GET, "{method} {path}");
        }
    }
}

/// Routes come from descriptions alone, so that none is without one.
#[test]
fn every_route_is_described() {
    let faults: Vec<String> = crate::tidy::files(&["src/api"], "rs")
        .iter()
        .filter(|file| file.text.contains(".route("))
        // What describes the API, and what is a receiver's door and no part of it.
        .filter(|file| !["src/api/docs.rs", "src/api/inspectors.rs"].contains(&&*file.path))
        .map(|file| file.path.clone())
        .collect();
    assert!(faults.is_empty(), "enter it with routes!: {faults:?}");
}

/// A browser that obeys the page's policy shows all of it: nothing inline, nothing from elsewhere.
#[tokio::test]
async fn the_docs_page_shows_every_operation_and_loads_nothing_external() {
    let app = Builder::new().start().await;
    let page = bare(&app.client, Method::GET, "/docs").await;
    assert_eq!(page.status, 200);
    let policy = page.headers["content-security-policy"].to_str().unwrap();
    assert!(policy.starts_with("default-src 'none'; style-src 'self'"), "{policy}");
    let text = String::from_utf8(page.body.to_vec()).unwrap();
    for (_, _, operation) in operations(&app).await {
        let id = operation["operationId"].as_str().unwrap();
        assert!(text.contains(&format!("<details id=\"{id}\">")), "{id}");
    }
    // Every link leads to a part of the page that is there, or to a path of this service.
    for target in text.split("href=\"").skip(1).map(|it| it.split('"').next().unwrap()) {
        let there =
            target.strip_prefix('#').is_none_or(|id| text.contains(&format!("id=\"{id}\"")));
        assert!(there && !target.contains("://"), "{target}");
    }
    for inline in ["<script", "<style", " style=", " onclick=", "src="] {
        assert!(!text.contains(inline), "{inline}");
    }
    assert_eq!(bare(&app.client, Method::GET, "/docs/style.css").await.status, 200);
}
