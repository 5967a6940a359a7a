//! The commands of the README and of the book: each is run with the real binary, in an empty folder, and its output
//! compared with what the page shows.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use super::{Block, ROOT, blocks, text_of};
use crate::process::service::{Service, postrider};

/// What a block is for the run of its page.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    /// A file; its first line has the name.
    File { name: String, text: String },
    /// `postrider serve`.
    Serve,
    /// A command that runs until the page ends.
    Background(String),
    /// Shell commands.
    Commands(String),
    /// Output of the commands before; `…` matches anything.
    Shown(Vec<String>),
}

/// The name in the first line of a file: `# pipeline.yaml`, `// send.mjs, after: npm install …`.
fn file_name(text: &str) -> Option<&str> {
    let line = text.lines().next()?;
    let named = line.strip_prefix("# ").or_else(|| line.strip_prefix("// "))?;
    let name = named.split(',').next()?;
    (name.contains('.') && !name.contains(' ')).then_some(name)
}

/// The block's step; none: an excerpt, or a block that another test checks.
fn step(block: &Block) -> Option<Step> {
    let text = &block.text;
    match block.kind.as_str() {
        "sh" => commands(text),
        "text" => Some(Step::Shown(text.lines().map(str::to_owned).collect())),
        _ => file_name(text).map(|name| Step::File { name: name.to_owned(), text: text.clone() }),
    }
}

