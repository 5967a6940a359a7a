//! `dev`: a temporary service, a receiver that verifies signatures, a sample of every event type, and a
//! destination that fails twice to show retries.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tempfile::TempDir;

use super::globals::Globals;
use super::output::Output;
use crate::domain::clock::SystemClock;
use crate::domain::database::DatabaseAddress;
use crate::inspector::{Receiver, ReceiverOptions};
use crate::server::{App, AppParts};
use crate::settings::Settings;
use crate::settings::secrets;
use crate::store::{DeliveryQuery, DeliveryRow};
use crate::telemetry::log;

mod arrivals;
mod report;
mod samples;

use arrivals::Arrivals;
use report::Report;
use samples::{FLAKY_PATH, Setup};

/// The time limit for the samples.
const PATIENCE: Duration = Duration::from_secs(60);
/// The longest list of sample deliveries.
const LISTED: u32 = 100;

/// Run a temporary service with sample events. Its data is deleted when it stops.
#[derive(Debug, clap::Args)]
pub struct DevArgs {
    /// Address to listen on; if the port is in use, another one is chosen [default: 127.0.0.1:8080]
    #[arg(long, value_name = "HOST:PORT")]
    listen: Option<String>,
    /// Stop after the report; the exit code is 0 only if everything was delivered and verified
    #[arg(long)]
    exit: bool,
}

impl DevArgs {
    /// Runs the verb.
    ///
    /// # Errors
    /// When the service or the receiver does not start, or the samples do not settle.
    pub async fn run(self, globals: &Globals) -> anyhow::Result<ExitCode> {
        let mut out = globals.output();
        let dir = tempfile::Builder::new().prefix("postrider-dev-").tempdir()?;
        let settings = settings(&dir, self.listen.as_deref()).await?;
        log::start(&settings);
        let shared_secret = secrets::generate("shs_")?;
        let setup = Setup::new(&settings, shared_secret.clone())?;
        let receiver = start_receiver(shared_secret).await?;
        let receiver_address = receiver.address();
        let app = Box::pin(App::start(AppParts::new(settings.clone())?)).await?;
        let mut arrivals = Arrivals::watch(receiver);
        setup.write_config(&dir, app.address)?;
        let samples = setup.send(&app, receiver_address).await?;
        let rows = until_settled(&app, samples.len() * 2).await?;
        let attempts: u32 = rows.iter().map(|row| row.delivery.token).sum();
        tokio::time::timeout(PATIENCE, arrivals.until(usize::try_from(attempts)?))
            .await
            .context("not every attempt on record reached the receiver")?;
        let report = Report::make(&app, &samples, &rows, &arrivals).await?;
        report.print(&mut out, &settings)?;
        if !self.exit {
            report::invite(&mut out, &dir, &setup, app.address, rows.first())?;
            let mut failed = None;
            let ended = async {
                tokio::select! {
                    _ = tokio::signal::ctrl_c() => {}
                    error = app.failed() => failed = Some(error),
                }
            };
            arrivals.show_until(&mut out, ended).await?;
            if let Some(error) = failed {
                return Err(error.into());
            }
        }
        app.stop().await;
        Ok(if report.all_well() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

/// Settings of a service whose files are in `dir`. A port in use is an error only when `--listen` names
/// it.
async fn settings(dir: &TempDir, listen: Option<&str>) -> anyhow::Result<Settings> {
    let file = |name: &str| dir.path().join(name);
    let mut settings = Settings {
        database: DatabaseAddress::File(file("postrider.db")),
        token_file: file("postrider.db.token"),
        secret_key_file: file("postrider.db.key"),
        allow_networks: vec!["127.0.0.0/8".parse()?, "::1/128".parse()?],
        inspector: true,
        log: "warn".to_owned(),
        ..Settings::default()
    };
    match listen {
        Some(listen) => settings.listen = listen.to_owned(),
        None if tokio::net::TcpListener::bind(&settings.listen).await.is_err() => {
            settings.listen = "127.0.0.1:0".to_owned();
        }
        None => {}
    }
    Ok(settings)
}

async fn start_receiver(secret: secrecy::SecretString) -> anyhow::Result<Receiver> {
    let options = ReceiverOptions {
        secrets: vec![secret],
        script_by_path: [(FLAKY_PATH.to_owned(), "503,503,200".parse()?)].into(),
        ..ReceiverOptions::default()
    };
    Ok(Receiver::start("127.0.0.1:0", options, Arc::new(SystemClock::new())).await?)
}

/// The samples' deliveries, oldest first, once all are settled.
async fn until_settled(app: &App, count: usize) -> anyhow::Result<Vec<DeliveryRow>> {
    let mut recorded = app.dispatcher.recorded();
    let settled = async {
        loop {
            recorded.borrow_and_update();
            let query = DeliveryQuery { limit: LISTED, ..DeliveryQuery::default() };
            let mut rows = app.store.deliveries(query).await?.rows;
            if rows.len() >= count && rows.iter().all(|row| row.delivery.settled_at.is_some()) {
                rows.reverse();
                return Ok(rows);
            }
            recorded.changed().await?;
        }
    };
    tokio::time::timeout(PATIENCE, settled)
        .await
        .context("the samples were not settled within a minute")?
}

/// A heading.
fn heading(out: &mut Output, text: &str) -> std::io::Result<()> {
    let bold = anstyle::Style::new().bold();
    out.line(format!("{bold}{text}{bold:#}"))
}
