//! Figures: no table of measurements is written by hand.

use std::process::Command;

use super::root;

#[test]
fn tables_of_figures_are_those_that_were_measured() {
    let output = Command::new("python3")
        .args(["benches/figures", "--check"])
        .current_dir(root())
        .output()
        .expect("Python, as the tests of the SDKs need it");
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
}
