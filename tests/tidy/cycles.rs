//! Cycles between files of one room. A file depends on another when it names an item that the other
//! defines: by `use`, by a path in code, in an attribute or in a macro's body, through re-exports and
//! globs to where the item is defined.
//!
//! Not a dependency: a `mod` declaration, a `pub use` of a child's items, a path that ends at a module,
//! a method called on a value, what a file takes from a module that it is in (`super::Type` of the
//! folder's `mod.rs`: a module contains its children), and what is below `#[cfg(test)]`.

use std::collections::{BTreeMap, BTreeSet};

use super::layering::room;
use super::modules::Modules;
use super::references::Kind;
use super::{SourceFile, assert_none, files};

/// From, to, and the names that are taken.
type Edges = BTreeMap<(String, String), BTreeSet<String>>;

#[test]
fn files_of_a_room_have_no_cycles() {
    assert_none(&faults(&files(&["src"], "rs")), "files that depend on each other");
}

fn faults(files: &[SourceFile]) -> Vec<String> {
    let edges = edges(&Modules::read(files));
    let pairs: BTreeSet<(String, String)> = edges.keys().cloned().collect();
    cycles(&pairs, |from, to| {
        let names = &edges[&(from.to_owned(), to.to_owned())];
        format!(": {}", names.iter().cloned().collect::<Vec<_>>().join(", "))
    })
}

fn edges(modules: &Modules) -> Edges {
    let mut edges = Edges::new();
    for (from, references) in &modules.references {
        for reference in references.iter().filter(|it| !it.test) {
            let Some(to) = modules.file_of(reference) else { continue };
            let inside = to != from && room(to) == room(from);
            let from_parent = contains(to, from);
            let reexported = reference.kind == Kind::Reexport && contains(from, to);
            if inside && !from_parent && !reexported {
                let names = edges.entry((from.clone(), to.to_owned())).or_default();
                names.extend(reference.segments.last().cloned());
            }
        }
    }
    edges
}

/// Whether the module of one file is a parent of the other's.
fn contains(parent: &str, child: &str) -> bool {
    let folder = parent.strip_suffix("/mod.rs").or_else(|| parent.strip_suffix(".rs"));
    let inside = folder.and_then(|folder| child.strip_prefix(folder));
    inside.is_some_and(|inside| inside.starts_with('/') && child != parent)
}

/// Each cycle as one text: the nodes that reach each other, and their arrows.
pub(super) fn cycles(
    arrows: &BTreeSet<(String, String)>,
    names: impl Fn(&str, &str) -> String,
) -> Vec<String> {
    let nodes: BTreeSet<&String> = arrows.iter().flat_map(|(from, to)| [from, to]).collect();
    let reached: BTreeMap<&String, BTreeSet<&String>> =
        nodes.iter().map(|node| (*node, reachable(node, arrows))).collect();
    let mut seen = BTreeSet::new();
    let mut cycles = Vec::new();
    for node in nodes.iter().copied().filter(|node| reached[*node].contains(*node)) {
        if seen.contains(node) {
            continue;
        }
        let ring: BTreeSet<&String> =
            reached[node].iter().copied().filter(|other| reached[other].contains(node)).collect();
        let arrows = arrows.iter().filter(|(from, to)| ring.contains(from) && ring.contains(to));
        let lines = arrows.map(|(from, to)| format!("  {from} -> {to}{}", names(from, to)));
        let lines: Vec<String> = lines.collect();
        cycles.push(format!("cycle of {}:\n{}", ring.len(), lines.join("\n")));
        seen.extend(ring);
    }
    cycles
}

fn reachable<'a>(start: &str, arrows: &'a BTreeSet<(String, String)>) -> BTreeSet<&'a String> {
    let mut reached = BTreeSet::new();
    let mut open = vec![start];
    while let Some(node) = open.pop() {
        for (_, to) in arrows.iter().filter(|(from, _)| from == node) {
            if reached.insert(to) {
                open.push(to);
            }
        }
    }
    reached
}

fn house(files: &[(&str, &str)]) -> Vec<SourceFile> {
    let files = files.iter().map(|(path, text)| SourceFile {
        path: format!("src/room/{path}"),
        text: (*text).to_owned(),
    });
    files.collect()
}

#[test]
fn a_cycle_is_noticed_however_it_is_written() {
    let offences: [&[(&str, &str)]; 7] = [
        &[("a.rs", "use super::b::B; pub struct A;"), ("b.rs", "use super::a::A; pub struct B;")],
        &[
            ("a.rs", "pub fn f() { super::b::f() }"),
            ("b.rs", "pub fn f(x: crate::room::a::Made) {}"),
            ("mod.rs", "pub mod a; mod b;"),
        ],
        &[
            ("mod.rs", "mod a; mod b; pub use a::A; pub use b::B;"),
            ("a.rs", "use super::B; pub struct A;"),
            ("b.rs", "use crate::room::{A as Other}; pub struct B;"),
        ],
        &[
            ("mod.rs", "mod a; mod b; pub use self::a::*; pub use b::B;"),
            ("a.rs", "mod c; use c::C; pub struct A;"),
            ("a/c.rs", "use crate::room::B; pub struct C;"),
            ("b.rs", "use super::*; fn f(a: A) {} pub struct B;"),
        ],
        &[
            ("a.rs", "use super::b; pub fn f() { select! { _ = b::f() => {} } }"),
            ("b.rs", "pub fn f() { println!(\"{}\", super::a::f()) }"),
        ],
        &[
            ("a.rs", "#[serde(with = \"super::b::shape\")] pub struct A;"),
            ("b.rs", "pub mod shape { use crate::room::a::A; }"),
        ],
        &[
            ("a.rs", "use super::b::f; pub fn g() {}"),
            ("b.rs", "use super::c::f as h; pub fn f() {}"),
            ("c.rs", "pub fn f() { use super::a::g; }"),
        ],
    ];
    for files in offences {
        assert_eq!(faults(&house(files)).len(), 1, "not noticed: {files:?}");
    }
}

#[test]
fn what_is_no_dependency_makes_no_cycle() {
    let innocent: [&[(&str, &str)]; 4] = [
        &[
            ("mod.rs", "mod a; use a::A; pub struct M; fn f(a: A) {}"),
            ("a.rs", "use super::M; pub struct A;"),
        ],
        &[
            ("a.rs", "use super::b::B; pub struct A;"),
            ("b.rs", "pub struct B; #[cfg(test)] mod tests { use super::super::a::A; }"),
        ],
        &[
            ("mod.rs", "mod a; #[cfg(test)] mod b; #[cfg(test)] use b::B;"),
            ("a.rs", "pub struct A;"),
            ("b.rs", "use super::a::A; pub struct B;"),
        ],
        &[
            ("a.rs", "use super::b; pub struct A; // super::b::B"),
            ("b.rs", "use super::a::A; pub struct B; impl B { fn a(self) { self.a() } }"),
        ],
    ];
    for files in innocent {
        assert_eq!(faults(&house(files)), Vec::<String>::new(), "{files:?}");
    }
}
