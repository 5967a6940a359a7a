//! A diff between two JSON documents: one change per differing value, by its path.

use serde_json::Value;

use super::untrusted::Untrusted;
use crate::domain::json_diff::{OneSided, json_diff};

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

/// The changes, by path; a missing document counts as empty.
pub(super) fn changes(before: Option<&Value>, after: Option<&Value>) -> Vec<Change> {
    let mut found = json_diff(before, after, OneSided::Leaves);
    found.sort_by(|one, other| one.path.cmp(&other.path));
    let changes = found.into_iter().take(MAX_CHANGES).map(|it| Change {
        path: it.path.join(".").into(),
        before: it.from.map(shown),
        after: it.to.map(shown),
    });
    changes.collect()
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
