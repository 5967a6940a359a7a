//! docs/walkthrough.md: every command is run with the real binary and its output compared.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;
use tempfile::TempDir;

use super::service::{Service, postrider};

/// The code blocks of the page, in order.
#[derive(Debug)]
enum Block {
    /// A file; its first line has the name.
    File { name: String, text: String },
    /// Shell commands.
    Commands(String),
    /// Output of the commands before; `…` matches anything.
    Shown(Vec<String>),
}

fn blocks(page: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        let Some(kind) = line.strip_prefix("```") else { continue };
        let inner: Vec<_> = lines.by_ref().take_while(|line| *line != "```").collect();
        let text = inner.join("\n");
        blocks.push(match kind {
            "sh" => Block::Commands(text),
            "text" => Block::Shown(inner.iter().map(|&line| line.to_owned()).collect()),
            "toml" | "yaml" => {
                let name =
                    inner[0].strip_prefix("# ").expect("a file's block begins with its name");
                Block::File { name: name.to_owned(), text }
            }
            other => panic!("a block of {other:?}"),
        });
    }
    blocks
}

/// Whether a line of the output has all parts in order.
fn has(shown: &str, wanted: &str) -> bool {
    shown.lines().any(|line| {
        let mut rest = Some(line);
        for part in wanted.split('…').map(str::trim) {
            rest = rest.and_then(|rest| rest.find(part).map(|at| &rest[at + part.len()..]));
        }
        rest.is_some()
    })
}

#[tokio::test]
async fn every_walkthrough_command_prints_the_documented_output() {
    let page =
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/walkthrough.md"));
    let dir = TempDir::new().unwrap();
    let mut service = Service::in_dir(dir.path(), "");
    // A reader starts it in the folder of the database.
    let database = format!("sqlite://{}", dir.path().join("postrider.db").display());
    service.set_env("POSTRIDER_DATABASE", database);
    let address = service.base().trim_start_matches("http://").to_owned();
    let page = page.unwrap().replace("127.0.0.1:8080", &address);
    let (mut shown, mut ran) = (String::new(), 0);
    for block in blocks(&page) {
        match block {
            Block::File { name, text } => std::fs::write(dir.path().join(name), text).unwrap(),
            Block::Commands(commands) if commands == "postrider serve" => service.start().await,
            Block::Commands(commands) => {
                let output = shell(dir.path(), &commands);
                shown = String::from_utf8_lossy(&output.stdout).into_owned();
                let errors = String::from_utf8_lossy(&output.stderr);
                assert!(output.status.success(), "{commands}\n{shown}\n{errors}");
                ran += commands.lines().count();
                settle(&mut service).await;
            }
            Block::Shown(lines) => {
                for line in lines {
                    assert!(has(&shown, &line), "{line:?} is not in:\n{shown}");
                }
            }
        }
    }
    assert!(ran >= 15, "{ran} commands");
    assert!(service.terminate().await, "{}", service.log());
}

/// Runs the commands; variables last for the block.
fn shell(dir: &Path, commands: &str) -> Output {
    let program = Path::new(postrider().get_program()).parent().unwrap().to_owned();
    let path = format!("{}:{}", program.display(), std::env::var("PATH").unwrap());
    let mut shell = Command::new("sh");
    // A reader has one shell for the whole page.
    let script = format!("export POSTRIDER_WRITE_KEY=a-write-key-for-the-walk\n{commands}");
    shell.args(["-eu", "-c", &script]).current_dir(dir).env("PATH", path);
    for (name, _) in std::env::vars() {
        if name.starts_with("POSTRIDER_") {
            shell.env_remove(name);
        }
    }
    shell.output().unwrap()
}

/// Waits until every delivery is settled.
async fn settle(service: &mut Service) {
    service
        .until("every delivery is settled", async |service| {
            let status: Value = service.status().await;
            let ledger = &status["ledger"];
            ledger["pending"] == 0 && ledger["leased"] == 0
        })
        .await;
}

#[test]
fn a_pattern_line_matches_its_parts_in_order() {
    assert!(has("x\na b c", "a … c"));
    assert!(!has("a\nc", "a … c"));
    assert!(!has("c a", "a … c"));
}
