//! The receiver's process: reads commands from standard input and prints counters to standard output, until
//! its input ends.

use std::process::ExitCode;
use std::sync::Arc;

use http::StatusCode;
use serde_json::json;
use tokio::io::{AsyncBufReadExt as _, BufReader};

use super::receiver::CountingReceiver;
use crate::cli::globals::Globals;
use crate::domain::clock::SystemClock;

/// The command to print the counters.
pub(super) const POLL: &str = "poll";
/// The command to print the counters with latencies and to reset them.
pub(super) const TAKE: &str = "take";

/// The command to refuse all requests.
pub(super) const REFUSE: &str = "refuse";
/// The command to reject all requests: their deliveries become dead letters.
pub(super) const REJECT: &str = "reject";
/// The command to accept requests again.
pub(super) const ADMIT: &str = "admit";

/// Receives and counts until the input ends.
pub(super) async fn run(globals: &Globals) -> anyhow::Result<ExitCode> {
    let globals = globals.clone();
    // One thread is enough, and leaves the other cores to the measured process.
    let counted = tokio::task::spawn_blocking(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(count(&globals))
    });
    counted.await??;
    Ok(ExitCode::SUCCESS)
}

async fn count(globals: &Globals) -> anyhow::Result<()> {
    let receiver = CountingReceiver::start("127.0.0.1:0", Arc::new(SystemClock::new())).await?;
    let mut output = globals.output();
    output.line(json!({ "address": receiver.address() }).to_string())?;
    let mut commands = BufReader::new(tokio::io::stdin()).lines();
    while let Some(command) = commands.next_line().await? {
        let reading = match command.as_str() {
            TAKE => receiver.take(),
            other => {
                match other {
                    REFUSE => receiver.answer(StatusCode::SERVICE_UNAVAILABLE),
                    REJECT => receiver.answer(StatusCode::BAD_REQUEST),
                    ADMIT => receiver.answer(StatusCode::OK),
                    _ => {}
                }
                receiver.counters()
            }
        };
        output.line(serde_json::to_string(&reading)?)?;
    }
    receiver.stop().await;
    Ok(())
}
