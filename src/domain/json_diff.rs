//! The differences between two JSON documents: one entry for each value that is not printed alike. The
//! order of an object's keys is printed, so it is part of its value.

use serde::Serialize;
use serde_json::Value;

/// Whether two values are printed as the same JSON.
#[must_use]
pub fn is_printed_alike<T: Serialize + ?Sized>(one: &T, other: &T) -> bool {
    match (serde_json::to_vec(one), serde_json::to_vec(other)) {
        (Ok(one), Ok(other)) => one == other,
        (Ok(_) | Err(_), _) => false,
    }
}

/// A value that differs.
#[derive(Clone, Debug, PartialEq)]
pub struct Difference<'a> {
    /// The keys and array indices that lead to it.
    pub path: Vec<String>,
    /// The value before; none where it was added.
    pub from: Option<&'a Value>,
    /// The value after; none where it was removed.
    pub to: Option<&'a Value>,
}

/// How an object or array that stands on one side only is reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OneSided {
    /// As one difference.
    Whole,
    /// As one difference for each of its leaves.
    Leaves,
}

/// The differences, in the order of the first document, what the second adds coming last.
#[must_use]
pub fn json_diff<'a>(
    from: Option<&'a Value>,
    to: Option<&'a Value>,
    one_sided: OneSided,
) -> Vec<Difference<'a>> {
    let mut walk = Walk { one_sided, path: Vec::new(), differences: Vec::new() };
    walk.compare(from, to);
    walk.differences
}

struct Walk<'a> {
    one_sided: OneSided,
    path: Vec<String>,
    differences: Vec<Difference<'a>>,
}

impl<'a> Walk<'a> {
    fn compare(&mut self, from: Option<&'a Value>, to: Option<&'a Value>) {
        let alike = match (from, to) {
            (Some(from), Some(to)) => is_printed_alike(from, to),
            (None, None) => true,
            (Some(_), None) | (None, Some(_)) => false,
        };
        if alike {
            return;
        }
        let Some(keys) = self.keys(from, to) else {
            return self.differences.push(Difference { path: self.path.clone(), from, to });
        };
        if is_order_changed(from, to) {
            self.differences.push(Difference { path: self.path.clone(), from, to });
        }
        for key in keys {
            let (from, to) = (child(from, &key), child(to, &key));
            self.path.push(key);
            self.compare(from, to);
            self.path.pop();
        }
    }

    /// The keys to descend into; none where the two differ as a whole.
    fn keys(&self, from: Option<&Value>, to: Option<&Value>) -> Option<Vec<String>> {
        let keys = match (from, to) {
            (Some(Value::Object(from)), Some(Value::Object(to))) => {
                let added = to.keys().filter(|key| !from.contains_key(*key));
                return Some(from.keys().chain(added).cloned().collect());
            }
            (Some(Value::Array(from)), Some(Value::Array(to))) => {
                return Some((0..from.len().max(to.len())).map(|at| at.to_string()).collect());
            }
            (Some(Value::Object(fields)), None) | (None, Some(Value::Object(fields))) => {
                fields.keys().cloned().collect::<Vec<_>>()
            }
            (Some(Value::Array(items)), None) | (None, Some(Value::Array(items))) => {
                (0..items.len()).map(|at| at.to_string()).collect()
            }
            (_, _) => return None,
        };
        (self.one_sided == OneSided::Leaves && !keys.is_empty()).then_some(keys)
    }
}

/// Whether the keys that two objects share have another order.
fn is_order_changed(from: Option<&Value>, to: Option<&Value>) -> bool {
    let (Some(Value::Object(from)), Some(Value::Object(to))) = (from, to) else { return false };
    let kept = from.keys().filter(|key| to.contains_key(*key));
    !kept.eq(to.keys().filter(|key| from.contains_key(*key)))
}

fn child<'a>(value: Option<&'a Value>, key: &str) -> Option<&'a Value> {
    match value? {
        Value::Object(fields) => fields.get(key),
        Value::Array(items) => items.get(key.parse::<usize>().ok()?),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn paths(from: &Value, to: &Value, one_sided: OneSided) -> Vec<String> {
        let found = json_diff(Some(from), Some(to), one_sided);
        found.into_iter().map(|it| it.path.join(".")).collect()
    }

    #[test]
    fn each_value_that_differs_is_reported_once() {
        let from = json!({"a": 1, "b": {"c": [1, 2], "d": "same"}, "gone": true});
        let to = json!({"a": 2, "b": {"c": [1, 3], "d": "same"}, "new": {"x": [1], "y": {}}});
        let whole = ["a", "b.c.1", "gone", "new"];
        assert_eq!(paths(&from, &to, OneSided::Whole), whole);
        let leaves = ["a", "b.c.1", "gone", "new.x.0", "new.y"];
        assert_eq!(paths(&from, &to, OneSided::Leaves), leaves);
        assert!(paths(&from, &from, OneSided::Leaves).is_empty());
        let order = json!({"b": {"d": "same", "c": [1, 2]}, "a": 1, "gone": true});
        assert_eq!(paths(&from, &order, OneSided::Leaves), ["", "b"], "another order of keys");
        assert_eq!(paths(&json!({"a": {"b": 1}}), &json!({"a": 7}), OneSided::Leaves), ["a"]);
    }
}
