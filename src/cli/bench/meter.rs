//! The receiver of a bench, in a process of its own: told over its standard input what to tell on
//! its standard output; ends with its input.

use std::process::ExitCode;
use std::sync::Arc;

use serde_json::json;
use tokio::io::{AsyncBufReadExt as _, BufReader};

use super::receiver::CountingReceiver;
use crate::cli::globals::Globals;
use crate::domain::clock::SystemClock;

/// The question for the counts so far.
pub(super) const GLANCE: &str = "glance";
/// The question for the counts with latencies, which then start from nothing.
pub(super) const TAKE: &str = "take";

/// The order to refuse everything.
pub(super) const REFUSE: &str = "refuse";
/// The order to take everything again.
pub(super) const ADMIT: &str = "admit";

/// Receives and counts until the input ends.
pub(super) async fn run(globals: &Globals) -> anyhow::Result<ExitCode> {
    let globals = globals.clone();
    // One thread is enough to answer, and leaves the other cores to what is measured.
    let counted = tokio::task::spawn_blocking(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(count(&globals))
    });
    counted.await??;
    Ok(ExitCode::SUCCESS)
}

async fn count(globals: &Globals) -> anyhow::Result<()> {
    let meter = CountingReceiver::start("127.0.0.1:0", Arc::new(SystemClock::new())).await?;
    let mut output = globals.output();
    output.line(json!({ "address": meter.address() }).to_string())?;
    let mut questions = BufReader::new(tokio::io::stdin()).lines();
    while let Some(question) = questions.next_line().await? {
        let reading = match question.as_str() {
            TAKE => meter.take(),
            order => {
                if [REFUSE, ADMIT].contains(&order) {
                    meter.refuse(order == REFUSE);
                }
                meter.counters()
            }
        };
        output.line(serde_json::to_string(&reading)?)?;
    }
    meter.stop().await;
    Ok(())
}
