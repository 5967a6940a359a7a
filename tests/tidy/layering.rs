//! Layering: which room of the house may know which, and which crates live in one room only.

use super::lexer::{Token, tokens};
use super::{assert_none, files};

/// Known to every room, and knowing none but each other.
const GROUND: [&str; 1] = ["json"];

/// The rooms each room may know, beside the ground. A room that is not here may know nothing.
const ARROWS: &[(&str, &[&str])] = &[
    ("json", &[]),
    ("domain", &[]),
    ("settings", &["domain"]),
    ("store", &["domain", "telemetry"]),
    ("telemetry", &["domain", "sender", "settings"]),
    ("trigger", &["domain"]),
    ("mapping", &["domain", "trigger"]),
    ("sender", &["domain"]),
    ("functions", &["domain"]),
    ("routing", &["domain", "functions", "trigger", "mapping", "store", "sender", "settings"]),
    ("outbound_auth", &["domain", "settings", "sender", "store"]),
    ("auth", &["domain", "settings", "store"]),
    ("live", &["domain"]),
    ("inspector", &["domain", "live", "sender"]),
    ("intake", &["domain", "live", "routing", "settings", "store", "telemetry"]),
    (
        "delivery",
        &[
            "domain",
            "functions",
            "mapping",
            "outbound_auth",
            "routing",
            "sender",
            "settings",
            "store",
            "telemetry",
        ],
    ),
    ("alerts", &["delivery", "domain", "routing", "store", "telemetry"]),
    ("maintenance", &["alerts", "auth", "delivery", "domain", "settings", "store", "telemetry"]),
    ("process", &["delivery", "domain", "functions", "store"]),
    ("pipeline", &["domain", "functions", "mapping", "process", "sender", "settings", "store"]),
    (
        "service",
        &[
            "auth",
            "delivery",
            "domain",
            "inspector",
            "live",
            "mapping",
            "outbound_auth",
            "pipeline",
            "process",
            "settings",
            "store",
            "trigger",
        ],
    ),
    ("sse", &["service"]),
    (
        "api",
        &[
            "auth",
            "domain",
            "inspector",
            "outbound_auth",
            "pipeline",
            "service",
            "settings",
            "sse",
            "store",
            "telemetry",
        ],
    ),
    ("web", &["auth", "domain", "pipeline", "service", "settings", "sse", "store"]),
    (
        "server",
        &[
            "alerts",
            "api",
            "auth",
            "delivery",
            "domain",
            "functions",
            "inspector",
            "intake",
            "live",
            "maintenance",
            "mapping",
            "outbound_auth",
            "pipeline",
            "process",
            "routing",
            "sender",
            "service",
            "settings",
            "store",
            "telemetry",
            "trigger",
            "web",
        ],
    ),
    (
        "cli",
        &[
            "api",
            "auth",
            "delivery",
            "domain",
            "functions",
            "inspector",
            "intake",
            "maintenance",
            "mapping",
            "pipeline",
            "process",
            "routing",
            "sender",
            "server",
            "service",
            "settings",
            "store",
            "telemetry",
            "trigger",
        ],
    ),
];

/// Crates that live in some rooms only.
const TENANTS: &[(&str, &[&str])] = &[
    ("sqlx", &["store"]),
    ("libsqlite3_sys", &["store"]),
    ("rusqlite", &["store"]),
    ("reqwest", &["sender"]),
    ("oauth2", &["outbound_auth"]),
    ("hickory_resolver", &["sender"]),
    ("axum", &["intake", "api", "server", "sse", "web"]),
    ("askama", &["api", "web"]),
    ("utoipa", &["api", "domain", "pipeline", "service"]),
    ("utoipa_axum", &["api"]),
    ("askama", &["api", "web"]),
    ("cookie", &["web"]),
    ("tower_http", &["intake", "api", "server", "web"]),
    ("rquickjs", &["functions"]),
    ("tokio_cron_scheduler", &["maintenance", "server"]),
    ("prometheus_client", &["telemetry"]),
    ("anyhow", &["cli", "main"]),
    ("comfy_table", &["cli"]),
    ("indicatif", &["cli"]),
];

