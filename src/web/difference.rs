//! What changed from one document to another: a line for each value that is not the same, by its path.

use serde_json::Value;

use super::text::Outside;
use crate::domain::json_diff::{OneSided, json_diff};

/// Lines at most; a reader has both documents beside them.
const LINES: usize = 200;
/// Characters of a value at most.
const LENGTH: usize = 2_000;

/// A value that changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Change {
    pub(super) path: Outside,
    pub(super) before: Option<Outside>,
    pub(super) after: Option<Outside>,
}

/// The values that differ, by path; every value of it where one side is missing.
pub(super) fn changes(before: Option<&Value>, after: Option<&Value>) -> Vec<Change> {
    let mut found = json_diff(before, after, OneSided::Leaves);
    found.sort_by(|one, other| one.path.cmp(&other.path));
    let changes = found.into_iter().take(LINES).map(|it| Change {
        path: it.path.join(".").into(),
        before: it.from.map(shown),
        after: it.to.map(shown),
    });
    changes.collect()
}

fn shown(value: &Value) -> Outside {
    let text = value.as_str().map_or_else(|| value.to_string(), ToOwned::to_owned);
    match text.char_indices().nth(LENGTH) {
        Some((end, _)) => format!("{}…", &text[..end]).into(),
        None => text.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn told(before: Option<Value>, after: Option<Value>) -> Vec<String> {
        let text = |it: Option<Outside>| it.map_or_else(|| "-".to_owned(), |it| it.0);
        changes(before.as_ref(), after.as_ref())
            .into_iter()
            .map(|it| format!("{}: {} > {}", it.path.0, text(it.before), text(it.after)))
            .collect()
    }

    #[test]
    fn only_what_differs_is_told() {
        let before = json!({"a": 1, "b": {"c": [1, 2], "d": "same"}, "gone": true});
        let after = json!({"a": 2, "b": {"c": [1, 3], "d": "same"}, "new": "x"});
        assert_eq!(
            told(Some(before.clone()), Some(after)),
            ["a: 1 > 2", "b.c.1: 2 > 3", "gone: true > -", "new: - > x"]
        );
        assert_eq!(told(Some(before.clone()), Some(before)), Vec::<String>::new());
    }

    #[test]
    fn what_was_made_or_removed_is_told_in_full() {
        let one = || Some(json!({"name": "crm", "settings": {"timeout_ms": 5000, "list": []}}));
        assert_eq!(
            told(None, one()),
            ["name: - > crm", "settings.list: - > []", "settings.timeout_ms: - > 5000"]
        );
        assert_eq!(told(one(), None).len(), 3);
        assert_eq!(told(Some(json!({"a": {"b": 1}})), Some(json!({"a": 7}))), ["a: {\"b\":1} > 7"]);
        assert_eq!(told(None, None), Vec::<String>::new());
    }

    #[test]
    fn there_is_an_end_to_it() {
        let long = json!({"text": "ü".repeat(5_000)});
        assert_eq!(changes(None, Some(&long))[0].after.as_ref().unwrap().0.chars().count(), 2_001);
        let many: Vec<_> = (0..1_000).collect();
        assert_eq!(changes(None, Some(&json!(many))).len(), LINES);
    }
}
