//! Names: no room for things that belong nowhere, nothing left for later, no test that does not run.

use super::tokens::{Token, tokens};
use super::{assert_none, rust_files};

/// Words that say nothing, in no name of a file, module, type or function.
const EMPTY_WORDS: [&str; 9] =
    ["util", "utils", "utility", "utilities", "common", "helper", "helpers", "manager", "misc"];
/// What a file or module may not be called: it does not name a part of the system.
const EMPTY_NAMES: &[&str] = &[
    "asked", "bare", "board", "concern", "courier", "desk", "duty", "fate", "few", "follow",
    "gate", "held", "lane", "made", "misfit", "models", "own", "pack", "place", "signs", "stuff",
    "told", "types", "words", "written",
];

#[test]
fn names_say_something() {
    let faults: Vec<String> =
        rust_files().iter().flat_map(|file| faults(&file.path, &file.text)).collect();
    assert_none(&faults, "a name that says nothing");
}

fn faults(path: &str, source: &str) -> Vec<String> {
    let in_path = path
        .trim_end_matches(".rs")
        .split('/')
        .filter(|part| is_empty(part) || EMPTY_NAMES.contains(part))
        .map(|part| format!("{path}: {part}"));
    let tokens = tokens(source);
    let defined = tokens.windows(2).filter_map(|pair| {
        let [keyword, name] = pair else { return None };
        let defines = matches!(
            keyword.text.as_str(),
            "mod" | "fn" | "struct" | "enum" | "trait" | "type" | "const" | "static" | "union"
        );
        let bare = keyword.text == "mod" && EMPTY_NAMES.contains(&name.text.as_str());
        (defines && (bare || is_empty(&name.text)))
            .then(|| format!("{path}:{}: {}", name.line(), name.text))
    });
    in_path.chain(defined).collect()
}

fn is_empty(name: &str) -> bool {
    words(name).iter().any(|word| EMPTY_WORDS.contains(&word.as_str()))
}

/// `SNAKE_CASE`, `snake_case` and `CamelCase` alike, in small letters.
fn words(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut after_small = false;
    for c in name.chars() {
        if c == '_' || c == '-' || (c.is_uppercase() && after_small) {
            words.push(String::new());
        }
        if c.is_alphanumeric() {
            words.last_mut().expect("one at least").extend(c.to_lowercase());
        }
        after_small = c.is_lowercase();
    }
    words
}

#[test]
fn an_empty_name_is_noticed() {
    for source in ["mod util;", "struct PoolManager;", "fn misc_things() {}", "mod types { }"] {
        assert!(!faults("src/a.rs", source).is_empty(), "{source}");
    }
    assert!(!faults("src/helpers/mod.rs", "").is_empty());
    assert!(!faults("src/types.rs", "").is_empty());
    let fine = "fn utilize() {} fn event_types() {} // a helper\nstruct Commons;";
    assert_eq!(faults("src/route/mod.rs", fine), Vec::<String>::new());
}

#[test]
fn nothing_is_left_for_later() {
    let faults: Vec<String> = rust_files()
        .iter()
        .flat_map(|file| {
            let found = unfinished(&tokens(&file.text));
            found.into_iter().map(|it| format!("{}:{it}", file.path))
        })
        .collect();
    assert_none(&faults, "finish it, or write an issue");
}

fn unfinished(tokens: &[Token]) -> Vec<String> {
    let macros = tokens.windows(2).filter_map(|pair| {
        let [name, bang] = pair else { return None };
        let later = matches!(name.text.as_str(), "todo" | "unimplemented" | "dbg");
        (later && bang.text == "!").then(|| format!("{}: {}!", name.line(), name.text))
    });
    let attributes = tokens.windows(3).filter_map(|three| {
        let [hash, bracket, name] = three else { return None };
        (hash.text == "#" && bracket.text == "[" && name.text == "ignore")
            .then(|| format!("{}: a test that does not run", name.line()))
    });
    macros.chain(attributes).collect()
}

#[test]
fn what_is_left_for_later_is_noticed() {
    for source in ["fn a() { todo!() }", "#[ignore] fn a() {}", "#[ignore = \"slow\"] fn a() {}"] {
        assert_eq!(unfinished(&tokens(source)).len(), 1, "{source}");
    }
    assert_eq!(unfinished(&tokens("// todo!()\nconst A: &str = \"#[ignore]\";")).len(), 0);
}