#[test]
fn rooms_know_only_the_rooms_below_them() {
    let faults: Vec<String> = files(&["src"], "rs")
        .iter()
        .filter(|file| file.path != "src/lib.rs")
        .flat_map(|file| faults(&file.path, &file.text))
        .collect();
    assert_none(&faults, "a room reaches where it may not");
}

#[test]
fn every_room_has_its_arrows() {
    let listed = |room: &str| ARROWS.iter().any(|(known, _)| *known == room);
    let missing: Vec<String> = files(&["src"], "rs")
        .iter()
        .map(|file| room(&file.path))
        .filter(|room| !listed(room) && room != "lib" && room != "main")
        .collect();
    assert_none(&missing, "rooms without arrows");
}

/// The room that a file of `src` belongs to.
fn room(path: &str) -> String {
    let inner = path.trim_start_matches("src/");
    inner.split('/').next().unwrap_or(inner).trim_end_matches(".rs").to_owned()
}

fn faults(path: &str, source: &str) -> Vec<String> {
    let room = room(path);
    let tokens = tokens(source);
    let rooms = rooms_named(path, &tokens);
    let known = ARROWS.iter().find(|(name, _)| *name == room).map_or(&[] as &[&str], |is| is.1);
    let may = |other: &str| {
        room == "main" || other == room || known.contains(&other) || GROUND.contains(&other)
    };
    let reached = rooms.iter().filter(|(other, _)| is_room(other) && !may(other));
    let mut faults: Vec<String> = reached
        .map(|(other, line)| format!("{path}:{line}: {room} may not know {other}"))
        .collect();
    for (tenant, rooms) in TENANTS {
        let strays = crates_named(tenant, &tokens);
        if !rooms.contains(&room.as_str()) {
            faults.extend(strays.map(|line| format!("{path}:{line}: {tenant} lives in {rooms:?}")));
        }
    }
    faults
}

fn is_room(name: &str) -> bool {
    ARROWS.iter().any(|(room, _)| *room == name)
}

/// Every name that follows `crate::`, or a `super::` that climbs as high, with groups opened.
fn rooms_named(path: &str, tokens: &[Token]) -> Vec<(String, usize)> {
    let mut named = Vec::new();
    let mut inline = InlineModules::default();
    for (at, token) in tokens.iter().enumerate() {
        inline.pass(tokens, at);
        let starts_path = at == 0 || text(tokens, at - 1) != "::";
        let after = match token.text.as_str() {
            "crate" => Some(at + 1),
            "postrider" if room(path) == "main" => Some(at + 1),
            "super" if starts_path => climb(tokens, at, depth(path) + inline.depth()),
            _ => None,
        };
        if let Some(after) = after.filter(|after| text(tokens, *after) == "::") {
            named.extend(first_names(tokens, after + 1));
        }
    }
    named
}

/// How many modules a file is below the crate's root.
fn depth(path: &str) -> usize {
    let inner = path.trim_start_matches("src/").trim_end_matches(".rs");
    inner.trim_end_matches("/mod").split('/').filter(|part| *part != "main").count()
}

/// Where a path of `super`s stands when it has climbed to the root; none when it stays below.
fn climb(tokens: &[Token], start: usize, depth: usize) -> Option<usize> {
    let (mut at, mut climbed) = (start, 1);
    while text(tokens, at + 1) == "::" && text(tokens, at + 2) == "super" {
        at += 2;
        climbed += 1;
    }
    (climbed >= depth).then_some(at + 1)
}

/// The first name of each path from here: one, or those of a `{…}` group.
fn first_names(tokens: &[Token], start: usize) -> Vec<(String, usize)> {
    if text(tokens, start) != "{" {
        return tokens
            .get(start)
            .map(|token| (token.text.clone(), token.line))
            .into_iter()
            .collect();
    }
    let (mut names, mut nested, mut fresh) = (Vec::new(), 0usize, true);
    for token in &tokens[start + 1..] {
        match token.text.as_str() {
            "{" => nested += 1,
            "}" if nested == 0 => break,
            "}" => nested -= 1,
            "," if nested == 0 => fresh = true,
            name if fresh => {
                names.push((name.to_owned(), token.line));
                fresh = false;
            }
            _ => {}
        }
    }
    names
}

