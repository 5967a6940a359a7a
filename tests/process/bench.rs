//! `postrider bench`: every scenario at a small size.

use serde_json::Value;
use sqlx::{Connection as _, PgConnection};

use super::service::postrider;
use crate::support::postgres;

/// Scenarios at a small size.
const SMALL: &[&str] = &[
    "--seconds",
    "1",
    "--events",
    "100",
    "--workers",
    "16",
    "--rate",
    "100",
    "--history",
    "500",
    "--backlog",
    "100",
    "--sources",
    "20",
    "--soak-seconds",
    "3",
    "--mappings",
    "20",
    "--triggers",
    "60",
    "--clients",
    "3",
    "--rest-seconds",
    "1",
    "--snapshot-seconds",
    "1",
];

/// The scenarios' names, in order. Nothing is lost, and every figure is a number.
fn measured(arguments: &[&str]) -> Vec<String> {
    let output =
        postrider().args(["--json", "bench"]).args(arguments).args(SMALL).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let scenarios = report["scenarios"].as_array().unwrap();
    let names = scenarios.iter().map(|it| it["scenario"].as_str().unwrap().to_owned()).collect();
    for scenario in scenarios {
        let account = &scenario["account"];
        assert_eq!((&account["lost"], &account["refused"]), (&0.into(), &0.into()), "{scenario}");
        assert!(account["acknowledged"].as_u64().unwrap() > 0, "{scenario}");
        let figures = scenario["figures"].as_array().unwrap();
        assert!(figures.iter().any(|it| it["goal"].is_object()), "{scenario}");
        for figure in figures {
            assert!(figure["value"].as_f64().is_some_and(f64::is_finite), "{figure}");
            assert_eq!(figure["goal"].is_null(), figure["reached"].is_null(), "{figure}");
        }
    }
    names
}

#[test]
fn every_scenario_of_the_bench_runs_and_loses_nothing() {
    let names = measured(&["--all"]);
    assert_eq!(
        names,
        [
            "single",
            "batch",
            "batched",
            "fan-out",
            "steady",
            "history",
            "backlog",
            "crash",
            "apply",
            "redrive",
            "neighbours",
            "fairness",
            "functions",
            "mappings",
            "soak",
            "readers",
            "rest",
            "retention",
            "recovery"
        ]
    );
}

#[tokio::test]
async fn the_scenarios_of_postgresql_run_and_lose_nothing() {
    let url = postgres::url("postgres");
    let wanted = ["single", "batch", "steady", "history", "snapshot", "nodes"];
    let names = measured(&[&wanted[..], &["--database", &url]].concat());
    assert_eq!(names, wanted);
    let left = "SELECT count(*) FROM pg_database WHERE datname LIKE 'postrider_bench_%'";
    let mut conn = PgConnection::connect(&url).await.expect("the server");
    let left: i64 = sqlx::query_scalar(left).fetch_one(&mut conn).await.expect("databases");
    assert_eq!(left, 0);
}

#[test]
fn a_scenario_of_the_other_engine_is_refused() {
    for (arguments, said) in [
        (&["nodes"][..], "the scenario nodes is measured with --database"),
        (
            &["soak", "--database", "postgres://a@127.0.0.1/b"],
            "the scenario soak is measured without --database",
        ),
    ] {
        let output = postrider().arg("bench").args(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(2));
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(errors.contains(said), "{errors}");
    }
}
