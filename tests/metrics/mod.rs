//! The Prometheus alerting rules and the Grafana dashboard: rules fire on their condition, and every
//! expression is valid PromQL. `tests/tidy` checks that their metrics exist.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// `promtool`, as installed by tests/metrics/install or from the PATH.
fn promtool() -> Command {
    let own: PathBuf = root().join("tests/metrics/bin/promtool");
    let mut command = Command::new(if own.exists() { own } else { "promtool".into() });
    command.current_dir(root().join("deploy"));
    command
}

fn passes(command: &mut Command) {
    let output = command.output().expect("promtool, as tests/metrics/install installs it");
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
}

#[test]
fn alerting_rules_fire_on_their_condition_and_not_before() {
    passes(promtool().args(["check", "rules", "prometheus-rules.yaml"]));
    passes(promtool().args(["test", "rules", "prometheus-rules.test.yaml"]));
}

/// Every expression of a dashboard's panels with its variables substituted.
fn expressions(dashboard: &Value) -> Vec<String> {
    let panels = dashboard["panels"].as_array().into_iter().flatten();
    let targets = panels.flat_map(|panel| panel["targets"].as_array().into_iter().flatten());
    let expressions = targets.filter_map(|target| target["expr"].as_str());
    expressions.map(|it| it.replace("$__rate_interval", "5m").replace("$instance", ".*")).collect()
}

#[test]
fn every_dashboard_expression_is_valid_promql() {
    let text = std::fs::read_to_string(root().join("deploy/grafana.json")).unwrap();
    let expressions = expressions(&serde_json::from_str(&text).unwrap());
    assert!(expressions.len() > 20, "{expressions:#?}");
    let rules: Vec<Value> = expressions
        .iter()
        .enumerate()
        .map(
            |(number, expr)| serde_json::json!({"record": format!("panel:{number}"), "expr": expr}),
        )
        .collect();
    let groups = serde_json::json!({"groups": [{"name": "panels", "rules": rules}]});
    let dir = tempfile::TempDir::new().unwrap();
    let path = dir.path().join("panels.yaml");
    // JSON is valid YAML.
    std::fs::write(&path, groups.to_string()).unwrap();
    passes(promtool().args(["check", "rules"]).arg(&path));
}
