//! Tests of the language: Segment's cases, the truth table of conditions, errors with their positions, and
//! properties of every text.

use proptest::prelude::*;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::*;
use crate::json::parse;

#[derive(Deserialize)]
struct Case<'a> {
    trigger: String,
    #[serde(borrow)]
    event: &'a RawValue,
    matched: bool,
}

#[test]
fn every_vector_matches_as_segment_matches_it() {
    let mut seen = 0;
    for line in include_str!("../../tests/vectors/trigger.jsonl").lines() {
        let case: Case<'_> = serde_json::from_str(line).expect("a vector");
        let event = parse(case.event.get().as_bytes()).expect("JSON");
        let trigger = Trigger::parse(&case.trigger).expect("a trigger");
        assert_eq!(trigger.matches(&event), case.matched, "{line}");
        assert_eq!(trigger.unmet(&event).is_none(), case.matched, "{line}");
        assert_eq!(Trigger::parse(&trigger.to_string()).as_ref(), Ok(&trigger));
        seen += 1;
    }
    assert_eq!(seen, 200);
}

/// Whether a trigger matches a value `v` under `p.v`.
fn on(trigger: &str, value: &str) -> bool {
    let event = match value {
        "missing" => "{}".to_owned(),
        value => format!("{{\"p\":{{\"v\":{value}}}}}"),
    };
    matches(trigger, &event)
}

const VALUES: &str = r#"missing null "x" "axb" "5" "true" 5 6 true false [] [5] {"x":5}"#;

