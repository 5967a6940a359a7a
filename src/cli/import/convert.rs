//! Converts Segment's destinations and subscriptions to a pipeline document. Every difference gives a
//! finding; parts that `apply` would refuse are left out.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::export::{Export, is_enabled, object, text};
use super::outbound_auth::{self, Auth};
use super::subscription::{self, Draft};
use super::{Finding, Kind};
use crate::settings::Settings;

/// Segment's kinds of webhook destinations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Webhook {
    Classic,
    Actions,
    Extensible,
}

/// The document, and the list of differences.
pub(super) fn pipeline(export: &Export) -> (Value, Vec<Finding>) {
    let mut converting = Converting { export, findings: Vec::new() };
    let mut sources: Vec<(&str, Vec<&Map<String, Value>>)> = Vec::new();
    for destination in &export.destinations {
        let id = text(destination, "sourceId").unwrap_or("source");
        match sources.iter_mut().find(|(known, _)| *known == id) {
            Some((_, below)) => below.push(destination),
            None => sources.push((id, vec![destination])),
        }
    }
    let mut names = UniqueNames::default();
    let mut documents = Vec::new();
    for (id, below) in sources {
        documents.extend(converting.source(id, &below, &mut names));
    }
    converting.orphans();
    (json!({"sources": documents}), converting.findings)
}

struct Converting<'e> {
    export: &'e Export,
    findings: Vec<Finding>,
}

