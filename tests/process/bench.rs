//! `postrider bench`: every scenario at a small size.

use serde_json::Value;

use super::service::postrider;

#[test]
fn every_scenario_of_the_bench_runs_and_loses_nothing() {
    let small = [
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
    ];
    let output = postrider().args(["--json", "bench", "--all"]).args(small).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let scenarios = report["scenarios"].as_array().unwrap();
    let names: Vec<_> = scenarios.iter().map(|it| it["scenario"].as_str().unwrap()).collect();
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
}
