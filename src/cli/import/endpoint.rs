//! Endpoints of services that deliver messages of a type with a payload: each becomes a destination. A message
//! becomes a track event here, named by its type, with the payload as its properties.

use serde_json::{Map, Value, json};

use super::credentials::{Credential, Credentials, take_from_url};
use super::names::{UniqueNames, variable};
use super::report::{Findings, Kind};
use crate::domain::connection_headers::is_connection_header;
use crate::sender::is_credential;

/// An endpoint with what it is sent.
#[derive(Debug, Default)]
pub(super) struct Endpoint {
    pub(super) name: String,
    pub(super) url: String,
    pub(super) enabled: bool,
    /// Requests per second.
    pub(super) rate_per_second: Option<u64>,
    pub(super) timeout_ms: Option<u64>,
    pub(super) headers: Map<String, Value>,
    /// Names of headers whose values the API does not show.
    pub(super) hidden_headers: Vec<String>,
    pub(super) routes: Vec<Route>,
}

/// What an endpoint is sent.
#[derive(Debug)]
pub(super) struct Route {
    pub(super) name: String,
    pub(super) enabled: bool,
    /// Types of messages; empty: every type.
    pub(super) types: Vec<String>,
}

/// Destinations of one source.
#[derive(Debug)]
pub(super) struct Destinations {
    source: &'static str,
    names: UniqueNames,
    documents: Vec<Value>,
    pub(super) findings: Findings,
}

impl Destinations {
    /// Of a source with this name.
    pub(super) fn of(source: &'static str) -> Self {
        let (names, documents, findings) =
            (UniqueNames::default(), Vec::new(), Findings::default());
        Self { source, names, documents, findings }
    }

    /// The path that an endpoint of this name gets.
    pub(super) fn take_name(&mut self, wanted: &str) -> (String, String) {
        let name = self.names.take(wanted);
        let at = format!("{}/{name}", self.source);
        (name, at)
    }

    /// Adds a destination; its name was taken.
    pub(super) fn add(&mut self, at: &str, endpoint: Endpoint) {
        let mut document = Map::new();
        document.insert("name".to_owned(), Value::from(endpoint.name.as_str()));
        document.insert("enabled".to_owned(), Value::from(endpoint.enabled));
        document.insert("shared_secret".to_owned(), json!({"env": variable(at, "SHARED_SECRET")}));
        self.findings.add(
            at,
            "secret",
            Kind::ToDo,
            format!(
                "is not carried over: give it as the variable {}",
                variable(at, "SHARED_SECRET")
            ),
        );
        if let Some(rate) = endpoint.rate_per_second {
            document.insert("rate_per_second".to_owned(), Value::from(rate.clamp(1, 100_000)));
        }
        if let Some(timeout) = endpoint.timeout_ms {
            document.insert("timeout_ms".to_owned(), Value::from(timeout.clamp(1_000, 30_000)));
        }
        let (mut url, mut credentials) = (Value::from(endpoint.url), Credentials::new());
        take_from_url(&mut url, &mut credentials);
        let mut headers = Map::new();
        for (name, value) in endpoint.headers {
            let lower = name.to_ascii_lowercase();
            if is_connection_header(&lower) || lower.starts_with("webhook-") {
                let message = "is set by Postrider and cannot be overridden";
                self.findings.add(at, &format!("headers.{name}"), Kind::LeftOut, message);
            } else if is_credential(&name) {
                credentials.insert(Credential::Header(name), None);
            } else {
                headers.insert(name, value);
            }
        }
        let hidden = endpoint.hidden_headers.into_iter().map(|it| (Credential::Header(it), None));
        credentials.extend(hidden);
        self.secrets(at, credentials, &mut document);
        let mut names = UniqueNames::default();
        let mappings = endpoint.routes.into_iter().map(|route| {
            let mut mapping = json!({
                "name": names.take(&route.name), "enabled": route.enabled,
                "trigger": trigger(&route.types), "url": url,
                "data": {"@path": "$.properties"},
            });
            if !headers.is_empty() {
                mapping["headers"] = Value::Object(headers.clone());
            }
            mapping
        });
        document.insert("mappings".to_owned(), mappings.collect());
        self.documents.push(Value::Object(document));
    }

    /// Secret headers and parameters belong to the endpoint's destination.
    fn secrets(&mut self, at: &str, credentials: Credentials, document: &mut Map<String, Value>) {
        for one in credentials.into_keys() {
            let (field, list, name) = match one {
                Credential::Header(name) => (format!("headers.{name}"), "secret_headers", name),
                Credential::Parameter(name) => (format!("url?{name}"), "secret_parameters", name),
            };
            let variable = variable(at, &name);
            let message = format!("holds a secret: give it as the variable {variable}");
            self.findings.add(at, &field, Kind::ToDo, message);
            let secrets = document.entry(list).or_insert_with(|| json!({}));
            secrets[name.as_str()] = json!({"env": variable});
        }
    }

    /// The pipeline document.
    pub(super) fn document(&mut self) -> Value {
        let message = "a new one is made and shown when the file is applied: senders send each message as a \
                       track event named by its type, with the payload as properties";
        self.findings.add(self.source, "write_key", Kind::ToDo, message);
        let destinations = std::mem::take(&mut self.documents);
        json!({"sources": [{"name": self.source, "destinations": destinations}]})
    }
}

/// Matches messages of these types. A type such as `invoice.*` has a pattern.
fn trigger(types: &[String]) -> String {
    let condition = |kind: &String| {
        let quoted = Value::from(kind.as_str()).to_string();
        if kind.contains('*') {
            format!("match(event, {quoted})")
        } else {
            format!("event = {quoted}")
        }
    };
    let names: Vec<String> = types.iter().map(condition).collect();
    match names.as_slice() {
        [] => "type = \"track\"".to_owned(),
        [one] => format!("type = \"track\" and {one}"),
        several => format!("type = \"track\" and ({})", several.join(" or ")),
    }
}