/// Each row: a trigger and all of the values that it matches.
const MEANING: [(&str, &str); 37] = [
    (r#"p.v = "x""#, r#""x""#),
    ("p.v = 'x'", r#""x""#),
    ("p.v = '5'", r#""5""#),
    ("p.v != 'x'", r#"missing null "axb" "5" "true" 5 6 true false [] [5] {"x":5}"#),
    ("p.v = 5", "5"),
    ("p.v != 5", "6"),
    ("p.v < 6", "5"),
    ("p.v <= 6", "5 6"),
    ("p.v > 5", "6"),
    ("p.v >= 5", "5 6"),
    ("p.v >= '5'", "5 6"),
    ("p.v < ' +6.0 '", "5"),
    ("p.v = null", "missing null"),
    ("p.v != null", r#""x" "axb" "5" "true" 5 6 true false [] [5] {"x":5}"#),
    ("p.v = true", "true"),
    ("p.v = false", "false"),
    ("p.v != true", r#"missing null "x" "axb" "5" 5 6 true false [] [5] {"x":5}"#),
    ("!(p.v = true)", r#"missing null "x" "axb" "5" "true" 5 6 false [] [5] {"x":5}"#),
    ("contains(p.v, 'x')", r#""x" "axb""#),
    ("!contains(p.v, 'x')", r#""5" "true""#),
    ("! contains(p.v, 'x')", r#""5" "true""#),
    ("!(contains(p.v, 'x'))", r#"missing null "5" "true" 5 6 true false [] [5] {"x":5}"#),
    ("match(p.v, 'a*')", r#""axb""#),
    ("match(p.v, '*x')", r#""x""#),
    ("match(p.v, '?x?')", r#""axb""#),
    ("!match(p.v, '*x')", r#""axb" "5" "true""#),
    ("p.v in ['x', 5, true]", r#""x" 5 true"#),
    ("p.v in [null]", "missing null"),
    ("length(p.v) = 0", "missing null []"),
    ("length(p.v) > 0", r#""x" "axb" "5" "true" [5]"#),
    ("length(p.v) != 1", r#"missing null "axb" "true" []"#),
    ("uppercase(p.v) = 'X'", r#""x""#),
    ("contains(uppercase(p.v), 'X')", r#""x" "axb""#),
    ("lowercase(p.v) = null", r#"missing null 5 6 true false [] [5] {"x":5}"#),
    ("typeof(p.v) in ['null', 'object']", r#"missing null {"x":5}"#),
    ("typeof(p.v) = 'list' or typeof(p.v) = 'bool'", "true false [] [5]"),
    ("typeof(p.v) = 'string'", r#""x" "axb" "5" "true""#),
];

#[test]
fn each_condition_means_what_the_table_says() {
    for (trigger, matching) in MEANING {
        for value in VALUES.split(' ') {
            let expected = matching.split(' ').any(|it| it == value);
            assert_eq!(on(trigger, value), expected, "{trigger} on {value}");
        }
    }
}

fn matches(trigger: &str, event: &str) -> bool {
    let event = parse(event.as_bytes()).expect("JSON");
    Trigger::parse(trigger).unwrap_or_else(|error| panic!("{trigger}: {error}")).matches(&event)
}

#[test]
fn and_binds_before_or_and_a_bang_before_both() {
    let event = r#"{"a":1,"b":2,"type":"track"}"#;
    assert!(matches("a = 1 or a = 2 and b = 3", event));
    assert!(!matches("(a = 1 or a = 2) and b = 3", event));
    assert!(matches("b = 3 and a = 2 or a = 1", event));
    assert!(matches("!(a = 2) and (b = 2 and (a = 3 or !(b = 3)))", event));
    assert!(!matches("!(a = 1) or b = 3", event));
    assert!(matches("!a = 2 and b = 2", event));
    assert!(matches("!!(type = 'track')", event));
    assert!(matches("!(type in ['identify', 'page'])", event));
}

#[test]
fn a_path_reaches_any_field() {
    let event = r#"{
        "and": 1, "properties": {"product 1": {"price": "19.99"}, "a.b": 2, "é": 3, "in": 4, "0": 5},
        "items": [{"n": 6}, {"n": 7}], "my-field_2": 8, "zero": 0, "empty": "", "text": "abc"
    }"#;
    for matching in [
        r"properties.product\ 1.price = '19.99'",
        r"properties.a\.b = 2",
        "properties.é = 3",
        r"properties.\é = 3",
        "properties.in = 4",
        "properties.0 = 5",
        r"\and = 1",
        "items.1.n = 7",
        "items.2.n = null",
        "items.01.n = null",
        "my-field_2 = 8",
        "my-field_2=8",
        "(my-field_2>7)",
        "text.length = null",
        "missing.in.between = null",
        // A falsy value along the path is the result, as in Segment.
        "zero.a.b = 0",
        "empty.a = ''",
        "properties.nothing.at.all != 'x'",
    ] {
        assert!(matches(matching, event), "{matching}");
    }
}

#[test]
fn strings_and_escapes_of_the_event_are_compared_by_meaning() {
    assert!(matches(r#"a = 'say "hi"'"#, r#"{"a":"say \"hi\""}"#));
    assert!(matches(r"a = 'c:\new'", r#"{"a":"c:\\new"}"#));
    assert!(!matches("contains(a, 'n')", r#"{"a":"\n"}"#));
    assert!(matches("contains(a, '\u{1}')", r#"{"a":"x\u0001"}"#));
    assert!(matches("match(a, '?')", r#"{"a":"\n"}"#));
    assert!(matches("length(a) = 3", r#"{"a":"ア"}"#));
    assert!(matches("lowercase(a) = 'éa'", r#"{"a":"ÉA"}"#));
    assert!(matches("contains(lowercase(a), 'signed')", r#"{"a":"SIGNED UP"}"#));
    assert!(matches("a = 1e21 and b = -0.5 and c = +3", r#"{"a":1e21,"b":-0.5,"c":3}"#));
}

#[test]
fn the_empty_trigger_matches_everything() {
    for text in ["", " \n"] {
        let trigger = Trigger::parse(text).expect("a trigger");
        assert!(trigger.matches(&Value::Null));
        assert_eq!((trigger.unmet(&Value::Null), trigger.to_string()), (None, String::new()));
    }
}

#[test]
fn a_fault_is_told_with_its_place_and_what_would_be_right() {
    const CONDITION: &str = "a condition, such as `type = \"track\"`, a `!` or a `(`";
    const OPERATOR: &str = "an operator: = != < <= > >= or in";
    const VALUE: &str = "a value: a string in quotes, a number, true, false or null";
    const FUNCTION: &str = "a function: contains, match, length, lowercase, uppercase or typeof";
    for (text, position, expected, found) in [
        ("type", 4, OPERATOR, "the end"),
        ("type is \"track\"", 5, OPERATOR, "`is`"),
        ("type = ", 7, VALUE, "the end"),
        ("type = track", 7, VALUE, "`track`"),
        ("type == \"track\"", 6, VALUE, "`=`"),
        ("type = \"track", 13, "a closing `\"`", "the end"),
        ("é = 'x' und", 8, "`and`, `or` or the end", "`und`"),
        ("a = 1 and", 9, CONDITION, "the end"),
        ("a = 1 && b = 2", 6, "a condition, an operator or a value", "`&`"),
        ("and = 1", 0, CONDITION, "`and`"),
        ("5 = a", 0, CONDITION, "`5`"),
        ("'track' = type", 0, CONDITION, "`'track'`"),
        ("(a = 1", 6, "`and`, `or` or a closing `)`", "the end"),
        ("a = 1)", 5, "`and`, `or` or the end", "`)`"),
        ("()", 1, CONDITION, "`)`"),
        ("a > \"x\"", 4, "a number", "`\"x\"`"),
        ("a > true", 4, "a number", "`true`"),
        ("a = 5x", 5, "the end of the number", "`x`"),
        ("a = 1.", 6, "a digit", "the end"),
        ("a = 1e999", 4, "a number that a double can hold", "`1e999`"),
        ("a. = 1", 2, "a field's name", "` `"),
        ("a = 1 or b\\", 11, "a character after the `\\`", "the end"),
        ("a in \"x\"", 5, "a list, such as `[\"a\", \"b\"]`", "`\"x\"`"),
        ("a in []", 6, VALUE, "`]`"),
        ("a in [1 2]", 8, "a `,` or a closing `]`", "`2`"),
        ("starts(a, \"x\")", 0, FUNCTION, "`starts`"),
        ("contains(a \"x\")", 11, "a `,`", "`\"x\"`"),
        ("contains(a, b)", 12, "a string in quotes", "`b`"),
        ("contains(a, 'b'", 15, "a closing `)`", "the end"),
        ("contains('b', a)", 9, "a field, such as `event` or `properties.plan`", "`'b'`"),
        ("length(a)", 9, OPERATOR, "the end"),
        ("!", 1, CONDITION, "the end"),
    ] {
        let error = Trigger::parse(text).expect_err(text);
        assert_eq!(
            (error.position, error.expected, error.found.as_str()),
            (position, expected, found),
            "{text}"
        );
    }
    assert_eq!(
        Trigger::parse("type is 1").expect_err("no trigger").to_string(),
        "expected an operator: = != < <= > >= or in at position 5, found `is`"
    );
}

#[test]
fn depth_and_length_are_bounded() {
    let nested = |depth: usize| format!("{}a = 1{}", "(".repeat(depth), ")".repeat(depth));
    assert!(Trigger::parse(&nested(MAX_DEPTH)).is_ok());
    let error = Trigger::parse(&nested(MAX_DEPTH + 1)).expect_err("too deep");
    assert_eq!((error.position, error.found.as_str()), (MAX_DEPTH, "`(`"));
    assert_eq!(error.expected, format!("at most {MAX_DEPTH} groups and negations in each other"));

    let deepest = format!("{}a = 1", "!".repeat(MAX_DEPTH));
    let trigger = Trigger::parse(&deepest).expect("a trigger");
    assert_eq!(Trigger::parse(&trigger.to_string()), Ok(trigger));
    assert!(Trigger::parse(&format!("!{deepest}")).is_err());

    let long = format!("a = '{}'", "é".repeat(MAX_CHARS - 6));
    assert!(Trigger::parse(&long).is_ok());
    let error = Trigger::parse(&format!("{long}  ")).expect_err("too long");
    assert_eq!((error.position, error.found.as_str()), (MAX_CHARS, "2 more"));
    assert!(error.expected.contains(&MAX_CHARS.to_string()));
    let wide = vec!["a = 1"; MAX_CHARS / 10].join(" and ");
    assert!(Trigger::parse(&wide).is_ok());
}

#[test]
fn the_first_condition_that_does_not_hold_is_named() {
    let unmet = |trigger: &str, event: &str| {
        let event = parse(event.as_bytes()).expect("JSON");
        let unmet = Trigger::parse(trigger).expect("a trigger").unmet(&event)?;
        let field = unmet.field.map(|field| (field.path, field.value));
        Some((unmet.condition, field))
    };
    let event = r#"{"type":"track","properties":{"plan":"free","n":[1,2]}}"#;
    assert_eq!(unmet("type = 'track'", event), None);
    assert_eq!(
        unmet("type='track' and (event != null and a=1)", event),
        Some(("event != null".to_owned(), Some(("event".to_owned(), None))))
    );
    let plan = ("properties.plan".to_owned(), Some("\"free\"".to_owned()));
    assert_eq!(
        unmet("properties.plan = \"pro\"", event),
        Some(("properties.plan = \"pro\"".to_owned(), Some(plan)))
    );
    assert_eq!(
        unmet("type = 'track' and (a = 1 or b = 1)", event),
        Some(("a = 1 or b = 1".to_owned(), None))
    );
    assert_eq!(unmet("!(type = 'track')", event), Some(("!(type = \"track\")".to_owned(), None)));
}

/// Texts that are triggers, in many spellings.
fn any_trigger() -> impl Strategy<Value = String> {
    let path = prop_oneof![
        "(type|event|properties|a|length|contains)(\\.[a-z0-9_é-]{1,4}){0,2}",
        r"\\(and|in|null|.)(\\.){0,2}(\.\\.[a-z]{0,2})?",
    ];
    let text = prop_oneof!["\"[^\"]{0,6}\"", "'[^']{0,6}'"];
    let number = prop_oneof!["[+-]?[0-9]{1,3}(\\.[0-9]{1,3})?(e[+-]?[0-9]{1,2})?", "-0"];
    let literal = prop_oneof![
        text.clone(),
        number.clone(),
        prop_oneof![Just("true"), Just("false"), Just("null")].prop_map(str::to_owned),
    ];
    let operand = prop_oneof![
        3 => path.clone(),
        1 => ("(length|lowercase|uppercase|typeof) ?", path).prop_map(|(name, path)| format!("{name}({path})")),
    ];
    let condition = prop_oneof![
        (operand.clone(), " ?!?= ?", literal.clone()).prop_map(|(a, b, c)| format!("{a}{b}{c}")),
        (operand.clone(), " ?[<>]=? ?", number).prop_map(|(a, b, c)| format!("{a}{b}{c}")),
        (operand.clone(), prop::collection::vec(literal, 1..4))
            .prop_map(|(a, list)| format!("{a} in [{}]", list.join(","))),
        ("!?(contains|match)", operand, text).prop_map(|(f, a, b)| format!("{f}({a}, {b})")),
    ];
    condition.prop_recursive(5, 24, 3, |inner| {
        prop_oneof![
            inner.clone().prop_map(|inner| format!("({inner})")),
            inner.clone().prop_map(|inner| format!("!({inner})")),
            inner.clone().prop_map(|inner| format!("! {inner}")),
            prop::collection::vec(inner.clone(), 2..4).prop_map(|parts| parts.join(" and ")),
            prop::collection::vec(inner, 2..4).prop_map(|parts| parts.join("\nor ")),
        ]
    })
}

proptest! {
    #[test]
    fn what_is_printed_parses_to_the_same_trigger(text in any_trigger()) {
        let trigger = Trigger::parse(&text).map_err(|error| TestCaseError::fail(format!("{text}: {error}")))?;
        let printed = trigger.to_string();
        prop_assert_eq!(Trigger::parse(&printed), Ok(trigger.clone()), "{}", printed);
        let event = parse(br#"{"type":"track","event":"a","properties":{"a":[1,"x",null]},"a":0}"#).expect("JSON");
        prop_assert_eq!(trigger.unmet(&event).is_none(), trigger.matches(&event));
    }

    #[test]
    fn no_text_panics(text in ".{0,60}") {
        let _ = Trigger::parse(&text);
    }

    #[test]
    fn no_words_of_the_language_panic(text in "(a|type|\\.|\\\\|=|!|!=|<|>=|\\(|\\)|\\[|\\]|,|\"|'|-|5|e| |and|or|in|null|contains|length){0,24}") {
        if let Ok(trigger) = Trigger::parse(&text) {
            prop_assert_eq!(Trigger::parse(&trigger.to_string()), Ok(trigger));
        }
    }
}