impl Converting<'_> {
    fn find(&mut self, at: &str, field: &str, kind: Kind, message: impl Into<String>) {
        let (at, field) = (at.to_owned(), field.to_owned());
        self.findings.push(Finding { at, field, kind, message: message.into() });
    }

    fn source(
        &mut self,
        id: &str,
        below: &[&Map<String, Value>],
        names: &mut UniqueNames,
    ) -> Option<Value> {
        let known = self.export.sources.iter().find(|source| text(source, "id") == Some(id));
        let given = known.and_then(|source| text(source, "name").or_else(|| text(source, "slug")));
        let name = names.take(given.unwrap_or(id));
        let mut inside = UniqueNames::default();
        let mut destinations = Vec::new();
        for destination in below {
            destinations.extend(self.destination(&name, destination, &mut inside));
        }
        if destinations.is_empty() {
            return None;
        }
        if given.is_none() {
            let message = "is named by its id: the answers for sources were not in the file";
            self.find(&name, "name", Kind::ToDo, message);
        }
        let message = "left out, so a new one is made and shown when the file is applied; to keep \
                       the senders as they are, add write_key: {env: …} with Segment's";
        self.find(&name, "write_key", Kind::ToDo, message);
        Some(json!({"name": name, "destinations": destinations}))
    }

    fn destination(
        &mut self,
        source: &str,
        given: &Map<String, Value>,
        names: &mut UniqueNames,
    ) -> Option<Value> {
        let metadata = object(given, "metadata");
        let kind_name = text(&metadata, "name").or_else(|| text(&metadata, "slug"));
        let wanted = text(given, "name").or(kind_name).or_else(|| text(given, "id"));
        let wanted = wanted.unwrap_or("destination");
        let settings = object(given, "settings");
        let Some(webhook) = webhook(&metadata, &settings) else {
            let at = format!("{source}/{wanted}");
            let message = format!("{} is no webhook", kind_name.unwrap_or("its kind"));
            self.find(&at, "", Kind::LeftOut, message);
            return None;
        };
        let name = names.take(wanted);
        let at = format!("{source}/{name}");
        let mut document = Map::new();
        document.insert("name".to_owned(), Value::from(name));
        document.insert("enabled".to_owned(), Value::from(is_enabled(given)));
        if webhook == Webhook::Classic {
            document.insert("policy".to_owned(), Value::from("any"));
        }
        if text(&settings, "sharedSecret").is_some() {
            self.secret(&at, "shared_secret", "settings.sharedSecret", &mut document);
        }
        let drafts = match webhook {
            Webhook::Classic => self.hooks(&at, &settings),
            Webhook::Actions | Webhook::Extensible => self.subscriptions(&at, given),
        };
        if webhook == Webhook::Extensible {
            self.auth(&at, &settings, &mut document);
        }
        self.other_settings(&at, webhook, &settings);
        let mappings = self.with_credentials(&at, drafts, &mut document);
        document.insert("mappings".to_owned(), Value::Array(mappings));
        Some(Value::Object(document))
    }

    /// Replaces a secret by a variable's name.
    fn secret(&mut self, at: &str, field: &str, theirs: &str, document: &mut Map<String, Value>) {
        let variable = variable(at, field);
        let message = format!("is not carried over: give it as the variable {variable}");
        self.find(at, theirs, Kind::ToDo, message);
        document.insert(field.to_owned(), json!({"env": variable}));
    }

    fn hooks(&mut self, at: &str, settings: &Map<String, Value>) -> Vec<Draft> {
        let empty = Vec::new();
        let hooks = settings.get("hooks").and_then(Value::as_array).unwrap_or(&empty);
        let mut urls: Vec<(&str, Option<&Value>)> = Vec::new();
        for hook in hooks {
            let url = hook.as_str().or_else(|| text(hook.as_object()?, "hook"));
            urls.extend(url.map(|url| (url, hook.get("headers"))));
        }
        match text(settings, "globalHook") {
            Some(url) if urls.is_empty() => urls.push((url, None)),
            Some(url) if !urls.iter().any(|(known, _)| *known == url) => {
                let message = "is none of the hooks, and those are what is carried over";
                self.find(at, "settings.globalHook", Kind::LeftOut, message);
            }
            Some(_) | None => {}
        }
        let mut drafts = Vec::new();
        for (index, (url, headers)) in urls.iter().enumerate() {
            let name = format!("hook {}", index + 1);
            let below = format!("{at}/{name}");
            let mut given = Map::new();
            given.insert("url".to_owned(), Value::from(*url));
            given.insert("headers".to_owned(), pairs(*headers));
            let mut taking = subscription::Taking::new(&below, &mut self.findings);
            drafts.extend(taking.draft(name, true, "", &given));
        }
        drafts
    }

    fn subscriptions(&mut self, at: &str, destination: &Map<String, Value>) -> Vec<Draft> {
        let id = text(destination, "id");
        let export = self.export;
        let own = export.subscriptions.iter().filter(|it| text(it, "destinationId") == id);
        let mut names = UniqueNames::default();
        let mut drafts = Vec::new();
        for given in own {
            let wanted = text(given, "name").or_else(|| text(given, "id")).unwrap_or("mapping");
            let name = names.take(wanted);
            let below = format!("{at}/{name}");
            if let Some(action) = text(given, "actionSlug").filter(|slug| *slug != "send") {
                let message = format!("there is no action {action} here, only send");
                self.find(&below, "actionSlug", Kind::LeftOut, message);
                continue;
            }
            if text(given, "modelId").is_some() {
                let message = "it sends what a warehouse model finds, and there are none here";
                self.find(&below, "modelId", Kind::LeftOut, message);
                continue;
            }
            let trigger = text(given, "trigger").unwrap_or("");
            let settings = object(given, "settings");
            let mut taking = subscription::Taking::new(&below, &mut self.findings);
            drafts.extend(taking.draft(name, is_enabled(given), trigger, &settings));
        }
        if drafts.is_empty() {
            let message = "it has no mappings: are the answers for its subscriptions in the file?";
            self.find(at, "", Kind::ToDo, message);
        }
        let limit = Settings::default().mappings_per_destination as usize;
        if drafts.len() > limit {
            let message = format!("more than {limit}: raise the setting mappings_per_destination");
            self.find(at, "subscriptions", Kind::ToDo, message);
        }
        drafts
    }

    fn auth(&mut self, at: &str, settings: &Map<String, Value>, document: &mut Map<String, Value>) {
        let field = "settings.dynamicAuthSettings";
        match outbound_auth::auth(settings, &|what| variable(at, what)) {
            Auth::None => {}
            Auth::Of(auth) => {
                let what = ["token", "client_secret"].into_iter().find_map(|it| auth.get(it));
                let variable = what.and_then(|it| text(it.as_object()?, "env")).unwrap_or("");
                let message = format!(
                    "its secret is not carried over: give it as the variable {variable}; with \
                     OAuth, connect the destination again"
                );
                self.find(at, field, Kind::ToDo, message);
                document.insert("auth".to_owned(), auth);
            }
            Auth::Unfinished(why) => {
                let message = format!("{why}: write the destination's auth, then enable it");
                self.find(at, field, Kind::ToDo, message);
                document.insert("enabled".to_owned(), Value::from(false));
            }
        }
        if let Some(left_out) = outbound_auth::left_out(settings) {
            let message = "see the destination's auth: client_auth and parameters";
            self.find(at, &format!("settings.{left_out}"), Kind::LeftOut, message);
        }
    }

    fn other_settings(&mut self, at: &str, webhook: Webhook, settings: &Map<String, Value>) {
        let known: &[&str] = match webhook {
            Webhook::Classic => &["hooks", "globalHook", "sharedSecret"],
            Webhook::Actions => &["sharedSecret"],
            Webhook::Extensible => &["sharedSecret", "dynamicAuthSettings"],
        };
        for name in settings.keys().filter(|name| !known.contains(&name.as_str())) {
            let message = "there is no such setting here";
            self.find(at, &format!("settings.{name}"), Kind::LeftOut, message);
        }
    }

    /// The mappings. A secret header with the same value in all of them becomes the destination's; one
    /// that only some have is left out, so that the other receivers do not get it.
    fn with_credentials(
        &mut self,
        at: &str,
        drafts: Vec<Draft>,
        document: &mut Map<String, Value>,
    ) -> Vec<Value> {
        let authorizes = document.contains_key("auth");
        let shared: BTreeSet<String> = match drafts.split_first() {
            Some((first, rest)) if !authorizes => first
                .credentials
                .iter()
                .filter(|(name, value)| {
                    value.is_some()
                        && rest.iter().all(|it| it.credentials.get(*name) == Some(*value))
                })
                .map(|(name, _)| name.clone())
                .collect(),
            Some(_) | None => BTreeSet::new(),
        };
        let mut secret_headers = Map::new();
        for name in &shared {
            let variable = variable(at, name);
            let message = format!("holds a secret: give it as the variable {variable}");
            self.find(at, &format!("settings.headers.{name}"), Kind::ToDo, message);
            secret_headers.insert(name.clone(), json!({"env": variable}));
        }
        if !secret_headers.is_empty() {
            document.insert("secret_headers".to_owned(), Value::Object(secret_headers));
        }
        let mut mappings = Vec::new();
        for mut draft in drafts {
            for name in draft.credentials.keys().filter(|name| !shared.contains(*name)) {
                let below = format!("{at}/{}", draft.name);
                let message = "holds a secret that cannot be the whole destination's: give the \
                               mapping a destination of its own with secret_headers, then enable \
                               it";
                self.find(&below, &format!("settings.headers.{name}"), Kind::ToDo, message);
                draft.mapping.insert("enabled".to_owned(), Value::from(false));
            }
            mappings.push(Value::Object(draft.mapping));
        }
        mappings
    }

    /// Subscriptions whose destination is not in the file.
    fn orphans(&mut self) {
        let export = self.export;
        for given in &export.subscriptions {
            let id = text(given, "destinationId");
            if !export.destinations.iter().any(|destination| text(destination, "id") == id) {
                let name = text(given, "name").or_else(|| text(given, "id")).unwrap_or("a mapping");
                let message = format!("its destination {} is not in the file", id.unwrap_or("-"));
                self.find(name, "destinationId", Kind::LeftOut, message);
            }
        }
    }
}

