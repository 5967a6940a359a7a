//! Operations on inspectors: the requests that each received, and its response. An inspector may
//! receive anything, so callers with a destination scope are refused.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::{Service, ServiceError};
use crate::domain::audit::Action;
use crate::domain::auth::{Caller, Operator};
use crate::inspector::{
    Answer, AnswerFault, InspectedRequest, Inspector, InspectorName, Inspectors, Script,
    ScriptError, SecretChange,
};
use crate::pipeline::FieldError;

/// The maximum length of a secret, in bytes.
const SECRET_BYTES: usize = 1_024;

/// The response of an inspector.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AnswerDocument {
    /// Statuses in the order in which each delivery gets them, separated by commas; the last one
    /// repeats.
    #[schema(pattern = "^ *[2-5][0-9][0-9] *(, *[2-5][0-9][0-9] *){0,99}$")]
    pub statuses: String,
    /// The delay of each response, in milliseconds.
    #[schema(maximum = 60_000)]
    pub delay_ms: u64,
    /// The body of each response.
    #[schema(max_length = 4_096)]
    pub body: String,
    /// The secret for signature verification, besides the shared secrets of the destinations that
    /// send here. Left out: unchanged; empty: removed. Never shown.
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

    /// The audit entry: neither the body nor the secret.
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

/// A request that an inspector received.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = InspectedRequest)]
pub struct RequestView {
    /// The inspector's name.
    pub inspector: String,
    /// Counts up from 1 in each inspector.
    pub number: u64,
    /// When it was complete.
    pub arrived_at: String,
    /// POST, PUT or PATCH.
    pub method: String,
    /// The path and query.
    pub path: String,
    /// Every header, `name: value` a line, credentials masked.
    pub headers: String,
    /// The body as received, truncated to what is kept; invalid UTF-8 is replaced.
    pub body: String,
    /// The size of the body, in bytes.
    pub body_bytes: usize,
    /// Whether the body is complete here.
    pub body_whole: bool,
    /// Verification of `X-Signature`: verified, wrong, stale, absent, unchecked.
    pub x_signature: String,
    /// Verification of `webhook-signature`, likewise.
    pub webhook_signature: String,
    /// The `webhook-id`.
    pub webhook_id: Option<String>,
    /// The number of requests with its `webhook-id` so far, this one included.
    pub tried: u32,
    /// The status of the response.
    pub answered: u16,
}

impl RequestView {
    /// The view of a request.
    #[must_use]
    pub fn of(request: &InspectedRequest) -> Self {
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

/// An inspector.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct InspectorView {
    /// Its name.
    pub name: String,
    /// The URL to send to.
    pub url: String,
    /// Its response.
    pub answer: AnswerDocument,
    /// The destinations whose shared secrets verify signatures.
    pub checked_with: Vec<String>,
    /// Whether a secret that was set here verifies signatures as well.
    pub has_secret: bool,
    /// Requests received since it was created.
    pub taken: u64,
    /// The requests that it keeps, newest first; in a list of inspectors only the newest.
    pub requests: Vec<RequestView>,
}

/// Its subject in the audit log.
fn subject(name: &InspectorName) -> String {
    format!("inspectors/{}", name.as_str())
}

pub(super) fn name(text: &str) -> Result<InspectorName, ServiceError> {
    InspectorName::parse(text).ok_or_else(|| {
        let message = "should be 1 to 64 lowercase letters, digits, - and _";
        ServiceError::at("name", message)
    })
}

/// Parses the response; each error names its field.
fn read(document: &AnswerDocument) -> Result<(Answer, SecretChange), ServiceError> {
    let mut faults = Vec::new();
    let script = document.statuses.parse().unwrap_or_else(|error: ScriptError| {
        faults.push(FieldError::new("statuses", error.to_string()));
        Script::default()
    });
    let (delay, body) = (Duration::from_millis(document.delay_ms), document.body.clone());
    let answer = Answer { script, delay, body };
    faults.extend(answer.faults().into_iter().map(|fault| {
        let path = match fault {
            AnswerFault::Delay => "delay_ms",
            AnswerFault::Body => "body",
        };
        FieldError::new(path, fault.to_string())
    }));
    let secret = match document.secret.as_deref() {
        None => SecretChange::Keep,
        Some("") => SecretChange::Remove,
        Some(text) if text.len() > SECRET_BYTES => {
            let message = format!("should have at most {SECRET_BYTES} bytes");
            faults.push(FieldError::new("secret", message));
            SecretChange::Keep
        }
        Some(text) => SecretChange::Set(text.into()),
    };
    if faults.is_empty() { Ok((answer, secret)) } else { Err(ServiceError::Invalid(faults)) }
}

impl Service {
    /// The inspectors; an error where the setting disables them.
    pub(super) fn inspectors(&self) -> Result<&Arc<Inspectors>, ServiceError> {
        let off = "inspector here: start the service with the setting inspector = true";
        self.inspectors.as_ref().ok_or_else(|| ServiceError::Missing(off.to_owned()))
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

    /// Every inspector that received a request or was configured, by name.
    ///
    /// # Errors
    /// [`ServiceError`] when inspectors are disabled.
    pub fn list_inspectors(&self, caller: &Caller) -> Result<Vec<InspectorView>, ServiceError> {
        caller.reaches_everything()?;
        let all = self.inspectors()?.list();
        Ok(all.iter().map(|one| self.inspector_view(one)).collect())
    }

    /// One inspector with the requests that it keeps. One without requests is empty.
    ///
    /// # Errors
    /// [`ServiceError`] when inspectors are disabled or the name is invalid.
    pub fn inspector(&self, caller: &Caller, text: &str) -> Result<InspectorView, ServiceError> {
        caller.reaches_everything()?;
        let inspectors = self.inspectors()?;
        Ok(self.inspector_view(&inspectors.get(&name(text)?)))
    }

    /// Sets the response of an inspector.
    ///
    /// # Errors
    /// [`ServiceError`] with each error in the response.
    pub async fn set_inspector(
        &self,
        operator: &Operator,
        text: &str,
        document: AnswerDocument,
    ) -> Result<InspectorView, ServiceError> {
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

    /// Deletes an inspector with its requests and its configuration.
    ///
    /// # Errors
    /// [`ServiceError`] when there is none.
    pub async fn forget_inspector(
        &self,
        operator: &Operator,
        text: &str,
    ) -> Result<(), ServiceError> {
        operator.reaches_everything()?;
        let inspectors = self.inspectors()?;
        let name = name(text)?;
        if !inspectors.list().iter().any(|it| it.name == name) {
            return Err(ServiceError::Missing(format!("inspector {text}")));
        }
        let before = AnswerDocument::of(&inspectors.get(&name).answer).told();
        self.note(operator, Action::ForgetInspector, subject(&name), (Some(before), None)).await?;
        inspectors.remove(&name);
        Ok(())
    }
}
