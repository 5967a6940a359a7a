//! Inspectors: what arrived at each, and what each answers. Anything may arrive there, so they are
//! for callers who are not limited to some destinations.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::{Refusal, Service};
use crate::domain::audit::Action;
use crate::domain::auth::{Caller, Operator};
use crate::inspector::{
    Answer, AnswerFault, InspectedRequest, Inspector, InspectorName, Inspectors, Script,
    ScriptError, SecretChange,
};
use crate::pipeline::Fault;

/// The longest secret to check with, in bytes.
const SECRET_BYTES: usize = 1_024;

/// What an inspector answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AnswerDocument {
    /// Statuses in the order they are answered to each delivery, with commas; the last one goes on.
    #[schema(pattern = "^ *[2-5][0-9][0-9] *(, *[2-5][0-9][0-9] *){0,99}$")]
    pub statuses: String,
    /// How long it takes over each, in milliseconds.
    #[schema(maximum = 60_000)]
    pub delay_ms: u64,
    /// The body of each.
    #[schema(max_length = 4_096)]
    pub body: String,
    /// What signatures are checked with besides the shared secrets of the destinations that send here.
    /// Left out, it stays as it is; an empty one is forgotten. It is never shown.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 1_024)]
    pub secret: Option<String>,
}

impl Default for AnswerDocument {
    fn default() -> Self {
        Self { statuses: "200".to_owned(), delay_ms: 0, body: String::new(), secret: None }
    }
}

impl AnswerDocument {
    fn of(answer: &Answer) -> Self {
        Self {
            statuses: answer.script.to_text(),
            delay_ms: u64::try_from(answer.delay.as_millis()).unwrap_or(u64::MAX),
            body: answer.body.clone(),
            secret: None,
        }
    }

    /// What the audit log tells of it: nothing that it says to anybody, and no secret.
    fn told(&self) -> Value {
        let mut told = json!({
            "statuses": self.statuses,
            "delay_ms": self.delay_ms,
            "body_bytes": self.body.len(),
        });
        match self.secret.as_deref() {
            None => {}
            Some("") => told["secret"] = json!("forgotten"),
            Some(_) => told["secret"] = json!("set"),
        }
        told
    }
}

/// A request that an inspector took.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = InspectedRequest)]
pub struct RequestView {
    /// The inspector's name.
    pub inspector: String,
    /// Counts up from 1 in each inspector.
    pub number: u64,
    /// When it was whole.
    pub arrived_at: String,
    /// POST, PUT or PATCH.
    pub method: String,
    /// The path with its query.
    pub path: String,
    /// Every header, `name: value` a line, credentials masked.
    pub headers: String,
    /// The body as it was sent, as far as it is kept; what is no UTF-8 is replaced.
    pub body: String,
    /// How long the body was, in bytes.
    pub body_bytes: usize,
    /// Whether all of the body is here.
    pub body_whole: bool,
    /// Of `X-Signature`: verified, wrong, stale, absent, unchecked.
    pub x_signature: String,
    /// Of `webhook-signature`, likewise.
    pub webhook_signature: String,
    /// The `webhook-id`.
    pub webhook_id: Option<String>,
    /// Which arrival of its `webhook-id` it is, from 1.
    pub tried: u32,
    /// The status it was answered.
    pub answered: u16,
}

impl RequestView {
    pub(super) fn of(request: &InspectedRequest) -> Self {
        Self {
            inspector: request.inspector.as_str().to_owned(),
            number: request.number,
            arrived_at: request.arrived_at.to_iso(),
            method: request.method.to_string(),
            path: request.path.clone(),
            headers: request.headers.clone(),
            body: String::from_utf8_lossy(&request.body).into_owned(),
            body_bytes: request.body_bytes,
            body_whole: request.body.len() == request.body_bytes,
            x_signature: request.signature.as_str().to_owned(),
            webhook_signature: request.standard.as_str().to_owned(),
            webhook_id: request.webhook_id.clone(),
            tried: request.tried,
            answered: request.answered.as_u16(),
        }
    }
}

/// An inspector as it stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct InspectorView {
    /// Its name.
    pub name: String,
    /// Where to send to.
    pub url: String,
    /// What it answers.
    pub answer: AnswerDocument,
    /// The destinations whose shared secrets signatures are checked with.
    pub checked_with: Vec<String>,
    /// Whether they are checked with a secret that was set here as well.
    pub has_secret: bool,
    /// Requests that it took since it was made.
    pub taken: u64,
    /// Those it keeps, newest first; in a list of inspectors the newest only.
    pub requests: Vec<RequestView>,
}

/// What the audit log calls it.
fn subject(name: &InspectorName) -> String {
    format!("inspectors/{}", name.as_str())
}

