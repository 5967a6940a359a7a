//! `migrate`, and the part that offline verbs share: they open the database and take its lock, which a
//! running service holds.

use std::process::ExitCode;
use std::sync::Arc;

use serde_json::json;

use super::failure::{Failure, exit};
use super::globals::Globals;
use crate::domain::auth::Act;
use crate::domain::clock::{Clock as _, SystemClock};
use crate::service::status::FindingView;
use crate::settings::{SettingFlags, Settings};
use crate::store::{self, LedgerRepair, OpenRequest, Store};
use crate::telemetry::metrics::Metrics;

/// Migrate a database's schema; `serve` does the same when it starts.
#[derive(Debug, clap::Args)]
pub struct MigrateArgs {}

impl MigrateArgs {
    /// Runs the verb.
    ///
    /// # Errors
    /// When the database cannot be opened, is in use or newer than this program.
    pub async fn run(self, globals: &Globals) -> anyhow::Result<ExitCode> {
        let settings = globals.settings(&SettingFlags::default())?.settings;
        // Opening a database brings its schema up to date.
        let store = open(&settings).await?;
        let version = store.schema_version();
        store.close().await;
        let database = match settings.database.file() {
            Some(path) => path.display().to_string(),
            None => settings.database.shown(),
        };
        let mut out = globals.output();
        if out.is_json() {
            out.json(&json!({ "database": database, "schema_version": version }))?;
        } else {
            out.line(format!("{database}: the schema is up to date, version {version}"))?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// The store's checks, on the database itself.
pub(super) async fn examine(globals: &Globals) -> anyhow::Result<Vec<FindingView>> {
    let settings = globals.settings(&SettingFlags::default())?.settings;
    let store = open(&settings).await?;
    let clock = SystemClock::new();
    if let Some(last) = store.last_moment().await? {
        clock.continue_from(last);
    }
    let findings = store.check_consistency(clock.service_now()).await;
    let server = store.check_server(clock.service_now()).await;
    store.close().await;
    Ok(findings?.into_iter().chain(server?).map(FindingView::from).collect())
}

/// Corrects the ledger of the database itself.
pub(super) async fn repair_ledger(
    globals: &Globals,
    dry_run: bool,
) -> anyhow::Result<LedgerRepair> {
    let settings = globals.settings(&SettingFlags::default())?.settings;
    let store = open(&settings).await?;
    let act = Act::of_the_service("doctor", SystemClock::new().now());
    let repair = store.repair_ledger(act, dry_run).await;
    store.close().await;
    Ok(repair?)
}

async fn open(settings: &Settings) -> anyhow::Result<Arc<dyn Store>> {
    if let Some(path) = settings.database.file()
        && !path.exists()
    {
        return Err(Failure::new(exit::NOT_FOUND, format!("there is no {}", path.display()))
            .hint("name it with the setting database, or in the folder of postrider.toml")
            .into());
    }
    let request = OpenRequest {
        database: &settings.database,
        min_free_disk_bytes: 0,
        metrics: Arc::new(Metrics::new()),
        clock: Arc::new(SystemClock::new()),
    };
    Ok(store::open(request).await?)
}
