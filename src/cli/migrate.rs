//! `migrate`, and the part that offline verbs share: they open the database and take its lock, which a
//! running service holds.

use std::process::ExitCode;
use std::sync::Arc;

use serde_json::json;

use super::failure::{Failure, exit};
use super::globals::Globals;
use crate::domain::clock::{Clock as _, SystemClock};
use crate::service::status::FindingView;
use crate::settings::{SettingFlags, Settings};
use crate::store::Store as _;
use crate::store::sqlite::{OpenOptions, SqliteStore, schema_version};
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
        open(&settings).await?.close().await;
        let database = settings.database.display().to_string();
        let version = schema_version();
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
    let findings = store.examine(SystemClock::new().now()).await;
    store.close().await;
    Ok(findings?.into_iter().map(FindingView::from).collect())
}

async fn open(settings: &Settings) -> anyhow::Result<SqliteStore> {
    let path = &settings.database;
    if !path.exists() {
        return Err(Failure::new(exit::NOT_FOUND, format!("there is no {}", path.display()))
            .hint("name it with the setting database, or in the folder of postrider.toml")
            .into());
    }
    let metrics = Arc::new(Metrics::new());
    Ok(SqliteStore::open(OpenOptions::new(path, metrics, Arc::new(SystemClock::new()))).await?)
}