pub(super) fn name(text: &str) -> Result<InspectorName, Refusal> {
    InspectorName::parse(text).ok_or_else(|| {
        let message = "should be 1 to 64 small letters, digits, - and _";
        Refusal::at("name", message)
    })
}

/// Reads what is to be answered, with each fault at its field.
fn read(document: &AnswerDocument) -> Result<(Answer, SecretChange), Refusal> {
    let mut faults = Vec::new();
    let script = document.statuses.parse().unwrap_or_else(|error: ScriptError| {
        faults.push(Fault::new("statuses", error.to_string()));
        Script::default()
    });
    let (delay, body) = (Duration::from_millis(document.delay_ms), document.body.clone());
    let answer = Answer { script, delay, body };
    faults.extend(answer.faults().into_iter().map(|fault| {
        let path = match fault {
            AnswerFault::Delay => "delay_ms",
            AnswerFault::Body => "body",
        };
        Fault::new(path, fault.to_string())
    }));
    let secret = match document.secret.as_deref() {
        None => SecretChange::Keep,
        Some("") => SecretChange::Remove,
        Some(text) if text.len() > SECRET_BYTES => {
            let message = format!("should have at most {SECRET_BYTES} bytes");
            faults.push(Fault::new("secret", message));
            SecretChange::Keep
        }
        Some(text) => SecretChange::Set(text.into()),
    };
    if faults.is_empty() { Ok((answer, secret)) } else { Err(Refusal::Invalid(faults)) }
}

impl Service {
    /// The inspectors; refused where the setting does not allow them.
    pub(super) fn inspectors(&self) -> Result<&Arc<Inspectors>, Refusal> {
        let off = "inspector here: start the service with the setting inspector = true";
        self.inspectors.as_ref().ok_or_else(|| Refusal::Missing(off.to_owned()))
    }

    fn inspector_view(&self, inspector: &Inspector) -> InspectorView {
        let name = inspector.name.as_str();
        InspectorView {
            name: name.to_owned(),
            url: format!("{}/inspect/{name}", self.base_url),
            answer: AnswerDocument::of(&inspector.answer),
            checked_with: inspector.checked_with.clone(),
            has_secret: inspector.has_secret,
            taken: inspector.taken,
            requests: inspector.requests.iter().map(|it| RequestView::of(it)).collect(),
        }
    }

    /// Every inspector that was sent to or told what to answer, by name.
    ///
    /// # Errors
    /// [`Refusal`] when inspectors are off.
    pub fn list_inspectors(&self, caller: &Caller) -> Result<Vec<InspectorView>, Refusal> {
        caller.reaches_everything()?;
        let all = self.inspectors()?.list();
        Ok(all.iter().map(|one| self.inspector_view(one)).collect())
    }

    /// One inspector with all that it keeps. One that nobody has sent to yet is empty.
    ///
    /// # Errors
    /// [`Refusal`] when inspectors are off or the name is none.
    pub fn inspector(&self, caller: &Caller, text: &str) -> Result<InspectorView, Refusal> {
        caller.reaches_everything()?;
        let inspectors = self.inspectors()?;
        Ok(self.inspector_view(&inspectors.get(&name(text)?)))
    }

    /// Sets what an inspector answers from now on.
    ///
    /// # Errors
    /// [`Refusal`] with what is not right about the answer.
    pub async fn set_inspector(
        &self,
        operator: &Operator,
        text: &str,
        document: AnswerDocument,
    ) -> Result<InspectorView, Refusal> {
        operator.reaches_everything()?;
        let inspectors = self.inspectors()?;
        let name = name(text)?;
        let (answer, secret) = read(&document)?;
        let before = AnswerDocument::of(&inspectors.get(&name).answer).told();
        let change = (Some(before), Some(document.told()));
        self.note(operator, Action::SetInspector, subject(&name), change).await?;
        inspectors.set(&name, answer, secret);
        self.inspector(operator, text)
    }

    /// Forgets an inspector with all it kept and was told.
    ///
    /// # Errors
    /// [`Refusal`] when there is none.
    pub async fn forget_inspector(&self, operator: &Operator, text: &str) -> Result<(), Refusal> {
        operator.reaches_everything()?;
        let inspectors = self.inspectors()?;
        let name = name(text)?;
        if !inspectors.list().iter().any(|it| it.name == name) {
            return Err(Refusal::Missing(format!("inspector {text}")));
        }
        let before = AnswerDocument::of(&inspectors.get(&name).answer).told();
        self.note(operator, Action::ForgetInspector, subject(&name), (Some(before), None)).await?;
        inspectors.remove(&name);
        Ok(())
    }
}
