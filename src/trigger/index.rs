//! An index of triggers by the equalities that they require, such as `event = "Order Completed"`: for an event,
//! the triggers that can match it, without an evaluation of all others.

use std::collections::HashMap;

use super::Trigger;
use super::expression::{Condition, Expression, Literal, Path, Test};
use crate::json::{Text, Value};

/// Triggers by number, in the order that they were given.
#[derive(Debug, Default)]
pub struct TriggerIndex {
    /// Triggers that require no equality.
    always: Vec<usize>,
    fields: Vec<IndexedField>,
}

/// The triggers that require a field to have one of some texts.
#[derive(Debug)]
struct IndexedField {
    path: Path,
    by_text: HashMap<String, Vec<usize>>,
}

/// A field and the texts of which it must have one for a trigger to match.
#[derive(Clone, Debug, PartialEq)]
struct Requirement<'t> {
    path: &'t Path,
    texts: Vec<&'t str>,
}

impl TriggerIndex {
    /// Indexes triggers, each by the one of its requirements that the fewest others share.
    #[must_use]
    pub fn of<'t>(triggers: impl IntoIterator<Item = &'t Trigger>) -> Self {
        let required: Vec<Vec<Requirement<'t>>> = triggers
            .into_iter()
            .map(|trigger| trigger.0.as_ref().map_or_else(Vec::new, requirements))
            .collect();
        let mut shared: HashMap<(&Path, &str), usize> = HashMap::new();
        for Requirement { path, texts } in required.iter().flatten() {
            for text in texts {
                *shared.entry((path, text)).or_default() += 1;
            }
        }
        let sharing = |requirement: &Requirement<'t>| -> usize {
            let texts = requirement.texts.iter();
            texts.filter_map(|text| shared.get(&(requirement.path, *text))).sum()
        };
        let mut always = Vec::new();
        let mut fields: HashMap<&Path, HashMap<String, Vec<usize>>> = HashMap::new();
        for (number, requirements) in required.iter().enumerate() {
            let Some(fewest) = requirements.iter().min_by_key(|it| sharing(it)) else {
                always.push(number);
                continue;
            };
            let by_text = fields.entry(fewest.path).or_default();
            for text in &fewest.texts {
                let numbers = by_text.entry((*text).to_owned()).or_default();
                // A list of literals may repeat one.
                if numbers.last() != Some(&number) {
                    numbers.push(number);
                }
            }
        }
        let fields = fields.into_iter();
        let fields = fields.map(|(path, by_text)| IndexedField { path: path.clone(), by_text });
        Self { always, fields: fields.collect() }
    }

    /// The triggers that can match an event's document, in their order. Those that match are among them.
    #[must_use]
    pub fn candidates(&self, document: &Value<'_>) -> Vec<usize> {
        let mut found = self.always.clone();
        for field in &self.fields {
            if let Some(Value::String(text)) = field.path.find(document)
                && let Some(numbers) = field.by_text.get(text.printed())
            {
                found.extend(numbers);
            }
        }
        found.sort_unstable();
        found
    }
}

/// What an expression requires to hold: each of these, if there are any.
fn requirements(expression: &Expression) -> Vec<Requirement<'_>> {
    match expression {
        Expression::All(parts) => parts.iter().flat_map(requirements).collect(),
        Expression::Any(parts) => any(parts),
        Expression::Not(_) => Vec::new(),
        Expression::Condition(condition) => of_condition(condition).into_iter().collect(),
    }
}

/// Of alternatives: the fields that each of them requires, with the texts of all.
fn any(parts: &[Expression]) -> Vec<Requirement<'_>> {
    let mut parts = parts.iter().map(requirements);
    let first = parts.next().unwrap_or_default();
    parts.fold(first, |common, part| {
        let both = common.into_iter().filter_map(|mut requirement| {
            let same = part.iter().find(|it| it.path == requirement.path)?;
            requirement.texts.extend(&same.texts);
            Some(requirement)
        });
        both.collect()
    })
}

