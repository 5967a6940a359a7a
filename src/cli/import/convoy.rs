//! `import convoy`: the endpoints and subscriptions of a project, as Convoy's API lists them.

use serde_json::{Map, Value};

use super::super::failure::Failure;
use super::endpoint::{Destinations, Endpoint, Route};
use super::export::{object, text};
use super::report::{Findings, Imported, Kind};

/// Fields of an endpoint that are carried over, or say nothing about deliveries.
const KNOWN: [&str; 25] = [
    "uid",
    "project_id",
    "owner_id",
    "name",
    "title",
    "url",
    "target_url",
    "description",
    "status",
    "secrets",
    "secret",
    "authentication",
    "http_timeout",
    "rate_limit",
    "rate_limit_duration",
    "support_email",
    "slack_webhook_url",
    "events",
    "created_at",
    "updated_at",
    "deleted_at",
    "advanced_signatures",
    "content_type",
    "is_encrypted",
    "failure_rate",
];

#[derive(Default)]
struct Project<'a> {
    endpoints: Vec<&'a Map<String, Value>>,
    subscriptions: Vec<&'a Map<String, Value>>,
    /// Whether the answer with subscriptions was read, even if it has none.
    has_subscriptions: bool,
}

/// The document, and the list of differences.
///
/// # Errors
/// When a page is missing, or there are no endpoints.
pub(super) fn import(answers: &[Value]) -> anyhow::Result<Imported> {
    let mut project = Project::default();
    let mut pages = Vec::new();
    answers.iter().for_each(|answer| project.take(answer, &mut pages));
    let open = pages.iter().filter(|(has_next, _)| *has_next).count();
    // Each list that goes on has a page more, the last one, that does not.
    let ended = pages.len() - open;
    if open > 0 && ended == 0 {
        let cursor = pages.iter().rev().find_map(|(_, cursor)| *cursor).unwrap_or("not given");
        let message = format!("the page that follows is missing: its cursor is {cursor}");
        let hint = "ask for it with ?next_page_cursor=…, and give all pages: \
                    postrider import convoy PAGE1 PAGE2";
        return Err(Failure::usage(message).hint(hint).into());
    }
    if project.endpoints.is_empty() {
        return Err(Failure::usage("there are no endpoints in what was read")
            .hint("postrider import convoy --help says what the file should hold")
            .into());
    }
    let mut destinations = Destinations::of("convoy");
    for endpoint in &project.endpoints {
        project.convert(endpoint, &mut destinations);
    }
    project.orphans(&mut destinations.findings);
    Ok(Imported { document: destinations.document(), findings: destinations.findings })
}

