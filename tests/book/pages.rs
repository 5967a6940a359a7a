//! The book as a whole: it builds, and its links lead somewhere; snippets for other programs are checked by those.

use std::process::{Command, Output};

use postrider::domain::alert::AlertKind;
use tempfile::TempDir;

use super::{ROOT, blocks, installed, run, text_of};

/// Builds the book in this folder into another one.
fn build(source: &std::path::Path, target: &std::path::Path) -> Output {
    let mut command = Command::new("docs/build");
    command.current_dir(ROOT).arg(source).arg(target).output().unwrap()
}

#[test]
fn the_book_builds_and_its_links_lead_somewhere() {
    let target = TempDir::new().unwrap();
    let built = build("docs".as_ref(), target.path());
    let said = String::from_utf8_lossy(&built.stderr);
    assert!(built.status.success(), "{said}");
    assert!(target.path().join("configuration.html").is_file(), "{said}");
}

#[test]
fn a_link_that_leads_nowhere_fails_the_build_of_the_book() {
    let (source, target) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let write = |name: &str, text: &str| std::fs::write(source.path().join(name), text).unwrap();
    write("book.toml", "[book]\ntitle = \"A book\"\nsrc = \".\"\n");
    write("SUMMARY.md", "# Summary\n\n- [One](one.md)\n- [Two](two.md)\n");
    write(
        "one.md",
        "# One\n\n[two](two.md#here) [gone](gone.md) [none](two.md#there) [out](https://example.com)\n",
    );
    write("two.md", "# Two\n\n## Here\n");
    write("unlisted.md", "# Unlisted\n");
    let built = build(source.path(), target.path());
    let said = String::from_utf8_lossy(&built.stderr);
    assert!(!built.status.success());
    let faults: Vec<_> = said.lines().filter(|line| line.starts_with("docs: ")).collect();
    assert_eq!(
        faults,
        [
            "docs: one.html: gone.html",
            "docs: one.html: two.html#there",
            "docs: unlisted.md is not in SUMMARY.md"
        ],
        "{said}"
    );
}

#[test]
fn configurations_of_proxies_are_valid() {
    let folder = TempDir::new().unwrap();
    let page = text_of("docs/operations.md");
    let certificate = rcgen::generate_simple_self_signed(["hooks.example.com".to_owned()]).unwrap();
    let (pem, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
    std::fs::write(&pem, certificate.cert.pem()).unwrap();
    std::fs::write(&key, certificate.signing_key.serialize_pem()).unwrap();
    let (mut servers, mut sites) = (0, 0);
    for block in blocks(&page) {
        let file = folder.path().join("proxy.conf");
        if block.kind == "nginx" {
            let server = block
                .text
                .replace("/etc/ssl/hooks.example.com.pem", &pem.display().to_string())
                .replace("/etc/ssl/hooks.example.com.key", &key.display().to_string());
            let place = folder.path().display();
            let folders = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
                .map(|name| format!("{name}_temp_path {place}/{name};"))
                .join("\n");
            let whole = format!(
                "pid {place}/pid;\nerror_log {place}/log;\nevents {{}}\nhttp {{\naccess_log off;\n{folders}\n{server}\n}}\n"
            );
            std::fs::write(&file, whole).unwrap();
            run(Command::new(installed("nginx"))
                .arg("-t")
                .arg("-q")
                .arg("-p")
                .arg(folder.path())
                .arg("-c")
                .arg(&file));
            servers += 1;
        } else if block.kind == "caddyfile" {
            std::fs::write(&file, &block.text).unwrap();
            run(Command::new(installed("caddy"))
                .args(["validate", "--adapter", "caddyfile", "--config"])
                .arg(&file)
                .env("HOME", folder.path()));
            sites += 1;
        }
    }
    assert_eq!((servers, sites), (2, 2));
}

#[test]
fn every_alert_has_a_runbook() {
    let page = text_of("docs/runbooks.md");
    let rules = text_of("deploy/prometheus-rules.yaml");
    let prometheus = rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: "));
    let names = AlertKind::ALL.iter().map(|kind| kind.as_str()).chain(prometheus);
    let missing: Vec<_> = names
        .filter(|name| {
            !page.lines().any(|line| line.starts_with('#') && line.contains(&format!("`{name}`")))
        })
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
}