/// The lines on which a crate is named: at the start of a path, or bare in a `use`.
fn crates_named<'a>(name: &'a str, tokens: &'a [Token]) -> impl Iterator<Item = usize> + 'a {
    tokens.iter().enumerate().filter_map(move |(at, token)| {
        let before = if at == 0 { "" } else { text(tokens, at - 1) };
        let after = text(tokens, at + 1);
        // `::sqlx::x` names the crate as well: then nothing that could be a path stands before `::`.
        let rooted = before == "::" && at >= 2 && !is_word(text(tokens, at - 2));
        let starts = before != "::" && before != "." || rooted || before == "::" && at == 1;
        let names = after == "::" || after == "!" || matches!(before, "use" | "crate");
        (token.text == name && starts && names).then_some(token.line)
    })
}

fn is_word(token: &str) -> bool {
    token.starts_with(|c: char| c.is_alphanumeric() || c == '_')
        && !matches!(token, "use" | "in" | "as" | "return" | "dyn" | "impl" | "mut" | "for")
}

fn text(tokens: &[Token], at: usize) -> &str {
    tokens.get(at).map_or("", |token| token.text.as_str())
}

/// The `mod name { … }` blocks that are open: each is one more step to the root.
#[derive(Default)]
struct InlineModules {
    braces: Vec<bool>,
}

impl InlineModules {
    fn pass(&mut self, tokens: &[Token], at: usize) {
        match text(tokens, at) {
            "{" => self.braces.push(at >= 2 && text(tokens, at - 2) == "mod"),
            "}" => {
                self.braces.pop();
            }
            _ => {}
        }
    }

    fn depth(&self) -> usize {
        self.braces.iter().filter(|is_module| **is_module).count()
    }
}

#[test]
fn a_forbidden_arrow_is_noticed_however_it_is_written() {
    let offences = [
        ("src/domain/job.rs", "use crate::store::Store;"),
        ("src/domain/job.rs", "use crate::{json::Value, store::{Store, Ledger}};"),
        ("src/domain/job.rs", "fn a() { crate::sender::send(); }"),
        ("src/domain/job.rs", "use super::super::store::Store;"),
        ("src/domain/job.rs", "mod tests { use super::super::super::store::Store; }"),
        ("src/domain/mod.rs", "use super::{json, store};"),
        ("src/json/mod.rs", "pub(in crate::store) fn a() {}"),
        ("src/delivery/mod.rs", "use\n    crate\n    ::api::Api;"),
        ("src/api/mod.rs", "use crate::server::Postrider;"),
        ("src/delivery/mod.rs", "use sqlx::Row;"),
        ("src/delivery/mod.rs", "use {std::fmt, sqlx::Row};"),
        ("src/delivery/mod.rs", "fn a(e: ::sqlx::Error) {}"),
        ("src/delivery/mod.rs", "#[derive(sqlx::FromRow)] struct A;"),
        ("src/store/mod.rs", "fn a() -> reqwest::Client { reqwest::Client::new() }"),
        ("src/store/mod.rs", "use reqwest;"),
        ("src/store/mod.rs", "extern crate axum;"),
        ("src/api/mod.rs", "fn a() -> anyhow::Result<()> { anyhow!(1) }"),
    ];
    for (path, source) in offences {
        assert!(!faults(path, source).is_empty(), "not noticed in {path}: {source}");
    }
}

#[test]
fn an_allowed_arrow_is_left_alone() {
    let innocent = [
        ("src/domain/job.rs", "use super::delivery::State; use crate::domain::clock::Timestamp;"),
        ("src/domain/job.rs", "mod tests { use super::*; use super::super::store_like::A; }"),
        ("src/domain/job.rs", "//! As crate::store::Store says.\nconst A: &str = \"sqlx::Row\";"),
        ("src/store/sqlite/mod.rs", "use sqlx::Row; use super::Store; use super::super::Store;"),
        ("src/delivery/mod.rs", "let sqlx = 1; a.sqlx(); b::sqlx::c();"),
        ("src/main.rs", "use postrider::cli::run;"),
    ];
    for (path, source) in innocent {
        assert_eq!(faults(path, source), Vec::<String>::new(), "{path}: {source}");
    }
}