impl<'a> Project<'a> {
    fn take(&mut self, value: &'a Value, pages: &mut Vec<(bool, Option<&'a str>)>) {
        match value {
            Value::Array(items) => items.iter().for_each(|item| self.take(item, pages)),
            Value::Object(object) if is_subscription(object) => {
                self.has_subscriptions = true;
                self.subscriptions.push(object);
            }
            Value::Object(object)
                if object.contains_key("url") || object.contains_key("target_url") =>
            {
                self.endpoints.push(object);
            }
            Value::Object(object) => {
                if let Some(pagination) = object.get("pagination").and_then(Value::as_object) {
                    let has_next = pagination.get("has_next_page") == Some(&Value::Bool(true));
                    pages.push((has_next, text(pagination, "next_page_cursor")));
                }
                self.has_subscriptions |= object.contains_key("subscriptions");
                for name in ["data", "content", "endpoints", "subscriptions"] {
                    object.get(name).into_iter().for_each(|below| self.take(below, pages));
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }

    fn convert(&self, given: &Map<String, Value>, destinations: &mut Destinations) {
        let wanted = ["name", "title", "uid"].into_iter().find_map(|it| text(given, it));
        let (name, at) = destinations.take_name(wanted.unwrap_or("endpoint"));
        let findings = &mut destinations.findings;
        let message =
            "X-Convoy-Signature is not sent: receivers verify webhook-signature or X-Signature";
        findings.add(&at, "signature", Kind::Changed, message);
        for field in given.keys().filter(|field| !KNOWN.contains(&field.as_str())) {
            if !given[field].is_null() {
                findings.add(&at, field, Kind::LeftOut, "nothing is imported from it");
            }
        }
        let mut hidden_headers = Vec::new();
        let key = object(&object(given, "authentication"), "api_key");
        match text(&key, "header_name") {
            Some(header) => hidden_headers.push(header.to_owned()),
            None if object(given, "authentication").is_empty() => {}
            None => {
                let message = "its kind has no counterpart: see the destination's auth";
                findings.add(&at, "authentication", Kind::ToDo, message);
            }
        }
        let is_active = text(given, "status").is_none_or(|status| status == "active");
        let content_type = text(given, "content_type").filter(|it| *it != "application/json");
        if let Some(content_type) = content_type {
            let message = format!("{content_type} is not carried over: bodies are JSON");
            findings.add(&at, "content_type", Kind::LeftOut, message);
        }
        let routes = self.routes(given, &at, findings);
        let endpoint = Endpoint {
            name,
            url: text(given, "url").or_else(|| text(given, "target_url")).unwrap_or("").to_owned(),
            enabled: is_active && self.has_subscriptions,
            rate_per_second: rate(given),
            timeout_ms: seconds(given.get("http_timeout"))
                .map(|it| it * 1_000)
                .filter(|it| *it > 0),
            headers: Map::new(),
            hidden_headers,
            routes,
        };
        destinations.add(&at, endpoint);
    }

    fn routes(
        &self,
        endpoint: &Map<String, Value>,
        at: &str,
        findings: &mut Findings,
    ) -> Vec<Route> {
        if !self.has_subscriptions {
            let message = "its subscriptions are not in the file: the destination is disabled, and its mapping \
                           takes every type";
            findings.add(at, "subscriptions", Kind::ToDo, message);
            return vec![Route { name: "messages".to_owned(), enabled: true, types: Vec::new() }];
        }
        let uid = text(endpoint, "uid");
        let own = self
            .subscriptions
            .iter()
            .filter(|it| endpoint_of(it).is_some_and(|id| Some(id) == uid));
        let routes: Vec<Route> = own.map(|it| route(it, at, findings)).collect();
        if routes.is_empty() {
            let message = "it has no subscriptions, and gets nothing";
            findings.add(at, "subscriptions", Kind::Changed, message);
        }
        routes
    }

    /// Subscriptions whose endpoint is not in the file.
    fn orphans(&self, findings: &mut Findings) {
        for given in &self.subscriptions {
            let id = endpoint_of(given);
            if !self.endpoints.iter().any(|it| text(it, "uid") == id) {
                let name = text(given, "name").or_else(|| text(given, "uid")).unwrap_or("-");
                let message = format!("its endpoint {} is not in the file", id.unwrap_or("-"));
                findings.add(name, "endpoint_id", Kind::LeftOut, message);
            }
        }
    }
}

fn is_subscription(object: &Map<String, Value>) -> bool {
    ["filter_config", "endpoint_metadata", "endpoint_id"].iter().any(|it| object.contains_key(*it))
}

fn endpoint_of(subscription: &Map<String, Value>) -> Option<&str> {
    let metadata = subscription.get("endpoint_metadata").and_then(Value::as_object);
    metadata.and_then(|it| text(it, "uid")).or_else(|| text(subscription, "endpoint_id"))
}

fn route(given: &Map<String, Value>, at: &str, findings: &mut Findings) -> Route {
    let name = text(given, "name").or_else(|| text(given, "uid")).unwrap_or("messages");
    let below = format!("{at}/{name}");
    let filters = object(given, "filter_config");
    let types = filters.get("event_types").and_then(Value::as_array).into_iter().flatten();
    let types: Vec<String> = types.filter_map(Value::as_str).map(ToOwned::to_owned).collect();
    let types = if types.iter().any(|it| it == "*") { Vec::new() } else { types };
    let filter = object(&filters, "filter");
    let mut enabled = true;
    for part in ["body", "headers", "query", "path"] {
        if !object(&filter, part).is_empty() {
            enabled = false;
            let message = "is no condition of the trigger yet: the mapping is disabled. Write it there, then \
                           enable it";
            findings.add(&below, &format!("filter_config.filter.{part}"), Kind::ToDo, message);
        }
    }
    if text(given, "function").is_some() {
        enabled = false;
        let message =
            "copy it into the mapping's function as onTrack(event), then enable the mapping";
        findings.add(&below, "function", Kind::ToDo, message);
    }
    for field in ["retry_config", "rate_limit_config", "alert_config"] {
        if given.get(field).is_some_and(|it| !it.is_null()) {
            let message = "retries, rates and alerts are the destination's and the service's here";
            findings.add(&below, field, Kind::LeftOut, message);
        }
    }
    Route { name: name.to_owned(), enabled, types }
}

/// Seconds, as a number or as text such as `10s`.
fn seconds(value: Option<&Value>) -> Option<u64> {
    match value? {
        Value::Number(number) => number.as_u64(),
        Value::String(text) => text.trim().trim_end_matches('s').parse().ok(),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    }
}

/// Requests per second, rounded up; zero is no limit.
fn rate(given: &Map<String, Value>) -> Option<u64> {
    let limit = given.get("rate_limit")?.as_u64().filter(|limit| *limit > 0)?;
    let duration = seconds(given.get("rate_limit_duration")).filter(|it| *it > 0).unwrap_or(1);
    Some(limit.div_ceil(duration))
}
