//! `tokens`: lists, creates and revokes API tokens. The text of a token is printed once, when it is
//! created.

use std::process::ExitCode;

use clap::Subcommand;

use super::client::Client;
use super::globals::Globals;
use super::output::{Output, Table, or_dash, painted};
use super::selection::ahead;
use crate::service::page::Page;
use crate::service::tokens::{MadeToken, TokenRequest, TokenView};

/// List tokens, create or revoke one.
#[derive(Debug, clap::Args)]
pub struct TokensArgs {
    #[command(subcommand)]
    verb: Option<TokenVerb>,
}

#[derive(Debug, Subcommand)]
enum TokenVerb {
    /// List valid tokens
    List,
    /// Create a token and print it; it is not shown again
    Create {
        /// Its name, shown as the actor in the audit log
        name: String,
        /// Its role: viewer reads, operator also redrives, discards, tests and connects, admin also
        /// changes the pipeline and the tokens
        #[arg(long, default_value = "viewer")]
        role: String,
        /// Limit it to this destination, source/destination; repeatable
        #[arg(long = "destination", value_name = "PATH")]
        destinations: Vec<String>,
        /// When it expires: a time, or how far from now, such as 30d
        #[arg(long, value_name = "TIME")]
        expires: Option<String>,
    },
    /// Revoke a token, and the sessions that were signed in with it
    Revoke {
        /// The token's name
        name: String,
    },
}

impl TokensArgs {
    /// Whether it changes nothing.
    pub(super) const fn only_reads(&self) -> bool {
        matches!(self.verb, None | Some(TokenVerb::List))
    }

    /// Runs the verb.
    ///
    /// # Errors
    /// When the service cannot be reached or refuses.
    pub async fn run(self, globals: &Globals) -> anyhow::Result<ExitCode> {
        let client = Client::of(globals)?;
        let mut out = globals.output();
        match self.verb.unwrap_or(TokenVerb::List) {
            TokenVerb::List => {
                let page: Page<TokenView> = client.get("/tokens", &[]).await?;
                list(&mut out, &page)?;
            }
            TokenVerb::Create { name, role, destinations, expires } => {
                let destinations = (!destinations.is_empty()).then_some(destinations);
                let expires_at =
                    expires.as_deref().map(|text| ahead("--expires", text)).transpose()?;
                let request = TokenRequest { name, role, destinations, expires_at };
                let made: MadeToken = client.post("/tokens", &request).await?;
                tell(&mut out, &made)?;
            }
            TokenVerb::Revoke { name } => {
                client.delete(&format!("/tokens/{}", segment(&name))).await?;
                if out.is_json() {
                    out.json(&serde_json::json!({"revoked": name}))?;
                } else {
                    out.line(format!("{name} is revoked"))?;
                }
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// A name as a path segment.
fn segment(name: &str) -> String {
    url::form_urlencoded::byte_serialize(name.as_bytes()).collect::<String>().replace('+', "%20")
}

fn tell(out: &mut Output, made: &MadeToken) -> anyhow::Result<()> {
    if out.is_json() {
        return Ok(out.json(made)?);
    }
    out.line(&made.secret)?;
    let token = &made.token;
    out.remark(&format!(
        "token {} of role {}, shown this once; use it as POSTRIDER_TOKEN",
        token.name, token.role
    ))?;
    Ok(())
}

fn list(out: &mut Output, page: &Page<TokenView>) -> anyhow::Result<()> {
    if out.is_json() {
        return Ok(out.json(page)?);
    }
    let mut table =
        Table::new(&["name", "role", "destinations", "expires", "last used", "made", "by"]);
    for token in &page.items {
        let destinations = token.destinations.as_ref().map(|paths| paths.join(" "));
        table.row([
            token.name.clone(),
            painted(&token.role),
            destinations.unwrap_or_else(|| "all".to_owned()),
            or_dash(token.expires_at.as_deref()),
            or_dash(token.last_used_at.as_deref()),
            token.created_at.clone(),
            token.created_by.clone(),
        ]);
    }
    Ok(out.table(&table)?)
}