fn webhook(metadata: &Map<String, Value>, settings: &Map<String, Value>) -> Option<Webhook> {
    match text(metadata, "slug") {
        Some("webhooks") => return Some(Webhook::Classic),
        Some("actions-webhook") => return Some(Webhook::Actions),
        Some("actions-webhook-extensible") => return Some(Webhook::Extensible),
        Some(_) => return None,
        None => {}
    }
    // Some tools keep nothing of the metadata but its id.
    match text(metadata, "id") {
        Some("54521fdc25e721e32a72ef04") => Some(Webhook::Classic),
        Some("614a3c7d791c91c41bae7599") => Some(Webhook::Actions),
        Some(_) | None if settings.contains_key("hooks") => Some(Webhook::Classic),
        Some(_) | None if settings.contains_key("dynamicAuthSettings") => Some(Webhook::Extensible),
        Some(_) | None => None,
    }
}

/// A classic hook's headers, `[{key, value}]`, as an object.
fn pairs(headers: Option<&Value>) -> Value {
    let mut object = Map::new();
    for pair in headers.and_then(Value::as_array).into_iter().flatten() {
        let Some(pair) = pair.as_object() else { continue };
        if let (Some(key), Some(value)) = (text(pair, "key"), pair.get("value")) {
            object.insert(key.trim().to_owned(), value.clone());
        }
    }
    Value::Object(object)
}

/// A variable's name for a secret of a destination.
fn variable(at: &str, what: &str) -> String {
    let plain = |char: char| if char.is_ascii_alphanumeric() { char } else { '_' };
    let name: String = format!("{at}_{what}").chars().map(plain).collect();
    let name = name.to_ascii_uppercase();
    if name.starts_with(|char: char| char.is_ascii_digit()) { format!("_{name}") } else { name }
}

/// Names in use.
#[derive(Debug, Default)]
struct UniqueNames(Vec<String>);

impl UniqueNames {
    /// A valid name that is not in use.
    fn take(&mut self, wanted: &str) -> String {
        const MAX: usize = 90;
        let clean: String = wanted
            .chars()
            .map(|char| if char == '/' || char.is_control() { '-' } else { char })
            .take(MAX)
            .collect();
        let clean = clean.trim();
        let clean = if clean.is_empty() { "unnamed" } else { clean };
        let mut name = clean.to_owned();
        let mut number = 1;
        while self.0.contains(&name) {
            number += 1;
            name = format!("{clean} {number}");
        }
        self.0.push(name.clone());
        name
    }
}
