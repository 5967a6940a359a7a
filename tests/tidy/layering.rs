//! Layering: which room may depend on which, and which crates belong to some rooms only. A room is a
//! module of the crate's root. It depends on another when a path in it, written from the root, leads
//! there: `crate::room::…`, a `super::…` that climbs as high, and `use` groups, macros and attributes
//! with them. The list of arrows is exact.

use std::collections::BTreeSet;

use super::cycles::cycles;
use super::modules::Modules;
use super::references::{Kind, Reference};
use super::{SourceFile, assert_none, files};

/// Any room may depend on these; they depend on no room.
const GROUND: [&str; 1] = ["json"];

/// The rooms that each room depends on, beside the ground.
const ARROWS: &[(&str, &[&str])] = &[
    ("json", &[]),
    ("domain", &[]),
    ("settings", &["domain"]),
    ("store", &["domain", "telemetry"]),
    ("telemetry", &["domain", "sender", "settings"]),
    ("trigger", &[]),
    ("mapping", &["domain", "trigger"]),
    ("sender", &["domain"]),
    ("functions", &["domain"]),
    ("routing", &["domain", "functions", "mapping", "sender", "settings", "store", "trigger"]),
    ("outbound_auth", &["domain", "sender", "settings", "store"]),
    ("auth", &["domain", "settings", "store"]),
    ("live", &["domain"]),
    ("inspector", &["domain", "live", "sender"]),
    ("intake", &["domain", "live", "routing", "store", "telemetry"]),
    (
        "delivery",
        &[
            "domain",
            "functions",
            "mapping",
            "outbound_auth",
            "routing",
            "sender",
            "store",
            "telemetry",
        ],
    ),
    ("alerts", &["delivery", "domain", "routing", "store", "telemetry"]),
    ("maintenance", &["alerts", "auth", "delivery", "domain", "store"]),
    ("pipeline", &["domain", "functions", "mapping", "sender", "settings", "store"]),
    (
        "service",
        &[
            "auth",
            "delivery",
            "domain",
            "inspector",
            "live",
            "maintenance",
            "mapping",
            "outbound_auth",
            "pipeline",
            "settings",
            "store",
            "trigger",
        ],
    ),
    (
        "api",
        &[
            "auth",
            "domain",
            "inspector",
            "live",
            "outbound_auth",
            "pipeline",
            "service",
            "settings",
            "store",
            "telemetry",
        ],
    ),
    ("web", &["auth", "domain", "live", "pipeline", "service", "settings", "store", "telemetry"]),
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
            "outbound_auth",
            "pipeline",
            "routing",
            "sender",
            "service",
            "settings",
            "store",
            "telemetry",
            "web",
        ],
    ),
    (
        "cli",
        &[
            "api",
            "domain",
            "functions",
            "inspector",
            "mapping",
            "pipeline",
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

/// Crates that belong to some rooms only.
const CRATES: &[(&str, &[&str])] = &[
    ("sqlx", &["store"]),
    ("libsqlite3_sys", &["store"]),
    ("rusqlite", &["store"]),
    ("reqwest", &["cli", "sender"]),
    ("oauth2", &["outbound_auth"]),
    ("hickory_resolver", &["sender"]),
    ("axum", &["api", "intake", "live", "server", "web"]),
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

fn read() -> Modules {
    Modules::read(&files(&["src"], "rs"))
}

#[test]
fn rooms_depend_only_on_the_rooms_below_them() {
    assert_none(&faults(&read()), "a dependency that is not allowed");
}

#[test]
fn every_arrow_that_is_allowed_is_used() {
    let unused: Vec<String> = unused(ARROWS, &arrows(&read()));
    assert_none(&unused, "an allowed arrow that nothing uses");
}

#[test]
fn rooms_have_no_cycles() {
    let arrows = arrows(&read());
    let names = |_: &str, _: &str| String::new();
    assert_none(&cycles(&arrows, names), "rooms that depend on each other");
}

#[test]
fn every_room_has_its_arrows() {
    let missing: Vec<String> = files(&["src"], "rs")
        .iter()
        .map(|file| room(&file.path))
        .filter(|room| !is_room(room) && room != "lib" && room != "main")
        .collect();
    assert_none(&missing, "rooms without arrows");
    let rooms: BTreeSet<String> = files(&["src"], "rs").iter().map(|it| room(&it.path)).collect();
    let gone = ARROWS.iter().map(|(room, _)| (*room).to_owned());
    let gone: Vec<String> = gone.filter(|room| !rooms.contains(room)).collect();
    assert_none(&gone, "arrows of a room that does not exist");
}

/// The room that a file of `src` belongs to.
pub(super) fn room(path: &str) -> String {
    let inner = path.trim_start_matches("src/");
    inner.split('/').next().unwrap_or(inner).trim_end_matches(".rs").to_owned()
}

fn is_room(name: &str) -> bool {
    ARROWS.iter().any(|(room, _)| *room == name)
}

/// Which room depends on which, outside of tests.
fn arrows(modules: &Modules) -> BTreeSet<(String, String)> {
    let files = modules.references.iter().filter(|(path, _)| *path != "src/lib.rs");
    let pairs = files.flat_map(|(path, references)| {
        let code = references.iter().filter(|reference| !reference.test);
        code.filter_map(|reference| Some((room(path), room_named(reference)?)))
    });
    pairs.filter(|(from, to)| from != to && is_room(to)).collect()
}

fn unused(allowed: &[(&str, &[&str])], used: &BTreeSet<(String, String)>) -> Vec<String> {
    let allowed = allowed.iter().flat_map(|(from, all)| all.iter().map(move |to| (*from, *to)));
    allowed
        .filter(|(from, to)| !used.contains(&((*from).to_owned(), (*to).to_owned())))
        .map(|(from, to)| format!("{from} -> {to}"))
        .collect()
}

fn faults(modules: &Modules) -> Vec<String> {
    let files = modules.references.iter().filter(|(path, _)| *path != "src/lib.rs");
    files
        .flat_map(|(path, references)| {
            references.iter().filter_map(|reference| fault(modules, path, reference))
        })
        .collect()
}

fn fault(modules: &Modules, path: &str, reference: &Reference) -> Option<String> {
    let (room, line) = (room(path), || reference.span.start().line);
    let known = ARROWS.iter().find(|(name, _)| *name == room).map_or(&[] as &[&str], |is| is.1);
    let may = |other: &str| {
        room == "main" || other == room || known.contains(&other) || GROUND.contains(&other)
    };
    if let Some(other) = room_named(reference).filter(|other| is_room(other) && !may(other)) {
        return Some(format!("{path}:{}: {room} may not depend on {other}", line()));
    }
    let name = reference.segments.first()?;
    let (_, rooms) = CRATES.iter().find(|(known, _)| known == name)?;
    (!rooms.contains(&room.as_str()) && names_crate(modules, reference, name))
        .then(|| format!("{path}:{}: {name} belongs to {rooms:?}", line()))
}

/// The room that a path leads to from the crate's root; none for a path that stays below a room.
fn room_named(reference: &Reference) -> Option<String> {
    let in_main = reference.module.first().is_some_and(|module| module == "main");
    let climbs = reference.segments.iter().take_while(|it| *it == "super").count();
    let after = match reference.segments.first()?.as_str() {
        "crate" => 1,
        "postrider" if in_main => 1,
        "super" if climbs >= reference.module.len() => climbs,
        _ => return None,
    };
    reference.segments.get(after).cloned()
}

/// Whether a path begins with a crate's name. A single name is a crate in a `use` and as a macro only.
fn names_crate(modules: &Modules, reference: &Reference, name: &str) -> bool {
    let is_path = reference.segments.len() > 1 || reference.kind != Kind::Code;
    reference.rooted || is_path && !modules.is_local(&reference.module, name)
}

fn faults_in(path: &str, source: &str) -> Vec<String> {
    let file = SourceFile { path: path.to_owned(), text: source.to_owned() };
    faults(&Modules::read(&[file]))
}

#[test]
fn a_forbidden_arrow_is_noticed_however_it_is_written() {
    let offences = [
        ("src/domain/job.rs", "use crate::store::Store;"),
        ("src/domain/job.rs", "use crate::{json::Value, store::{Store, Ledger}};"),
        ("src/domain/job.rs", "fn a() { crate::sender::send(); }"),
        ("src/domain/job.rs", "fn a() -> Vec<crate::sender::Sent> { Vec::new() }"),
        ("src/domain/job.rs", "fn a() { select! { _ = crate::sender::send() => {} } }"),
        ("src/domain/job.rs", "fn a() { b! { use crate::{json, store::Store}; } }"),
        ("src/domain/job.rs", "#[serde(with = \"crate::store::row\")] struct A;"),
        ("src/domain/job.rs", "use super::super::store::Store;"),
        ("src/domain/job.rs", "mod tests { use super::super::super::store::Store; }"),
        ("src/domain/job.rs", "#[cfg(test)] mod tests { use crate::store::Store; }"),
        ("src/domain/mod.rs", "use super::{json, store};"),
        ("src/json/mod.rs", "pub(in crate::store) fn a() {}"),
        ("src/delivery/mod.rs", "use\n    crate\n    ::api::Api;"),
        ("src/api/mod.rs", "use crate::server::Postrider;"),
        ("src/delivery/mod.rs", "use sqlx::Row;"),
        ("src/delivery/mod.rs", "use {std::fmt, sqlx::Row};"),
        ("src/delivery/mod.rs", "fn a(e: ::sqlx::Error) {}"),
        ("src/delivery/mod.rs", "#[derive(sqlx::FromRow)] struct A;"),
        ("src/delivery/mod.rs", "fn a() { b!(x, sqlx::query(c)) }"),
        ("src/store/mod.rs", "fn a() -> reqwest::Client { reqwest::Client::new() }"),
        ("src/store/mod.rs", "use reqwest;"),
        ("src/store/mod.rs", "extern crate axum;"),
        ("src/api/mod.rs", "fn a() -> anyhow::Result<()> { anyhow!(1) }"),
        ("src/api/mod.rs", "fn a() { anyhow!(1) }"),
    ];
    for (path, source) in offences {
        assert!(!faults_in(path, source).is_empty(), "not noticed in {path}: {source}");
    }
}

#[test]
fn an_allowed_arrow_is_left_alone() {
    let innocent = [
        ("src/domain/job.rs", "use super::delivery::State; use crate::domain::clock::Timestamp;"),
        ("src/domain/job.rs", "mod tests { use super::*; use super::super::store_like::A; }"),
        ("src/domain/job.rs", "//! As crate::store::Store says.\nconst A: &str = \"sqlx::Row\";"),
        ("src/store/sqlite/mod.rs", "use sqlx::Row; use super::Store; use super::super::Store;"),
        ("src/delivery/mod.rs", "fn c() { let sqlx = 1; a.sqlx(); b::sqlx::c(); }"),
        ("src/api/mod.rs", "mod cookie { pub fn a() {} } fn a() { cookie::a() }"),
        ("src/main.rs", "use postrider::cli::run;"),
    ];
    for (path, source) in innocent {
        assert_eq!(faults_in(path, source), Vec::<String>::new(), "{path}: {source}");
    }
}

#[test]
fn an_arrow_that_nothing_uses_is_noticed() {
    let source = "use crate::a::A; #[cfg(test)] mod tests { use crate::b::B; }";
    let file = SourceFile { path: "src/c.rs".to_owned(), text: source.to_owned() };
    let used: BTreeSet<(String, String)> = Modules::read(&[file]).references["src/c.rs"]
        .iter()
        .filter(|reference| !reference.test)
        .filter_map(|reference| Some(("c".to_owned(), room_named(reference)?)))
        .collect();
    assert_eq!(unused(&[("c", &["a", "b"])], &used), ["c -> b"]);
}
