//! `test`: renders a mapping for an event. With `--send` the request is sent as a test, which is not a
//! delivery.

use std::process::ExitCode;

use url::Url;

use super::client::Client;
use super::failure::{Failure, exit};
use super::globals::Globals;
use super::output::{Output, painted, plain};
use super::selection::one_of;
use crate::domain::event::EventType;
use crate::service::test_sends::{TestBody, TestView};

/// Render a mapping for an event: show the request, or send it as a test with --send.
#[derive(Debug, clap::Args)]
pub struct TestArgs {
    /// The mapping: source/destination/mapping
    #[arg(value_name = "MAPPING")]
    mapping: String,
    /// For this event
    #[arg(long, value_name = "ID", conflicts_with_all = ["last", "sample"])]
    event: Option<String>,
    /// For the source's last event (the default)
    #[arg(long, conflicts_with = "sample")]
    last: bool,
    #[arg(
        long,
        value_name = "TYPE",
        help = format!("For a sample of this type: {}", one_of(&EventType::ALL.map(EventType::as_str)))
    )]
    sample: Option<String>,
    /// Send the request; it is recorded as a test, not as a delivery
    #[arg(long)]
    send: bool,
}

impl TestArgs {
    /// Runs the verb.
    ///
    /// # Errors
    /// When the service cannot be reached or refuses.
    pub async fn run(self, globals: &Globals) -> anyhow::Result<ExitCode> {
        let path = path(&self.mapping)?;
        let client = Client::of(globals)?;
        let body =
            TestBody { event: self.event, sample: self.sample, document: None, send: self.send };
        let view: TestView = client.post(&path, &body).await?;
        let mut out = globals.output();
        if out.is_json() {
            out.json(&view)?;
        } else {
            show(&mut out, &view)?;
        }
        let delivered = |outcome: &str| outcome == "delivered";
        let fine = view.result.as_ref().is_none_or(|result| delivered(&result.outcome));
        Ok(if fine { ExitCode::SUCCESS } else { exit::FAILED.into() })
    }
}

/// The path in the admin API; names are percent-encoded.
fn path(mapping: &str) -> anyhow::Result<String> {
    let names: Vec<&str> = mapping.split('/').collect();
    if names.len() != 3 || names.iter().any(|name| name.is_empty()) {
        return Err(Failure::usage(format!("{mapping:?} is not a mapping"))
            .hint("write it as source/destination/mapping")
            .into());
    }
    let mut url = Url::parse("http://postrider/mappings")?;
    if let Ok(mut segments) = url.path_segments_mut() {
        segments.extend(names).push("tests");
    }
    Ok(url.path().to_owned())
}

fn show(out: &mut Output, view: &TestView) -> anyhow::Result<()> {
    let event = view.event.as_deref().unwrap_or("a sample");
    out.line(format!("event    {event}"))?;
    let matched = if view.matched { "yes" } else { "no: such events are not sent" };
    out.line(format!("matched  {matched}"))?;
    if let Some(request) = &view.request {
        out.line(format!("request  {} {}", request.method, plain(&request.url)))?;
        for line in request.headers.lines() {
            out.line(format!("         {}", plain(line)))?;
        }
        out.line(format!("body     {}", plain(&request.body)))?;
    }
    if let Some(console) = &view.console {
        for line in console.lines() {
            out.line(format!("console  {}", plain(line)))?;
        }
    }
    let Some(result) = &view.result else {
        return Ok(out.remark("nothing was sent; --send sends it as a test")?);
    };
    let status = result.status.map(|status| format!(" {status}")).unwrap_or_default();
    out.line(format!("outcome  {}{status}", painted(&result.outcome)))?;
    if let Some(error) = &result.error {
        out.line(format!("error    {}", plain(error)))?;
    }
    for line in result.response_headers.lines() {
        out.line(format!("answer   {}", plain(line)))?;
    }
    if !result.response_body.is_empty() {
        out.line(format!("         {}", plain(&result.response_body)))?;
    }
    Ok(())
}
