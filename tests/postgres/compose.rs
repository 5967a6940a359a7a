//! The compose files, as far as they are checked without Docker: their settings, files and ports.

use std::collections::BTreeMap;
use std::path::Path;

use crate::process::service::postrider;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

fn text(file: &str) -> String {
    std::fs::read_to_string(Path::new(ROOT).join(file)).unwrap()
}

/// `POSTRIDER_…: value` of every service.
fn settings(text: &str) -> BTreeMap<&str, &str> {
    let pairs = text.lines().filter_map(|line| line.trim().split_once(": "));
    pairs.filter(|(name, _)| name.starts_with("POSTRIDER_")).collect()
}

#[test]
fn the_compose_files_set_what_exists() {
    for file in ["docker-compose.yml", "docker-compose.postgres.yml"] {
        let text = text(file);
        let folder = tempfile::tempdir().unwrap();
        let printed = postrider()
            .args(["serve", "--print-config"])
            .envs(settings(&text))
            .current_dir(folder.path())
            .output()
            .unwrap();
        assert!(printed.status.success(), "{file}: {printed:?}");
        for mounted in text.lines().filter_map(|line| line.trim().strip_prefix("- ./")) {
            let (path, _) = mounted.split_once(':').expect("a path and where it is mounted");
            assert!(Path::new(ROOT).join(path).exists(), "{file}: {path}");
        }
        // A command in the head of the file is one of this program.
        for line in text.lines().filter(|line| line.contains("exec ")) {
            let (_, verb) = line.split_once(" postrider ").expect("a command of the program");
            let verb = verb.split(' ').next().unwrap();
            let help = postrider().args([verb, "--help"]).output().unwrap();
            assert!(help.status.success(), "{file}: {verb}");
        }
    }
}

#[test]
fn two_nodes_share_a_database_a_key_and_the_operators_token() {
    let text = text("docker-compose.postgres.yml");
    let settings = settings(&text);
    assert!(settings["POSTRIDER_DATABASE"].contains("@database:5432/postrider"));
    for shared in ["POSTRIDER_SECRET_KEY", "POSTRIDER_TOKEN_FILE"] {
        assert_eq!(text.matches(shared).count(), 1, "{shared} is the same for each node");
    }
    for node in ["node-1", "node-2"] {
        assert!(text.contains(&format!("POSTRIDER_NODE_NAME: {node}\n")), "{node}");
        let proxy = self::text("deploy/nginx.conf");
        assert!(proxy.contains(&format!("server {node}:8080")), "{node}");
    }
}
