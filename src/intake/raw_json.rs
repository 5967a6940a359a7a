//! Byte ranges in JSON text: the items of a batch, and a text with one property removed. It does not
//! validate: the text must have been parsed before.

use std::ops::Range;

use bytes::Bytes;

use crate::json;

/// One property of an object's text.
struct Member {
    /// Between the surrounding braces or commas, whitespace included.
    whole: Range<usize>,
    key: Range<usize>,
    value: Range<usize>,
}

/// The items of the array under `key` at the top level; of duplicate keys the last one counts, as in the
/// parser. None if the text is not an object or the property is not an array.
pub(super) fn items(text: &[u8], key: &str) -> Option<Vec<Range<usize>>> {
    let array =
        members(text)?.into_iter().rfind(|member| is_key(&text[member.key.clone()], key))?;
    let mut at = array.value.start;
    if text.get(at) != Some(&b'[') {
        return None;
    }
    let mut items = Vec::new();
    at = skip_space(text, at + 1);
    while at < text.len() && text[at] != b']' {
        let end = skip_value(text, at);
        items.push(at..end);
        at = skip_separator(text, end);
    }
    Some(items)
}

/// An object's text without the properties of this name; all other bytes unchanged.
pub(super) fn without(text: &Bytes, key: &str) -> Bytes {
    let Some(members) = members(text) else { return text.clone() };
    let (Some(first), Some(last)) = (members.first(), members.last()) else { return text.clone() };
    let mut kept = Vec::with_capacity(text.len());
    kept.extend_from_slice(&text[..first.whole.start]);
    let mut is_first = true;
    for member in members.iter().filter(|member| !is_key(&text[member.key.clone()], key)) {
        if !std::mem::take(&mut is_first) {
            kept.push(b',');
        }
        kept.extend_from_slice(&text[member.whole.clone()]);
    }
    kept.extend_from_slice(&text[last.whole.end..]);
    kept.into()
}

fn members(text: &[u8]) -> Option<Vec<Member>> {
    let mut at = skip_space(text, 0);
    if text.get(at) != Some(&b'{') {
        return None;
    }
    let mut members = Vec::new();
    at += 1;
    loop {
        let start = at;
        let key = skip_space(text, at);
        if text.get(key) != Some(&b'"') {
            return Some(members);
        }
        let key = key..skip_value(text, key);
        // Past the colon.
        let value = skip_space(text, skip_space(text, key.end) + 1);
        let value = value..skip_value(text, value);
        at = skip_space(text, value.end);
        members.push(Member { whole: start..at, key, value });
        if text.get(at) != Some(&b',') {
            return Some(members);
        }
        at += 1;
    }
}

/// Whether a key's literal, with quotes and escapes, equals `key`.
fn is_key(literal: &[u8], key: &str) -> bool {
    if literal.contains(&b'\\') {
        return json::parse(literal).is_ok_and(|it| it.as_str().is_some_and(|it| it == key));
    }
    literal.get(1..literal.len() - 1) == Some(key.as_bytes())
}

fn skip_space(text: &[u8], at: usize) -> usize {
    let rest = text.get(at..).unwrap_or_default();
    let space = rest.iter().position(|byte| !matches!(byte, b' ' | b'\n' | b'\r' | b'\t'));
    space.map_or(text.len(), |space| at + space)
}

/// Skips a comma and the whitespace around it.
fn skip_separator(text: &[u8], at: usize) -> usize {
    let at = skip_space(text, at);
    if text.get(at) == Some(&b',') { skip_space(text, at + 1) } else { at }
}

/// The end of the value that starts at `at`.
fn skip_value(text: &[u8], at: usize) -> usize {
    match text.get(at) {
        Some(b'"') => skip_string(text, at),
        Some(b'{' | b'[') => skip_nested(text, at),
        _ => {
            let rest = text.get(at..).unwrap_or_default();
            let end = rest
                .iter()
                .position(|byte| matches!(byte, b',' | b']' | b'}' | b' ' | b'\n' | b'\r' | b'\t'));
            end.map_or(text.len(), |end| at + end)
        }
    }
}

fn skip_string(text: &[u8], at: usize) -> usize {
    let mut at = at + 1;
    loop {
        match text.get(at) {
            Some(b'"') => return at + 1,
            Some(b'\\') => at += 2,
            Some(_) => at += 1,
            None => return text.len(),
        }
    }
}

fn skip_nested(text: &[u8], mut at: usize) -> usize {
    let mut depth = 0usize;
    loop {
        match text.get(at) {
            Some(b'"') => {
                at = skip_string(text, at);
                continue;
            }
            Some(b'{' | b'[') => depth += 1,
            Some(b'}' | b']') if depth == 1 => return at + 1,
            Some(b'}' | b']') => depth -= 1,
            Some(_) => {}
            None => return text.len(),
        }
        at += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn texts(text: &str) -> Option<Vec<&str>> {
        let items = items(text.as_bytes(), "batch")?;
        Some(items.into_iter().map(|item| &text[item]).collect())
    }

    #[test]
    fn batch_items_are_located_exactly() {
        assert_eq!(texts(r#"{"batch":[]}"#), Some(vec![]));
        assert_eq!(
            texts(r#" { "a" : "]}\"" , "batch" : [ {"b":[1, "]"]} ,-1.5e3,null , "x,\\" ] }"#),
            Some(vec![r#"{"b":[1, "]"]}"#, "-1.5e3", "null", r#""x,\\""#])
        );
        assert_eq!(texts(r#"{"batch":[1],"\u0062atch":[2,3]}"#), Some(vec!["2", "3"]));
        for none in ["[]", r#"{"a":1}"#, r#"{"batch":{"a":[1]}}"#, "7", r#"{"a":{"batch":[1]}}"#] {
            assert_eq!(texts(none), None, "{none}");
        }
    }

    #[test]
    fn a_property_is_removed() {
        let cut = |text: &'static str| {
            let cut = without(&Bytes::from_static(text.as_bytes()), "k");
            String::from_utf8(cut.to_vec()).expect("UTF-8")
        };
        assert_eq!(cut(r#"{"k":"x"}"#), "{}");
        assert_eq!(cut(r#" {"a": 1 , "k":{"k":2}, "b":3 } "#), r#" {"a": 1 , "b":3 } "#);
        assert_eq!(cut(r#"{"k":1,"a":{"k":2},"\u006b":3}"#), r#"{"a":{"k":2}}"#);
        assert_eq!(cut(r#"{"a":1,"k":2}"#), r#"{"a":1}"#);
        assert_eq!(cut("[1]"), "[1]");
        assert_eq!(cut("{}"), "{}");
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            let _ = items(&bytes, "batch");
            let _ = without(&Bytes::from(bytes), "k");
        }

        #[test]
        fn broken_json_does_not_panic(text in "[\\[\\]{},:\"\\\\ batch1k]{0,40}") {
            let _ = items(text.as_bytes(), "batch");
            let _ = without(&Bytes::from(text), "k");
        }
    }
}
