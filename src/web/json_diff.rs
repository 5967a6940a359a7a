//! A diff between two JSON documents: one change per differing value, by its path.

use std::collections::BTreeSet;

use serde_json::Value;

use super::untrusted::Untrusted;

/// Changes at most.
const MAX_CHANGES: usize = 200;
/// Characters of a displayed value at most.
const MAX_LENGTH: usize = 2_000;

/// A changed value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Change {
    pub(super) path: Untrusted,
    pub(super) before: Option<Untrusted>,
    pub(super) after: Option<Untrusted>,
}

/// The changes; a missing document counts as empty.
pub(super) fn changes(before: Option<&Value>, after: Option<&Value>) -> Vec<Change> {
    let mut found = Vec::new();
    compare(String::new(), before, after, &mut found);
    found
}

fn compare(path: String, before: Option<&Value>, after: Option<&Value>, found: &mut Vec<Change>) {
    if before == after || found.len() >= MAX_CHANGES {
        return;
    }
    let keys = |value: Option<&Value>| match value {
        Some(Value::Object(fields)) => Some(fields.keys().cloned().collect::<Vec<_>>()),
        Some(Value::Array(items)) => Some((0..items.len()).map(|at| at.to_string()).collect()),
        Some(_) | None => None,
    };
    let (ours, theirs) = (keys(before), keys(after));
    // A scalar or empty container against anything else: one change.
    let is_leaf = |keys: &Option<Vec<String>>, value: Option<&Value>| {
        value.is_some() && keys.as_ref().is_none_or(Vec::is_empty)
    };
    if is_leaf(&ours, before) || is_leaf(&theirs, after) {
        found.push(Change {
            path: path.into(),
            before: before.map(shown),
            after: after.map(shown),
        });
        return;
    }
    let names: BTreeSet<_> = ours.into_iter().chain(theirs).flatten().collect();
    for name in names {
        let below = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        compare(below, part(before, &name), part(after, &name), found);
    }
}

fn part<'a>(value: Option<&'a Value>, name: &str) -> Option<&'a Value> {
    match value? {
        Value::Object(fields) => fields.get(name),
        Value::Array(items) => items.get(name.parse::<usize>().ok()?),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
    }
}

fn shown(value: &Value) -> Untrusted {
    let text = value.as_str().map_or_else(|| value.to_string(), ToOwned::to_owned);
    match text.char_indices().nth(MAX_LENGTH) {
        Some((end, _)) => format!("{}…", &text[..end]).into(),
        None => text.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn diff(before: Option<Value>, after: Option<Value>) -> Vec<String> {
        let text = |it: Option<Untrusted>| it.map_or_else(|| "-".to_owned(), |it| it.0);
        changes(before.as_ref(), after.as_ref())
            .into_iter()
            .map(|it| format!("{}: {} > {}", it.path.0, text(it.before), text(it.after)))
            .collect()
    }

    #[test]
    fn only_differing_values_are_listed() {
        let before = json!({"a": 1, "b": {"c": [1, 2], "d": "same"}, "gone": true});
        let after = json!({"a": 2, "b": {"c": [1, 3], "d": "same"}, "new": "x"});
        assert_eq!(
            diff(Some(before.clone()), Some(after)),
            ["a: 1 > 2", "b.c.1: 2 > 3", "gone: true > -", "new: - > x"]
        );
        assert_eq!(diff(Some(before.clone()), Some(before)), Vec::<String>::new());
    }

    #[test]
    fn a_created_or_deleted_document_is_listed_in_full() {
        let one = || Some(json!({"name": "crm", "settings": {"timeout_ms": 5000, "list": []}}));
        assert_eq!(
            diff(None, one()),
            ["name: - > crm", "settings.list: - > []", "settings.timeout_ms: - > 5000"]
        );
        assert_eq!(diff(one(), None).len(), 3);
        assert_eq!(diff(Some(json!({"a": {"b": 1}})), Some(json!({"a": 7}))), ["a: {\"b\":1} > 7"]);
        assert_eq!(diff(None, None), Vec::<String>::new());
    }

    #[test]
    fn changes_and_values_are_bounded() {
        let long = json!({"text": "ü".repeat(5_000)});
        assert_eq!(changes(None, Some(&long))[0].after.as_ref().unwrap().0.chars().count(), 2_001);
        let many: Vec<_> = (0..1_000).collect();
        assert_eq!(changes(None, Some(&json!(many))).len(), MAX_CHANGES);
    }
}
