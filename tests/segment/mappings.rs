//! Generated data and events, as JSON text, with every spelling of numbers and escapes.

use rand::RngExt as _;
use rand::rngs::StdRng;

use super::{one_in, pick};

const KEYS: [&str; 14] = [
    "plan",
    "revenue",
    "list",
    "email",
    "0",
    "10",
    "2",
    "01",
    "4294967294",
    "4294967295",
    "é",
    "a b",
    "total billed",
    "",
];
/// JSON texts of strings, as an event may have them.
const STRINGS: [&str; 26] = [
    r#""""#,
    r#""x""#,
    r#""Pro""#,
    r#""enterprise""#,
    r#""é""#,
    r#""Größe""#,
    r#""İIıſK""#,
    r#""ΟΔΟΣ""#,
    r#""a.b.c""#,
    r#""{{userId}}""#,
    r#""{{{userId}}}""#,
    r#""$& $1 $$""#,
    r#""\u0000\u001f""#,
    r#""\ud83d""#,
    r#""\ude00x""#,
    r#""😀""#,
    r#""null""#,
    r#""12""#,
    r#""[1,{\"a\":1.0}]""#,
    r#""{\"b\":2,\"1\":\"\\ud83d\"}""#,
    r#"" \t x\n""#,
    r#""39.95""#,
    r#""hector@test.org""#,
    r#""back\\slash\"q""#,
    r#""\/\u00e9\u2028""#,
    r#""Order Completed""#,
];
const NUMBERS: [&str; 13] = [
    "0",
    "-0",
    "1.0",
    "39.95",
    "1e21",
    "1e-7",
    "123456789012345680000",
    "1e400",
    "-1e400",
    "5",
    "5e-324",
    "2147483648",
    "100",
];
const PATHS: [&str; 26] = [
    "$.",
    "",
    ".",
    "$",
    "userId",
    "$.userId",
    "$.event",
    "$.type",
    "$.properties",
    "$.traits",
    "$.properties.plan",
    "$.properties.list",
    "$.properties.list[0]",
    "properties.list.1",
    "$.properties.list[0].plan",
    "$.properties['a b']",
    "$.properties[\"é\"].list",
    "$.properties.list.length",
    "$.properties.plan.length",
    "$.properties.plan[0]",
    "$.nope",
    "$.nope.deeper",
    "$.traits.email",
    "$.context.ip",
    "$.properties.total billed",
    "x$.userId",
];
const TEMPLATES: [&str; 14] = [
    "",
    "plain",
    "{{userId}}",
    "{{ userId }}-{{type}}",
    "{{{userId}}}",
    "{{nope}}!",
    "{{properties.plan}} EUR",
    "{{{properties.plan}}}{{properties.list}}",
    "{{properties}}",
    "{{$.userId}}",
    "{{ }}",
    "{{{traits.email}}} {{traits.email}}",
    "{{properties.plan}}{{traits.plan}}",
    "}} {{userId} {{{x}",
];

/// The data of a mapping.
pub(super) fn data(rng: &mut StdRng) -> String {
    if one_in(rng, 8) {
        return directive(rng, 0);
    }
    object(rng, |rng| node(rng, 1))
}

