//! `move`: takes a whole database to another one, offline. The services on both must be stopped.

use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;
use std::sync::Arc;

use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;

use super::failure::Failure;
use super::globals::Globals;
use super::output::{Output, Table};
use crate::domain::clock::SystemClock;
use crate::domain::database::DatabaseAddress;
use crate::settings::secrets::{Keyring, Purpose};
use crate::settings::{SettingFlags, Settings};
use crate::store::transfer::{Comparison, Outcome, SealedRow, Step, Transfer, TransferRequest};

/// Move a database to another one, of either engine.
#[derive(Debug, clap::Args)]
pub struct MoveArgs {
    /// The database to move: sqlite://PATH or postgres://…
    #[arg(long, value_name = "DATABASE", value_parser = address)]
    from: DatabaseAddress,
    /// The database to move it to: an empty one, or the one of a move that was interrupted
    #[arg(long, value_name = "DATABASE", value_parser = address, required_unless_present = "undo")]
    to: Option<DatabaseAddress>,
    /// Make the source of a move usable again; the other database is not changed
    #[arg(long, conflicts_with = "to")]
    undo: bool,
    /// Rows of one commit, at most
    #[arg(long, value_name = "ROWS", default_value_t = 5_000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    batch_rows: u32,
}

fn address(text: &str) -> Result<DatabaseAddress, String> {
    DatabaseAddress::parse(text).ok_or_else(|| {
        "expected sqlite://PATH or postgres://user:password@host:port/name".to_owned()
    })
}

impl MoveArgs {
    /// Runs the verb.
    ///
    /// # Errors
    /// When a database cannot be opened, is in use, or both differ afterwards.
    pub async fn run(self, globals: &Globals) -> anyhow::Result<ExitCode> {
        let clock = Arc::new(SystemClock::new());
        let Some(to) = &self.to else {
            let other = Transfer::undo(&self.from, clock).await?;
            globals.output().line(format!(
                "{} can be served again; do not serve {other} beside it: both have the same deliveries",
                self.from.shown()
            ))?;
            return Ok(ExitCode::SUCCESS);
        };
        let page_rows = usize::try_from(self.batch_rows).unwrap_or(usize::MAX);
        let request = TransferRequest { from: &self.from, to, page_rows, clock };
        let mut transfer = Transfer::open(request).await?;
        check_key(globals, (&self.from, to), &transfer.sealed().await?)?;
        let mut progress = Progress::new();
        let mut compared = Vec::new();
        let outcome = transfer.run(|step| progress.show(step, &mut compared)).await;
        progress.bar.finish_and_clear();
        let mut out = globals.output();
        if !compared.is_empty() && !out.is_json() {
            out.table(&table(&compared))?;
        }
        tell(&mut out, &outcome?, (&self.from, to))?;
        Ok(ExitCode::SUCCESS)
    }
}

/// The service on the target must open what the one on the source has sealed.
fn check_key(
    globals: &Globals,
    (from, to): (&DatabaseAddress, &DatabaseAddress),
    sealed: &[SealedRow],
) -> anyhow::Result<()> {
    if sealed.is_empty() {
        return Ok(());
    }
    let (source, target) = (settings_of(globals, from)?, settings_of(globals, to)?);
    let (source_file, target_file) =
        (source.secret_key_file.display(), target.secret_key_file.display());
    let hint = format!("copy it: cp -p {source_file} {target_file}; or set POSTRIDER_SECRET_KEY");
    let refuse = |message: String| Failure::usage(message).hint(hint.clone());
    let keyring = Keyring::load(target.secret_key.as_ref(), &target.secret_key_file, true)
        .map_err(|error| {
            refuse(format!("the service on {} would have no key for its secrets", to.shown()))
                .because(error)
        })?;
    for SealedRow { table, secret } in sealed {
        // Purposes of the other tables depend on the row; their key is the same.
        let opened = match *table {
            "write_keys" => keyring.open(secret, Purpose::WriteKey).map(|_| ()),
            "shared_secrets" => keyring.open(secret, Purpose::SharedSecret).map(|_| ()),
            _ if secret.key_id == keyring.key_id() => Ok(()),
            _ => keyring.open(secret, Purpose::Answer).map(|_| ()),
        };
        opened.map_err(|error| {
            refuse(format!("the service on {} could not open a secret of {table}", to.shown()))
                .because(error)
        })?;
    }
    Ok(())
}

