//! `inspect`: the requests of an inspector of the running service, and its answers.

use std::process::ExitCode;

use super::client::Client;
use super::globals::Globals;
use super::output::{Output, plain};
use crate::service::inspectors::{AnswerDocument, InspectorView, RequestView};

/// Show an inspector's requests, oldest first, and set its answers.
#[derive(Debug, clap::Args)]
pub struct InspectArgs {
    /// The inspector's name: small letters, digits, - and _
    #[arg(value_name = "NAME")]
    name: String,
    /// Answer with these statuses in turn, then with the last one: 503,503,200
    #[arg(long, value_name = "STATUSES")]
    answer: Option<String>,
    /// Delay each answer
    #[arg(long, value_name = "MS", requires = "answer")]
    delay_ms: Option<u64>,
    /// Answer with this body
    #[arg(long, value_name = "TEXT", requires = "answer")]
    body: Option<String>,
}

impl InspectArgs {
    /// Runs the verb.
    ///
    /// # Errors
    /// When the service cannot be reached or refuses.
    pub async fn run(self, globals: &Globals) -> anyhow::Result<ExitCode> {
        let client = Client::of(globals)?;
        let name: String = url::form_urlencoded::byte_serialize(self.name.as_bytes()).collect();
        let path = format!("/inspectors/{name}");
        let mut is_set = false;
        let view: InspectorView = match self.answer {
            Some(statuses) => {
                is_set = true;
                let answer = AnswerDocument {
                    statuses,
                    delay_ms: self.delay_ms.unwrap_or_default(),
                    body: self.body.unwrap_or_default(),
                    secret: None,
                };
                client.put(&path, &answer).await?
            }
            None => client.get(&path, &[]).await?,
        };
        let mut out = globals.output();
        if out.is_json() {
            out.json(&view)?;
        } else {
            tell_answer(&mut out, &view)?;
            if !is_set {
                show(&mut out, &view)?;
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn tell_answer(out: &mut Output, view: &InspectorView) -> std::io::Result<()> {
    let answer = &view.answer;
    let after = match answer.delay_ms {
        0 => String::new(),
        delay_ms => format!(" after {delay_ms} ms"),
    };
    out.line(format!("{} answers {}{after}", view.url, answer.statuses))
}

fn show(out: &mut Output, view: &InspectorView) -> std::io::Result<()> {
    for request in view.requests.iter().rev() {
        show_request(out, request)?;
    }
    if view.requests.is_empty() {
        out.remark("nothing has arrived")?;
    }
    Ok(())
}

fn show_request(out: &mut Output, request: &RequestView) -> std::io::Result<()> {
    out.line("")?;
    out.line(format!(
        "#{} {} {} at {}, try {}, answered {}",
        request.number,
        request.method,
        plain(&request.path),
        request.arrived_at,
        request.tried,
        request.answered,
    ))?;
    out.line(format!(
        "X-Signature {}, webhook-signature {}",
        request.x_signature, request.webhook_signature
    ))?;
    for line in request.headers.lines() {
        out.line(plain(line))?;
    }
    out.line("")?;
    out.line(plain(&request.body))?;
    if !request.body_whole {
        out.remark(&format!("the first of {} bytes", request.body_bytes))?;
    }
    Ok(())
}
