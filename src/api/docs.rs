//! The OpenAPI document as JSON and as an HTML page that loads only its own style sheet. It is
//! generated on first use: it is rarely requested, and generating it takes more memory than the
//! rest of startup.

use std::sync::{Arc, OnceLock};

use askama::Template;
use axum::Router;
use axum::http::{HeaderName, HeaderValue, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use bytes::Bytes;
use serde_json::Value;
use utoipa::openapi::OpenApi;

use super::Api;

/// The Content Security Policy of the page.
const POLICY: &str = "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; \
                      frame-ancestors 'none'";
const STYLE: &str = include_str!("../../assets/docs.css");

/// The document in both formats.
struct Texts {
    json: Bytes,
    page: Bytes,
}

impl Texts {
    fn of(document: &OpenApi) -> Self {
        let (json, page) = match serde_json::to_value(document) {
            Ok(value) => (value.to_string(), Page::of(&value).render()),
            Err(error) => (String::new(), Err(askama::Error::custom(error))),
        };
        let page = page.unwrap_or_else(|error| {
            tracing::error!(%error, "the API documentation page cannot be rendered");
            String::new()
        });
        Self { json: json.into(), page: page.into() }
    }
}

/// The routes of the document, which `describe` generates.
pub(super) fn routes(describe: fn() -> OpenApi) -> Router<Arc<Api>> {
    let made = Arc::new(OnceLock::new());
    let made_for_page = Arc::clone(&made);
    let texts = move |made: &OnceLock<Texts>, form: fn(&Texts) -> &Bytes| {
        form(made.get_or_init(|| Texts::of(&describe()))).clone()
    };
    let json = move || async move { answer("application/json", texts(&made, |it| &it.json)) };
    let page = move || async move {
        answer("text/html; charset=utf-8", texts(&made_for_page, |it| &it.page))
    };
    let style = async || answer("text/css; charset=utf-8", Bytes::from_static(STYLE.as_bytes()));
    Router::new()
        .route("/openapi.json", get(json))
        .route("/docs", get(page))
        .route("/docs/style.css", get(style))
}

fn answer(kind: &'static str, text: Bytes) -> Response {
    let headers: [(HeaderName, HeaderValue); 4] = [
        (header::CONTENT_TYPE, HeaderValue::from_static(kind)),
        (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY)),
        (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
        (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    ];
    (headers, text).into_response()
}

/// The page: every operation with its parameters, bodies and responses, then every schema.
#[derive(Template)]
#[template(path = "docs.html")]
struct Page {
    title: String,
    version: String,
    about: Vec<String>,
    tags: Vec<Tag>,
    schemas: Vec<(String, String)>,
}

struct Tag {
    name: String,
    operations: Vec<Operation>,
}

struct Operation {
    id: String,
    method: String,
    path: String,
    summary: String,
    description: String,
    parameters: Vec<Parameter>,
    body: Option<Shape>,
    answers: Vec<(String, String, Option<Shape>)>,
}

struct Parameter {
    name: String,
    place: String,
    required: bool,
    description: String,
    schema: String,
}

/// The schema of a body: named, or inline.
struct Shape {
    name: Option<String>,
    text: String,
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn fields(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flatten()
}

impl Page {
    fn of(document: &Value) -> Self {
        let mut tags: Vec<Tag> = Vec::new();
        for (path, item) in fields(&document["paths"]) {
            for (method, operation) in fields(item) {
                let name = text(&operation["tags"][0]);
                let shown = Operation::of(method, path, operation);
                match tags.iter_mut().find(|tag| tag.name == name) {
                    Some(tag) => tag.operations.push(shown),
                    None => tags.push(Tag { name, operations: vec![shown] }),
                }
            }
        }
        let schemas = fields(&document["components"]["schemas"]);
        Self {
            title: text(&document["info"]["title"]),
            version: text(&document["info"]["version"]),
            about: text(&document["info"]["description"])
                .split("\n\n")
                .map(str::to_owned)
                .collect(),
            tags,
            schemas: schemas.map(|(name, schema)| (name.clone(), format!("{schema:#}"))).collect(),
        }
    }
}

impl Operation {
    fn of(method: &str, path: &str, operation: &Value) -> Self {
        let parameters = operation["parameters"].as_array().into_iter().flatten();
        let answers = fields(&operation["responses"]).map(|(status, answer)| {
            (status.clone(), text(&answer["description"]), Shape::of(&answer["content"]))
        });
        Self {
            id: text(&operation["operationId"]),
            method: method.to_uppercase(),
            path: path.to_owned(),
            summary: text(&operation["summary"]),
            description: text(&operation["description"]),
            parameters: parameters.map(Parameter::of).collect(),
            body: Shape::of(&operation["requestBody"]["content"]),
            answers: answers.collect(),
        }
    }
}

impl Parameter {
    fn of(parameter: &Value) -> Self {
        Self {
            name: text(&parameter["name"]),
            place: text(&parameter["in"]),
            required: parameter["required"] == true,
            description: text(&parameter["description"]),
            schema: parameter["schema"].to_string(),
        }
    }
}

impl Shape {
    fn of(content: &Value) -> Option<Self> {
        let (kind, content) = fields(content).next()?;
        let schema = &content["schema"];
        let name = schema["$ref"].as_str().and_then(|to| to.rsplit('/').next());
        let text = if name.is_some() { kind.clone() } else { format!("{kind} {schema}") };
        Some(Self { name: name.map(str::to_owned), text })
    }
}