/// An event of any type.
pub(super) fn event(rng: &mut StdRng) -> String {
    let kind = pick(rng, &["track", "identify", "page", "screen", "group", "alias"]);
    let user = pick(rng, &[r#""u1""#, r#""97980""#, "null", "5", r#""""#]);
    let mut event = format!(
        r#"{{"type":"{kind}","userId":{user},"context":{{"ip":"8.8.8.8","page":{{"path":"/x/1"}}}}"#
    );
    for field in ["properties", "traits"] {
        if !one_in(rng, 4) {
            let fields = object(rng, |rng| value(rng, 0));
            event += &format!(",\"{field}\":{}", with_known(rng, &fields));
        }
    }
    if one_in(rng, 2) {
        event += &format!(",\"event\":{}", pick(rng, &STRINGS));
    }
    event + "}"
}

/// Fields that paths and triggers look for, beside any others.
fn with_known(rng: &mut StdRng, fields: &str) -> String {
    let plan = value(rng, 3);
    let list = array(rng, |rng| value(rng, 1));
    let known = format!(
        r#"{{"plan":{plan},"revenue":{},"ok":{},"email":{},"list":{list},"deep":{{"er":{}}}"#,
        pick(rng, &["39.95", "100", "\"39.95\"", "null", "0"]),
        pick(rng, &["true", "false", "\"true\"", "null"]),
        pick(rng, &STRINGS),
        pick(rng, &["5", "\"Pro\"", "null"]),
    );
    if fields == "{}" { known + "}" } else { format!("{known},{}", &fields[1..]) }
}

fn value(rng: &mut StdRng, depth: u32) -> String {
    match rng.random_range(0..if depth < 3 { 8 } else { 6 }) {
        0 => "null".to_owned(),
        1 => pick(rng, &["true", "false"]).to_owned(),
        2 => pick(rng, &NUMBERS).to_owned(),
        3..6 => pick(rng, &STRINGS).to_owned(),
        6 => array(rng, |rng| value(rng, depth + 1)),
        _ => object(rng, |rng| value(rng, depth + 1)),
    }
}

fn array(rng: &mut StdRng, mut item: impl FnMut(&mut StdRng) -> String) -> String {
    let items: Vec<String> = (0..rng.random_range(0..4)).map(|_| item(rng)).collect();
    format!("[{}]", items.join(","))
}

fn object(rng: &mut StdRng, mut item: impl FnMut(&mut StdRng) -> String) -> String {
    let fields: Vec<String> = (0..rng.random_range(0..4))
        .map(|_| format!("\"{}\":{}", pick(rng, &KEYS), item(rng)))
        .collect();
    format!("{{{}}}", fields.join(","))
}

fn literal(rng: &mut StdRng) -> String {
    match rng.random_range(0..4) {
        0 => "null".to_owned(),
        1 => pick(rng, &["true", "false"]).to_owned(),
        2 => pick(rng, &["0", "1.0", "39.95", "1e21", "123456789012345680000"]).to_owned(),
        _ => pick(rng, &[r#""""#, r#""x""#, r#""Größe""#, r#""{{userId}}""#, r#""😀""#]).to_owned(),
    }
}

/// A value anywhere in a mapping.
fn node(rng: &mut StdRng, depth: u32) -> String {
    if depth > 4 {
        return directive(rng, depth);
    }
    match rng.random_range(0..8) {
        0 => literal(rng),
        1 => array(rng, |rng| node(rng, depth + 1)),
        2 => object(rng, |rng| node(rng, depth + 1)),
        _ => directive(rng, depth),
    }
}

/// A value that JavaScript takes for true, which some options ask for.
fn truthy(rng: &mut StdRng, depth: u32) -> String {
    if one_in(rng, 6) {
        return pick(rng, &["1", "\"x\"", "[]", "{}", "true"]).to_owned();
    }
    directive(rng, depth)
}

fn text(from: &str) -> String {
    serde_json::Value::from(from).to_string()
}

fn directive(rng: &mut StdRng, depth: u32) -> String {
    let choices = if depth > 4 { 4 } else { 16 };
    let inner = depth + 1;
    let (name, inside) = match rng.random_range(0..choices) {
        0..3 => ("path", text(pick(rng, &PATHS))),
        3 => ("template", text(pick(rng, &TEMPLATES))),
        4 => ("literal", node(rng, inner)),
        5 => ("if", condition(rng, inner)),
        6 => ("case", case(rng, inner)),
        7 => ("replace", replace(rng, inner)),
        8 => ("arrayPath", array_path(rng, inner)),
        9 => ("merge", merge(rng, inner)),
        10 => {
            let apply = structure(rng, inner);
            ("transform", format!(r#"{{"apply":{apply},"mapping":{}}}"#, structure(rng, inner)))
        }
        11 => {
            let mode = pick(rng, &["encode", "decode"]);
            ("json", format!(r#"{{"mode":"{mode}","value":{}}}"#, truthy(rng, inner)))
        }
        12 => {
            let omit = pick(rng, &["true", "false"]);
            let value = node(rng, inner);
            let separator = pick(rng, &["_", ".", "0", " sep "]);
            let options = format!(r#""separator":"{separator}","omitArrays":{omit}"#);
            ("flatten", format!(r#"{{"value":{value},{options}}}"#))
        }
        13 => ("excludeWhenNull", node(rng, inner)),
        14 => ("path", directive(rng, inner)),
        _ => ("template", directive(rng, inner)),
    };
    let metadata = if one_in(rng, 20) { r#","_metadata":{"label":"x"}"# } else { "" };
    format!("{{\"@{name}\":{inside}{metadata}}}")
}

/// An object or a directive, which some options ask for.
fn structure(rng: &mut StdRng, depth: u32) -> String {
    if one_in(rng, 2) { directive(rng, depth) } else { object(rng, |rng| node(rng, depth + 1)) }
}

/// Text or a directive, which some options ask for.
fn text_or_directive(rng: &mut StdRng, depth: u32) -> String {
    if one_in(rng, 4) {
        return pick(rng, &[r#""""#, r#""Größe ß""#, r#""a.b.c""#]).to_owned();
    }
    directive(rng, depth)
}

fn condition(rng: &mut StdRng, depth: u32) -> String {
    let subject = pick(rng, &["exists", "blank"]);
    let mut options = format!(r#""{subject}":{}"#, truthy(rng, depth));
    if !one_in(rng, 5) {
        options += &format!(r#","then":{}"#, node(rng, depth));
    }
    if !one_in(rng, 3) {
        options += &format!(r#","else":{}"#, node(rng, depth));
    }
    format!("{{{options}}}")
}

fn case(rng: &mut StdRng, depth: u32) -> String {
    let operator = pick(rng, &["upper", "lower"]);
    let value = text_or_directive(rng, depth);
    format!(r#"{{"operator":"{operator}","value":{value}}}"#)
}

fn replace(rng: &mut StdRng, depth: u32) -> String {
    let pattern = pick(rng, &[".", " ", "l", "ö", "S", "{{", "e", "😀", "Order", "\\\\", "k", "-"]);
    let mut options = format!(r#""pattern":"{pattern}","value":{}"#, text_or_directive(rng, depth));
    if !one_in(rng, 4) {
        let replacement = pick(rng, &["", "zz", "[$&]", "$`|$'", "$$1$", "é", "$<x>"]);
        options += &format!(r#","replacement":"{replacement}""#);
    }
    if one_in(rng, 3) {
        options += &format!(r#","ignorecase":{}"#, pick(rng, &["true", "false"]));
    }
    if one_in(rng, 3) {
        options += &format!(r#","global":{}"#, pick(rng, &["true", "false"]));
    }
    if one_in(rng, 3) {
        options += &format!(r#","pattern2":"{}""#, pick(rng, &["z", "e", ""]));
        if one_in(rng, 2) {
            options += r#","replacement2":"$&$&""#;
        }
    }
    format!("{{{options}}}")
}

fn array_path(rng: &mut StdRng, depth: u32) -> String {
    let root = if one_in(rng, 4) { directive(rng, depth) } else { text(pick(rng, &PATHS)) };
    if one_in(rng, 5) {
        return format!("[{root}]");
    }
    let shape = if one_in(rng, 3) {
        directive(rng, depth)
    } else {
        let path = pick(rng, &["$.plan", "$.", "", "$.length", "$.0", "list[0]", "$.email.length"]);
        let other = node(rng, depth);
        format!(r#"{{"k":{{"@path":"{path}"}},"c":"c","n":{other}}}"#)
    };
    format!("[{root},{shape}]")
}

fn merge(rng: &mut StdRng, depth: u32) -> String {
    let objects: Vec<String> = (0..rng.random_range(0..4)).map(|_| structure(rng, depth)).collect();
    let direction = pick(rng, &["left", "right"]);
    format!(r#"{{"objects":[{}],"direction":"{direction}"}}"#, objects.join(","))
}