fn settings_of(globals: &Globals, database: &DatabaseAddress) -> anyhow::Result<Settings> {
    use secrecy::ExposeSecret as _;
    let address = match database {
        DatabaseAddress::File(_) => database.shown(),
        DatabaseAddress::Server(address) => address.expose_secret().to_owned(),
    };
    let flags = SettingFlags { given: vec![("database", address)] };
    Ok(globals.settings(&flags)?.settings)
}

/// A bar on a terminal, and lines otherwise: one for each tenth of a table.
struct Progress {
    bar: ProgressBar,
    is_terminal: bool,
    told: (&'static str, u64),
}

impl Progress {
    fn new() -> Self {
        // It is drawn on stderr, on a terminal only.
        let bar = ProgressBar::new(0);
        if let Ok(style) =
            ProgressStyle::with_template("{msg:24} {bar:30} {pos}/{len} {per_sec} {eta}")
        {
            bar.set_style(style);
        }
        Self { bar, is_terminal: std::io::stderr().is_terminal(), told: ("", 0) }
    }

    fn show(&mut self, step: Step<'_>, compared: &mut Vec<Comparison>) {
        match step {
            Step::Copied { table, rows, of } => self.advance("copied", table, (rows, of)),
            Step::Compared { table, rows, of } => self.advance("compared", table, (rows, of)),
            Step::Result(comparison) => compared.push(comparison.clone()),
        }
    }

    fn advance(&mut self, verb: &'static str, table: &'static str, (rows, of): (u64, u64)) {
        self.bar.set_message(format!("{verb} {table}"));
        self.bar.set_length(of);
        self.bar.set_position(rows);
        let tenth = (rows * 10).checked_div(of).unwrap_or(10);
        if !self.is_terminal && of > 0 && self.told != (table, tenth) {
            self.told = (table, tenth);
            // Progress on stderr that cannot be written is no fault.
            let _ = writeln!(std::io::stderr(), "{verb} {table}: {rows} of {of}");
        }
    }
}

fn table(compared: &[Comparison]) -> Table {
    let mut table =
        Table::new(&["table", "rows", "digest", "rows in target", "digest in target", "result"]);
    for Comparison { table: name, source, target, equal } in compared {
        table.row([
            (*name).to_owned(),
            source.0.to_string(),
            source.1.clone(),
            target.0.to_string(),
            target.1.clone(),
            if *equal { "equal" } else { "different" }.to_owned(),
        ]);
    }
    table
}

fn tell(
    out: &mut Output,
    outcome: &Outcome,
    (from, to): (&DatabaseAddress, &DatabaseAddress),
) -> anyhow::Result<()> {
    let compared: &[Comparison] = match outcome {
        Outcome::Moved(compared) => compared,
        Outcome::WasMoved => &[],
    };
    if out.is_json() {
        let tables = compared.iter().map(|it| {
            json!({ "table": it.table, "rows": it.source.0, "digest": it.source.1, "equal": it.equal })
        });
        let tables: Vec<_> = tables.collect();
        return Ok(out.json(&json!({ "from": from.shown(), "to": to.shown(), "tables": tables }))?);
    }
    let rows: u64 = compared.iter().map(|it| it.source.0).sum();
    match outcome {
        Outcome::Moved(tables) => out.line(format!(
            "moved {} to {}: {} tables, {rows} rows, all equal",
            from.shown(),
            to.shown(),
            tables.len()
        ))?,
        Outcome::WasMoved => {
            out.line(format!("{} was moved to {} before", from.shown(), to.shown()))?;
        }
    }
    out.line(format!(
        "start the service on {}; {} is kept and not served any more (undo: postrider move --undo --from {})",
        to.shown(),
        from.shown(),
        from.shown()
    ))?;
    Ok(())
}
