//! `inbox`: makes the inbox in an application's database, and grants its use. Offline: it needs no service.

use std::process::ExitCode;

use secrecy::ExposeSecret as _;
use serde_json::json;

use super::failure::{Failure, exit};
use super::globals::Globals;
use crate::domain::database::DatabaseAddress;
use crate::settings::SettingFlags;
use crate::store::{ApplicationError, grant_enqueue, init_inbox};

const AFTER_HELP: &str = "\
An application writes events into an inbox in its own transaction; the service takes them from there.
In the service's own PostgreSQL database there is one already: SELECT postrider.enqueue(...).
Examples:
  postrider inbox init app.db                     SQLite: makes the table postrider_inbox
  postrider inbox init postgres://app@db/shop     PostgreSQL: makes postrider.enqueue there
  postrider inbox grant shop                      lets the role use it in the service's own database
  postrider inbox grant shop postgres://app@db/shop
Then name the application's database in the setting inbox.";

/// Make an inbox in an application's database, or let a role use one.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub struct InboxArgs {
    #[command(subcommand)]
    verb: InboxVerb,
}

#[derive(Debug, clap::Subcommand)]
enum InboxVerb {
    /// Make the inbox in an application's database, unless it is there
    Init {
        /// The database: a SQLite file, or postgres://user:password@host:5432/name
        #[arg(value_name = "DATABASE")]
        database: String,
    },
    /// Let a role of a PostgreSQL database use postrider.enqueue, and nothing else
    Grant {
        /// The role of the application
        #[arg(value_name = "ROLE")]
        role: String,
        /// The database of the application [default: the service's own]
        #[arg(value_name = "DATABASE")]
        database: Option<String>,
    },
}

impl InboxArgs {
    /// Runs the verb.
    ///
    /// # Errors
    /// When the database cannot be opened, or has no inbox.
    pub async fn run(self, globals: &Globals) -> anyhow::Result<ExitCode> {
        match self.verb {
            InboxVerb::Init { database } => init(&database, globals).await,
            InboxVerb::Grant { role, database } => grant(&role, database.as_deref(), globals).await,
        }
    }
}

fn address(text: &str) -> Result<DatabaseAddress, Failure> {
    DatabaseAddress::of_application(text).ok_or_else(|| {
        Failure::usage("the address names no database")
            .hint("give a SQLite file, or postgres://user:password@host:5432/name")
    })
}

async fn init(database: &str, globals: &Globals) -> anyhow::Result<ExitCode> {
    let address = address(database)?;
    let shown = address.shown();
    init_inbox(&address).await.map_err(|error| refused(&shown, error))?;
    let table = if address.file().is_some() { "postrider_inbox" } else { "postrider.inbox" };
    let mut out = globals.output();
    if out.is_json() {
        out.json(&json!({ "database": shown, "table": table }))?;
    } else {
        out.line(format!("{shown}: the inbox is there, as {table}"))?;
        out.remark("name the database in the setting inbox")?;
    }
    Ok(ExitCode::SUCCESS)
}

async fn grant(role: &str, database: Option<&str>, globals: &Globals) -> anyhow::Result<ExitCode> {
    let address = match database {
        Some(text) => address(text)?,
        None => globals.settings(&SettingFlags::default())?.settings.database,
    };
    let DatabaseAddress::Server(url) = &address else {
        return Err(Failure::usage("a SQLite file has no roles")
            .hint("every process that may write the file may use its inbox")
            .into());
    };
    let shown = address.shown();
    grant_enqueue(url.expose_secret(), role).await.map_err(|error| refused(&shown, error))?;
    let mut out = globals.output();
    if out.is_json() {
        out.json(&json!({ "database": shown, "role": role }))?;
    } else {
        out.line(format!("{shown}: {role} may use postrider.enqueue"))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn refused(database: &str, error: ApplicationError) -> Failure {
    let code = match error {
        ApplicationError::Missing(_) | ApplicationError::NoInbox(_) => exit::NOT_FOUND,
        ApplicationError::OtherSchema(_)
        | ApplicationError::OfService
        | ApplicationError::ReadOnly(_) => exit::USAGE,
        ApplicationError::Locked(_) | ApplicationError::Full(_) | ApplicationError::Database(_) => {
            exit::FAILED
        }
    };
    Failure::new(code, format!("{database} was not changed")).because(error)
}