/// What builds and tests the project is not run inside its own tests.
fn commands(text: &str) -> Option<Step> {
    let is_of_the_clone = |line: &&str| line.starts_with("cargo ") || line.starts_with("make ");
    let lines: Vec<_> = text.lines().filter(|line| !is_of_the_clone(line)).collect();
    match lines.as_slice() {
        [] => None,
        [line] if line.ends_with("postrider serve") => Some(Step::Serve),
        [line] if line.starts_with("postrider listen ") => {
            Some(Step::Background((*line).to_owned()))
        }
        lines => Some(Step::Commands(lines.join("\n"))),
    }
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

/// A reader who follows a page in one folder.
struct Reader {
    dir: TempDir,
    service: Service,
    serving: bool,
    background: Vec<Child>,
    /// What the reader's shell has exported.
    exports: String,
    shown: String,
    commands: usize,
}

impl Drop for Reader {
    fn drop(&mut self) {
        for child in &mut self.background {
            // A program that has ended is no fault here.
            let _ended = child.kill();
            let _status = child.wait();
        }
    }
}

impl Reader {
    fn new() -> Self {
        let dir = TempDir::new().unwrap();
        let mut service = Service::in_dir(dir.path(), "");
        // A reader starts it in the folder of the database.
        let database = format!("sqlite://{}", dir.path().join("postrider.db").display());
        service.set_env("POSTRIDER_DATABASE", database);
        // What a page's first lines say to install.
        let packages = Path::new(ROOT).join("tests/sdk/node_modules");
        std::os::unix::fs::symlink(packages, dir.path().join("node_modules")).unwrap();
        Self {
            dir,
            service,
            serving: false,
            background: Vec::new(),
            exports: String::new(),
            shown: String::new(),
            commands: 0,
        }
    }

    /// The page with addresses that are free on this machine.
    fn addressed(&self, page: &str) -> String {
        let address = self.service.base().trim_start_matches("http://").to_owned();
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        page.replace("127.0.0.1:8080", &address)
            .replace("127.0.0.1:9000", &free.to_string())
            .replace("--port 9000", &format!("--port {}", free.port()))
    }

    async fn follow(&mut self, page: &str) {
        for block in blocks(&self.addressed(page)) {
            match step(&block) {
                None => {}
                Some(Step::File { name, text }) => {
                    std::fs::write(self.dir.path().join(name), text).unwrap();
                }
                Some(Step::Serve) => {
                    self.service.start().await;
                    self.serving = true;
                }
                Some(Step::Background(command)) => {
                    let mut shell = self.shell(&format!("exec {command}"));
                    self.background.push(shell.stdout(Stdio::null()).spawn().unwrap());
                }
                Some(Step::Commands(commands)) => self.command(&commands).await,
                Some(Step::Shown(lines)) => {
                    for line in lines {
                        assert!(has(&self.shown, &line), "{line:?} is not in:\n{}", self.shown);
                    }
                }
            }
        }
    }

    async fn command(&mut self, commands: &str) {
        let Output { status, stdout, stderr } = self.shell(commands).output().unwrap();
        self.shown = String::from_utf8_lossy(&stdout).into_owned();
        let errors = String::from_utf8_lossy(&stderr);
        assert!(status.success(), "{commands}\n{}\n{errors}", self.shown);
        self.commands += commands.lines().count();
        for line in commands.lines().filter(|line| line.starts_with("export ")) {
            self.exports.push_str(line);
            self.exports.push('\n');
        }
        if self.serving {
            settle(&mut self.service).await;
        }
    }

    /// The reader's shell, which has the program, and Python with the SDK.
    fn shell(&self, commands: &str) -> Command {
        let program = PathBuf::from(postrider().get_program());
        let folders = [program.parent().unwrap(), &Path::new(ROOT).join("tests/sdk/.venv/bin")]
            .map(|folder| folder.display().to_string());
        let path = format!("{}:{}", folders.join(":"), std::env::var("PATH").unwrap());
        let mut shell = Command::new("sh");
        let script = format!("{}{commands}", self.exports);
        shell.args(["-eu", "-c", &script]).current_dir(self.dir.path()).env("PATH", path);
        for (name, _) in std::env::vars() {
            if name.starts_with("POSTRIDER_") {
                shell.env_remove(name);
            }
        }
        shell.stdin(Stdio::null());
        shell
    }
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

/// Follows a page that has at least so many commands.
async fn follow(page: &str, least: usize) {
    let mut reader = Reader::new();
    reader.follow(&text_of(page)).await;
    assert!(reader.commands >= least, "{page}: {} commands", reader.commands);
    if reader.serving {
        assert!(reader.service.terminate().await, "{}", reader.service.log());
    }
}

#[tokio::test]
async fn every_walkthrough_command_prints_the_documented_output() {
    follow("docs/walkthrough.md", 15).await;
}

#[tokio::test]
async fn every_snippet_of_the_readme_runs_from_an_empty_folder() {
    follow("README.md", 10).await;
}

#[tokio::test]
async fn every_command_of_the_page_on_operations_runs() {
    follow("docs/operations.md", 8).await;
}

#[tokio::test]
async fn every_command_of_the_runbooks_runs() {
    follow("docs/runbooks.md", 12).await;
}

#[test]
fn commands_of_every_other_page_are_none() {
    let followed = ["walkthrough.md", "operations.md", "runbooks.md"];
    let pages = text_of("docs/SUMMARY.md");
    let links = pages.lines().filter_map(|line| line.split_once("](")?.1.split_once(')'));
    for (name, _) in links.clone() {
        let page = text_of(&format!("docs/{name}"));
        for block in blocks(&page).iter().filter(|block| block.kind == "console") {
            let is_of_the_system =
                |line: &str| line.starts_with("sudo ") || line.starts_with("docker ");
            assert!(block.text.lines().all(is_of_the_system), "{name}: {}", block.text);
        }
    }
    for (name, _) in links.filter(|(name, _)| !followed.contains(name)) {
        for block in blocks(&text_of(&format!("docs/{name}"))) {
            let Some(Step::Commands(commands)) = step(&block) else { continue };
            assert!(is_checked_elsewhere(name), "{name}: no test runs {commands:?}");
        }
    }
}

/// Imports from other services are run by their own tests, measurements by those of `bench`; the page of PostgreSQL has
/// its server's.
fn is_checked_elsewhere(page: &str) -> bool {
    let pages = ["coming-from", "performance", "postgres", "inbox", "moving"];
    pages.iter().any(|start| page.starts_with(start))
}

#[test]
fn a_pattern_line_matches_its_parts_in_order() {
    assert!(has("x\na b c", "a … c"));
    assert!(!has("a\nc", "a … c"));
    assert!(!has("c a", "a … c"));
}

#[test]
fn blocks_are_files_commands_and_output() {
    let of = |kind: &str, text: &str| step(&Block { kind: kind.to_owned(), text: text.to_owned() });
    let file =
        |name: &str, text: &str| Some(Step::File { name: name.to_owned(), text: text.to_owned() });
    assert_eq!(of("yaml", "# a.yaml\nx: 1"), file("a.yaml", "# a.yaml\nx: 1"));
    let script = "// a.mjs, after: npm install x\nf()";
    assert_eq!(of("js", script), file("a.mjs", script));
    assert_eq!(of("yaml", "# An excerpt.\nx: 1"), None);
    assert_eq!(of("sh", "make test"), None);
    assert_eq!(of("sh", "cargo install x\npostrider serve"), Some(Step::Serve));
    assert_eq!(of("sh", "A=b postrider serve"), Some(Step::Serve));
    assert_eq!(of("sh", "postrider dead"), Some(Step::Commands("postrider dead".to_owned())));
}
