//! Converts Segment's destinations, subscriptions and filters to a pipeline document. Every difference gives a
//! finding.

use serde_json::{Map, Value, json};

use super::super::failure::Failure;
use super::draft::{self, Draft};
use super::export::{self, Export, is_enabled, object, text};
use super::filters::Filters;
use super::names::{UniqueNames, variable};
use super::outbound_auth;
use super::report::{Findings, Imported, Kind};
use super::subscription::{Subscription, Taking};
use crate::domain::profile::Profile;

/// The document, and the list of differences.
///
/// # Errors
/// When a page is missing, or there are no destinations.
pub(super) fn import(answers: &[Value]) -> anyhow::Result<Imported> {
    let export = export::read(answers)?;
    if export.destinations.is_empty() {
        return Err(Failure::usage("there are no destinations in what was read")
            .hint("postrider import segment --help says what the file should hold")
            .into());
    }
    let mut converting = Converting { export: &export, findings: Findings::default() };
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
    converting.rest();
    Ok(Imported { document: json!({"sources": documents}), findings: converting.findings })
}

struct Converting<'e> {
    export: &'e Export,
    findings: Findings,
}

impl Converting<'_> {
    fn find(&mut self, at: &str, field: &str, kind: Kind, message: impl Into<String>) {
        self.findings.add(at, field, kind, message);
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
        let mut document = json!({"name": name, "destinations": destinations});
        if known.is_some_and(|source| !is_enabled(source)) {
            document["enabled"] = Value::from(false);
        }
        Some(document)
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
        let Some(profile) = profile(given, &metadata, &settings) else {
            let at = format!("{source}/{wanted}");
            let kind = kind_name.or_else(|| text(&metadata, "id")).unwrap_or("its kind");
            let message = format!("{kind} is no webhook that can be imported");
            self.find(&at, "", Kind::LeftOut, message);
            return None;
        };
        let name = names.take(wanted);
        let at = format!("{source}/{name}");
        let own = |it: &&Map<String, Value>| text(it, "destinationId") == text(given, "id");
        let export = self.export;
        let filters = export.filters.iter().filter(own);
        let filters = Filters::of(filters, &at, &mut self.findings);
        let mut document = Map::new();
        document.insert("name".to_owned(), Value::from(name));
        document.insert("enabled".to_owned(), Value::from(is_enabled(given)));
        if profile == Profile::SegmentClassic {
            document.insert("policy".to_owned(), Value::from("any"));
        }
        if text(&settings, "sharedSecret").is_some() {
            self.secret(&at, "shared_secret", "settings.sharedSecret", &mut document);
        }
        let drafts = if profile == Profile::SegmentClassic {
            self.hooks(&at, &settings, &filters)
        } else {
            self.subscriptions(&at, given, (profile, &filters))
        };
        if profile == Profile::SegmentExtensible {
            outbound_auth::convert(&at, &settings, &mut document, &mut self.findings);
        }
        if filters.disables {
            document.insert("enabled".to_owned(), Value::from(false));
        }
        self.other_settings(&at, profile, &settings);
        let mappings = draft::share(&at, drafts, &mut document, &mut self.findings);
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

    fn hooks(&mut self, at: &str, settings: &Map<String, Value>, filters: &Filters) -> Vec<Draft> {
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
            let trigger = filters.narrow("");
            let hook = Subscription { name, enabled: true, trigger, settings: &given };
            let mut taking = Taking::new(&below, Profile::SegmentClassic, &mut self.findings);
            drafts.extend(taking.draft(hook));
        }
        drafts
    }

    fn subscriptions(
        &mut self,
        at: &str,
        destination: &Map<String, Value>,
        (profile, filters): (Profile, &Filters),
    ) -> Vec<Draft> {
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
            let settings = object(given, "settings");
            let mut taking = Taking::new(&below, profile, &mut self.findings);
            let trigger = taking.trigger(text(given, "trigger").unwrap_or(""));
            let trigger = filters.narrow(&trigger);
            let enabled = is_enabled(given);
            drafts.extend(taking.draft(Subscription {
                name,
                enabled,
                trigger,
                settings: &settings,
            }));
        }
        if drafts.is_empty() {
            let message = "it has no mappings: are the answers for its subscriptions in the file?";
            self.find(at, "", Kind::ToDo, message);
        }
        drafts
    }

    fn other_settings(&mut self, at: &str, profile: Profile, settings: &Map<String, Value>) {
        let known: &[&str] = match profile {
            Profile::SegmentClassic => &["hooks", "globalHook", "sharedSecret"],
            Profile::SegmentExtensible => &["sharedSecret", "dynamicAuthSettings"],
            Profile::SegmentActions | Profile::Postrider => &["sharedSecret"],
        };
        for name in settings.keys().filter(|name| !known.contains(&name.as_str())) {
            let message = "there is no such setting here";
            self.find(at, &format!("settings.{name}"), Kind::LeftOut, message);
        }
    }

    /// What was read and is no part of a destination.
    fn rest(&mut self) {
        let export = self.export;
        let known = |it: &Map<String, Value>| {
            let id = text(it, "destinationId");
            id.is_some() && export.destinations.iter().any(|one| text(one, "id") == id)
        };
        for given in export.subscriptions.iter().chain(&export.filters).filter(|it| !known(it)) {
            let name = ["name", "title", "id"].into_iter().find_map(|it| text(given, it));
            let id = text(given, "destinationId").unwrap_or("-");
            let message = format!("its destination {id} is not in the file");
            self.find(name.unwrap_or("a mapping"), "destinationId", Kind::LeftOut, message);
        }
        for name in &export.unread {
            self.find("", name, Kind::LeftOut, "nothing is imported from it");
        }
    }
}

/// The profile of a destination's mappings; none where it is no webhook.
fn profile(
    given: &Map<String, Value>,
    metadata: &Map<String, Value>,
    settings: &Map<String, Value>,
) -> Option<Profile> {
    match text(metadata, "slug") {
        Some("webhooks") => return Some(Profile::SegmentClassic),
        Some("actions-webhook") => return Some(Profile::SegmentActions),
        Some("actions-webhook-extensible") => return Some(Profile::SegmentExtensible),
        Some(_) => return None,
        None => {}
    }
    // Some tools keep nothing of the metadata but its id.
    match text(metadata, "id").or_else(|| text(given, "metadataId")) {
        Some("54521fdc25e721e32a72ef04") => Some(Profile::SegmentClassic),
        Some("614a3c7d791c91c41bae7599") => Some(Profile::SegmentActions),
        Some("66b1f528d26440823fb27af9") => Some(Profile::SegmentExtensible),
        Some(_) => None,
        None if settings.contains_key("hooks") => Some(Profile::SegmentClassic),
        None if settings.contains_key("dynamicAuthSettings") => Some(Profile::SegmentExtensible),
        None => None,
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