fn of_condition(condition: &Condition) -> Option<Requirement<'_>> {
    let literals = match &condition.test {
        Test::Equal(literal) => std::slice::from_ref(literal),
        Test::In(literals) => literals,
        Test::Unequal(_) | Test::Order(..) | Test::Contains { .. } | Test::Match { .. } => {
            return None;
        }
    };
    if condition.operand.function.is_some() {
        return None;
    }
    let texts = literals.iter().map(|literal| match literal {
        Literal::Text(text) => Some(Text::printed(text)),
        Literal::Number(_) | Literal::Bool(_) | Literal::Null => None,
    });
    Some(Requirement { path: &condition.operand.path, texts: texts.collect::<Option<_>>()? })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::json::parse;

    fn index(triggers: &[&str]) -> (Vec<Trigger>, TriggerIndex) {
        let parse = |text: &&str| Trigger::parse(text).expect("a trigger");
        let triggers: Vec<Trigger> = triggers.iter().map(parse).collect();
        let index = TriggerIndex::of(&triggers);
        (triggers, index)
    }

    fn candidates(index: &TriggerIndex, event: &str) -> Vec<usize> {
        index.candidates(&parse(event.as_bytes()).expect("JSON"))
    }

    #[test]
    fn a_trigger_is_a_candidate_where_what_it_requires_is_there() {
        let (_, index) = index(&[
            r#"type = "track" and event = "A""#,
            r#"event = "B""#,
            r#"event = "A" or event = "B""#,
            r#"event in ["B", "C", "C"]"#,
            "",
            r#"event = "A" or type = "page""#,
            r#"event != "A""#,
            r#"event = "A" and properties.total > 5"#,
            r#"!(event = "A")"#,
            r#"lowercase(event) = "a""#,
            r#"event in ["A", 1]"#,
            r#"properties.list.0 = "x""#,
        ]);
        let always = [4, 5, 6, 8, 9, 10];
        let of = |some: &[usize]| {
            let mut all = [some, &always].concat();
            all.sort_unstable();
            all
        };
        assert_eq!(candidates(&index, r#"{"type":"track","event":"A"}"#), of(&[0, 2, 7]));
        assert_eq!(candidates(&index, r#"{"type":"page","event":"B"}"#), of(&[1, 2, 3]));
        assert_eq!(candidates(&index, r#"{"type":"page","event":"C"}"#), of(&[3]));
        assert_eq!(candidates(&index, r#"{"type":"page","event":null}"#), always);
        assert_eq!(candidates(&index, r#"{"properties":{"list":["x"]}}"#), of(&[11]));
    }

    #[test]
    fn a_trigger_is_found_by_the_requirement_that_the_fewest_share() {
        let numbers: Vec<String> = (0..100)
            .map(|number| format!(r#"type = "track" and properties.plan = "p{number}""#))
            .collect();
        let texts: Vec<&str> = numbers.iter().map(String::as_str).collect();
        let (_, index) = index(&texts);
        let event = r#"{"type":"track","properties":{"plan":"p7"}}"#;
        assert_eq!(candidates(&index, event), [7]);
    }

    fn condition() -> impl Strategy<Value = String> {
        let field = prop::sample::select(vec!["event", "type", "properties.a", "lowercase(event)"]);
        let text = prop::sample::select(vec!["", "a", "b", "é", "\\u00e9", "\\n"]);
        let test = prop_oneof![
            text.clone().prop_map(|text| format!("= \"{text}\"")),
            text.clone().prop_map(|text| format!("!= \"{text}\"")),
            prop::collection::vec(text, 1..3)
                .prop_map(|texts| format!("in [\"{}\"]", texts.join("\", \""))),
            Just("= 1".to_owned()),
            Just("= null".to_owned()),
        ];
        (field, test).prop_map(|(field, test)| format!("{field} {test}"))
    }

    fn expression() -> impl Strategy<Value = String> {
        condition().prop_recursive(3, 12, 3, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 2..4)
                    .prop_map(|parts| format!("({})", parts.join(" and "))),
                prop::collection::vec(inner.clone(), 2..4)
                    .prop_map(|parts| format!("({})", parts.join(" or "))),
                inner.prop_map(|part| format!("!({part})")),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_matches_is_among_the_candidates(
            triggers in prop::collection::vec(expression(), 1..12),
            event in prop::sample::select(vec!["a", "b", "A", "é", "\\u00e9", "\\n", ""]),
            kind in prop::sample::select(vec!["\"a\"", "\"b\"", "null", "1", "false", "[]"]),
            a in prop::sample::select(vec!["{\"a\":\"a\"}", "{\"a\":\"\"}", "\"\"", "false", "{}"]),
        ) {
            let texts: Vec<&str> = triggers.iter().map(String::as_str).collect();
            let (triggers, index) = index(&texts);
            let event = format!(r#"{{"event":"{event}","type":{kind},"properties":{a}}}"#);
            let document = parse(event.as_bytes()).expect("JSON");
            let found = index.candidates(&document);
            prop_assert!(found.is_sorted());
            let matched = |numbers: &mut dyn Iterator<Item = usize>| -> Vec<usize> {
                numbers.filter(|number| triggers[*number].matches(&document)).collect()
            };
            let all = matched(&mut (0..triggers.len()));
            prop_assert_eq!(matched(&mut found.into_iter()), all);
        }
    }
}
