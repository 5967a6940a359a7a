//! Generated triggers, within the common grammar.

use rand::RngExt as _;
use rand::rngs::StdRng;

use super::{one_in, pick};

/// Fields that Segment's triggers know as text only, and those that may be anything.
const TEXT_FIELDS: [&str; 2] = ["event", "userId"];
const FIELDS: [&str; 8] = [
    "properties.plan",
    "properties.revenue",
    "properties.ok",
    "properties.deep.er",
    "traits.email",
    "traits.plan",
    "context.ip",
    "context.page.path",
];
const TEXTS: [&str; 9] = ["Pro", "enterprise", "u1", "39.95", "true", "null", "", "é", "8.8.8.8"];
const NUMBERS: [&str; 6] = ["0", "5", "39.95", "100", "-1", "7"];
const TYPES: [&str; 4] = ["track", "identify", "page", "screen"];

/// The kinds of conditions that are comparisons.
const COMPARISONS: u32 = 7;

/// Conditions joined by one word, some of them groups joined by another.
pub(super) fn trigger(rng: &mut StdRng) -> String {
    let word = pick(rng, &["and", "or"]);
    let count = rng.random_range(1..4);
    let parts: Vec<String> =
        (0..count)
            .map(|_| {
                if count > 1 && one_in(rng, 3) {
                    group(rng)
                } else {
                    condition(rng, COMPARISONS + 1)
                }
            })
            .collect();
    parts.join(&format!(" {word} "))
}

/// A group has comparisons only: Segment's parser ends it at a function's parenthesis.
fn group(rng: &mut StdRng) -> String {
    let word = pick(rng, &["and", "or"]);
    format!("({} {word} {})", condition(rng, COMPARISONS), condition(rng, COMPARISONS))
}

fn condition(rng: &mut StdRng, kinds: u32) -> String {
    let field = pick(rng, &FIELDS);
    let equality = pick(rng, &["=", "!="]);
    match rng.random_range(0..kinds) {
        0 => format!("type {equality} \"{}\"", pick(rng, &TYPES)),
        1 => format!("{} {equality} \"{}\"", pick(rng, &TEXT_FIELDS), pick(rng, &TEXTS)),
        2 => format!("{field} {equality} \"{}\"", pick(rng, &TEXTS)),
        3 => format!("{field} {equality} {}", pick(rng, &NUMBERS)),
        4 => {
            let order = pick(rng, &["<", "<=", ">", ">="]);
            let number = pick(rng, &NUMBERS);
            if one_in(rng, 3) {
                format!("{field} {order} \"{number}\"")
            } else {
                format!("{field} {order} {number}")
            }
        }
        5 => format!("{field} {equality} null"),
        6 => format!("{field} = {}", pick(rng, &["true", "false"])),
        _ => {
            let not = if one_in(rng, 3) { "!" } else { "" };
            let field = if one_in(rng, 3) { pick(rng, &TEXT_FIELDS) } else { field };
            let part = pick(rng, &["P", "o", "u1", "enter", "8", "x/"]);
            match rng.random_range(0..3) {
                0 => format!("{not}contains({field}, \"{part}\")"),
                1 => format!("{not}match({field}, \"{part}*\")"),
                _ => format!("{not}match({field}, \"*{part}\")"),
            }
        }
    }
}
