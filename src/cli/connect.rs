//! `connect`: prints the authorization URL of a destination and waits for its grant. `disconnect` revokes
//! the grant.

use std::process::ExitCode;
use std::time::Duration;

use serde::Serialize;

use super::client::Client;
use super::failure::{Failure, exit};
use super::globals::Globals;
use super::output::plain;
use crate::pipeline::ConnectionView;
use crate::service::connection::BegunView;

/// Poll interval.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// The authorization URL expires after ten minutes.
const LOOKS: u32 = 10 * 60;

const AFTER_HELP: &str = "\
Open the address it prints in a browser and grant the access: the authorization server sends the
browser back to this service, at public_url/oauth/callback. Register that as the redirect URL there.";

/// Connect a destination whose auth is authorization_code: print the authorization URL, and wait.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub struct ConnectArgs {
    /// The destination: source/destination
    #[arg(value_name = "DESTINATION")]
    destination: String,
    /// Print the address and do not wait
    #[arg(long)]
    no_wait: bool,
}

/// Revoke a destination's connection: its deliveries are held until it is connected again.
#[derive(Debug, clap::Args)]
pub struct DisconnectArgs {
    /// The destination: source/destination
    #[arg(value_name = "DESTINATION")]
    destination: String,
}

/// The output of `connect --json`.
#[derive(Debug, Serialize)]
struct Connected<'a> {
    #[serde(flatten)]
    begun: &'a BegunView,
    #[serde(skip_serializing_if = "Option::is_none")]
    connection: Option<ConnectionView>,
}

impl ConnectArgs {
    /// Runs the verb.
    ///
    /// # Errors
    /// When the service cannot be reached or refuses, or the time runs out.
    pub async fn run(self, globals: &Globals) -> anyhow::Result<ExitCode> {
        let path = path(&self.destination, "connect")?;
        let client = Client::of(globals)?;
        let before: ConnectionView = client.get(&path, &[]).await?;
        let begun: BegunView = client.post(&path, &serde_json::Map::new()).await?;
        let mut out = globals.output();
        if !out.is_json() {
            out.line(plain(&begun.authorize_url))?;
            out.remark("open it in a browser, sign in and press Connect")?;
        }
        if self.no_wait {
            if out.is_json() {
                out.json(&Connected { begun: &begun, connection: None })?;
            }
            return Ok(ExitCode::SUCCESS);
        }
        let Some(connection) = wait(&client, &path, &before).await? else {
            let words = format!("{} was not connected in time", self.destination);
            return Err(Failure::new(exit::FAILED, words).hint("run connect again").into());
        };
        if out.is_json() {
            out.json(&Connected { begun: &begun, connection: Some(connection) })?;
        } else {
            out.line(format!("{} is connected", plain(&self.destination)))?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl DisconnectArgs {
    /// Runs the verb.
    ///
    /// # Errors
    /// When the service cannot be reached or refuses.
    pub async fn run(self, globals: &Globals) -> anyhow::Result<ExitCode> {
        let path = path(&self.destination, "disconnect")?;
        let client = Client::of(globals)?;
        let connection: ConnectionView = client.post(&path, &serde_json::Map::new()).await?;
        let mut out = globals.output();
        if out.is_json() {
            out.json(&connection)?;
        } else {
            let destination = plain(&self.destination);
            out.line(format!("{destination} is disconnected: its deliveries are held"))?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Polls until it is connected; if it was connected before, until the grant is renewed.
async fn wait(
    client: &Client,
    path: &str,
    before: &ConnectionView,
) -> anyhow::Result<Option<ConnectionView>> {
    for _ in 0..LOOKS {
        let now: ConnectionView = client.get(path, &[]).await?;
        if now.connected && (!before.connected || now.number != before.number) {
            return Ok(Some(now));
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
    Ok(None)
}

fn path(destination: &str, verb: &str) -> anyhow::Result<String> {
    let Some((source, name)) = destination.split_once('/').filter(|(_, name)| !name.is_empty())
    else {
        let words = format!("{destination} names no destination");
        return Err(Failure::usage(words).hint("give it as source/destination").into());
    };
    let mut url = url::Url::parse("http://service/destinations")?;
    if let Ok(mut segments) = url.path_segments_mut() {
        segments.extend([source, name, verb]);
    }
    Ok(url.path().to_owned())
}
