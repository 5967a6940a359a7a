//! Mappings to be, with their secrets. A secret with the same value in all mappings of a destination becomes the
//! destination's; one that only some have is taken out, so that the other receivers do not get it, and its mappings
//! are disabled.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::credentials::{Credential, Credentials};
use super::names::variable;
use super::report::{Findings, Kind};

/// A mapping, and its secrets.
#[derive(Debug)]
pub(super) struct Draft {
    pub(super) name: String,
    pub(super) mapping: Map<String, Value>,
    pub(super) credentials: Credentials,
}

/// The mappings; secrets that all of them share are the destination's.
pub(super) fn share(
    at: &str,
    drafts: Vec<Draft>,
    document: &mut Map<String, Value>,
    findings: &mut Findings,
) -> Vec<Value> {
    let authorizes = document.contains_key("auth");
    let is_shared = |(one, value): &(&Credential, &Option<String>)| {
        value.is_some()
            && !(authorizes && one.is_authorization())
            && drafts.iter().all(|it| it.credentials.get(*one) == Some(*value))
    };
    let first = drafts.first().map(|it| &it.credentials).into_iter().flatten();
    let shared: BTreeSet<Credential> =
        first.filter(is_shared).map(|(one, _)| one.clone()).collect();
    for one in &shared {
        let variable = variable(at, one.name());
        let what = match one {
            Credential::Parameter(_) => "its value, not percent-encoded,",
            Credential::Header(_) if one.is_authorization() => "the whole value, with its scheme,",
            Credential::Header(_) => "it",
        };
        let message = format!("holds a secret: give {what} as the variable {variable}");
        findings.add(at, &one.field(), Kind::ToDo, message);
        let secrets = document.entry(one.of_destination()).or_insert_with(|| json!({}));
        secrets[one.name()] = json!({"env": variable});
    }
    let mut mappings = Vec::new();
    for mut draft in drafts {
        for one in draft.credentials.keys().filter(|one| !shared.contains(*one)) {
            let below = format!("{at}/{}", draft.name);
            let message = format!(
                "holds a secret that cannot be the whole destination's: give the mapping a \
                 destination of its own with {}, then enable it",
                one.of_destination()
            );
            findings.add(&below, &one.field(), Kind::ToDo, message);
            draft.mapping.insert("enabled".to_owned(), Value::from(false));
        }
        mappings.push(Value::Object(draft.mapping));
    }
    mappings
}
