//! Shared by the handlers of sources, destinations and mappings: ETag, If-Match and If-None-Match
//! (RFC 9110, 13), and the responses to a change.

use std::sync::Arc;

use axum::Json;
use axum::extract::{FromRequestParts, RawPathParams};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use secrecy::ExposeSecret as _;
use serde::Serialize;
use serde_json::Value;

use super::authentication::Authenticated;
use super::{Api, Problem};
use crate::domain::auth::{Admin, Caller};
use crate::pipeline::{Change, FieldError, Guard, Target};
use crate::service::ServiceError;
use crate::service::resources::{Detail, Tagged};

/// A resource with its generated secret in place of `kept`.
#[derive(Debug, Serialize)]
struct Revealed {
    #[serde(flatten)]
    detail: Detail,
    /// A source's write key, shown once.
    #[serde(skip_serializing_if = "Option::is_none")]
    write_key: Option<String>,
    /// A destination's shared secret, shown once.
    #[serde(skip_serializing_if = "Option::is_none")]
    shared_secret: Option<String>,
}

/// A request for the resource that its path names.
#[derive(Debug)]
pub(super) struct ResourceRequest<R> {
    api: Arc<Api>,
    who: R,
    target: Target,
    headers: HeaderMap,
    /// Of a removal: whether it only computes the difference.
    dry_run: bool,
}

impl<R: Send> FromRequestParts<Arc<Api>> for ResourceRequest<R>
where
    Authenticated<R>: FromRequestParts<Arc<Api>, Rejection = Problem>,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Arc<Api>) -> Result<Self, Problem> {
        let Authenticated(who) = Authenticated::<R>::from_request_parts(parts, api).await?;
        let names = RawPathParams::from_request_parts(parts, api).await;
        let names = names.map_err(|error| Problem::malformed(error.body_text()))?;
        let names = names.iter().map(|(_, name)| name.to_owned());
        let target = Target::at(names).ok_or_else(|| Problem::not_found("such path"))?;
        let dry_run = dry_run(parts.uri.query().unwrap_or_default())?;
        Ok(Self { api: Arc::clone(api), who, target, headers: parts.headers.clone(), dry_run })
    }
}

impl ResourceRequest<Caller> {
    /// Returns the resource, or 304 where If-None-Match has its ETag.
    pub(super) async fn show(&self) -> Result<Response, Problem> {
        let Tagged { detail, tag } = self.api.service.detail(&self.who, &self.target).await?;
        let known = self.headers.get_all(header::IF_NONE_MATCH).iter();
        let mut known = known.filter_map(|it| it.to_str().ok()).flat_map(|it| it.split(','));
        let is_known = known.any(|it| {
            let it = it.trim();
            it == "*" || it.trim_start_matches("W/") == quoted(&tag)
        });
        if is_known {
            return Ok(tagged(StatusCode::NOT_MODIFIED, &tag, ()));
        }
        Ok(tagged(StatusCode::OK, &tag, Json(detail)))
    }
}

impl ResourceRequest<Admin> {
    /// Removes the resource if the precondition holds; a dry run returns the difference instead.
    pub(super) async fn remove(&self) -> Result<Response, Problem> {
        if !self.dry_run {
            return self.change(Change::Remove).await;
        }
        let Self { api, who, target, headers, .. } = self;
        let editor = &api.service.editor;
        let applied = editor.preview_removal(who, target, &guard(headers)?).await;
        Ok(Json(applied.map_err(ServiceError::from)?).into_response())
    }

    /// Changes the resource if the precondition holds, and returns it.
    pub(super) async fn change(&self, change: Change) -> Result<Response, Problem> {
        let Self { api, who, target, headers, .. } = self;
        let guard = guard(headers)?;
        let is_removal = matches!(change, Change::Remove);
        let changed = api.service.change(who, target, &guard, change).await?;
        if is_removal {
            return Ok(StatusCode::NO_CONTENT.into_response());
        }
        answer(api, who, &changed.target, StatusCode::OK, changed.secret).await
    }
}

fn dry_run(query: &str) -> Result<bool, Problem> {
    let given = url::form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "dry_run");
    match given.as_ref().map(|(_, value)| value.as_ref()) {
        None | Some("false") => Ok(false),
        Some("true") => Ok(true),
        Some(_) => {
            let fault = FieldError::new("dry_run", "should be true or false");
            Err(ServiceError::Invalid(vec![fault]).into())
        }
    }
}

/// Creates a resource and returns it with its Location.
pub(super) async fn create(
    api: &Api,
    admin: &Admin,
    target: &Target,
    body: Value,
) -> Result<Response, Problem> {
    let changed = api.service.change(admin, target, &Guard::New, Change::Put(body)).await?;
    let mut response = answer(api, admin, target, StatusCode::CREATED, changed.secret).await?;
    if let Ok(location) = HeaderValue::from_str(&location(target)) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    Ok(response)
}

/// Returns a resource after a change.
pub(super) async fn answer(
    api: &Api,
    caller: &Caller,
    target: &Target,
    status: StatusCode,
    secret: Option<secrecy::SecretString>,
) -> Result<Response, Problem> {
    let Tagged { detail, tag } = api.service.detail(caller, target).await?;
    let mut revealed = Revealed { detail, write_key: None, shared_secret: None };
    if let Some(secret) = secret.map(|secret| secret.expose_secret().to_owned()) {
        match &mut revealed.detail {
            Detail::Source(source) => {
                source.document.write_key = None;
                revealed.write_key = Some(secret);
            }
            Detail::Destination(destination) => {
                destination.document.shared_secret = None;
                revealed.shared_secret = Some(secret);
            }
            Detail::Mapping(_) => {}
        }
    }
    Ok(tagged(status, &tag, Json(revealed)))
}

/// The precondition in `If-Match`; without one, the resource has to exist.
pub(super) fn guard(headers: &HeaderMap) -> Result<Guard, Problem> {
    let mut tags = Vec::new();
    for value in headers.get_all(header::IF_MATCH) {
        let text = value.to_str().unwrap_or_default();
        for tag in text.split(',').map(str::trim).filter(|tag| !tag.is_empty()) {
            if tag == "*" {
                return Ok(Guard::Present);
            }
            // A weak tag matches nothing here (RFC 9110, 13.1.1).
            let bare = tag.trim_start_matches("W/");
            match bare.strip_prefix('"').and_then(|it| it.strip_suffix('"')) {
                Some(inner) if bare == tag => tags.push(inner.to_owned()),
                Some(_) => {}
                None => {
                    let message = "should be a quoted ETag from a read, or *";
                    let fault = FieldError::new("If-Match", message);
                    return Err(ServiceError::Invalid(vec![fault]).into());
                }
            }
        }
    }
    let is_given = headers.contains_key(header::IF_MATCH);
    Ok(if is_given { Guard::Tagged(tags) } else { Guard::Present })
}

fn tagged(status: StatusCode, tag: &str, body: impl IntoResponse) -> Response {
    let mut response = (status, body).into_response();
    if let Ok(tag) = HeaderValue::from_str(&quoted(tag)) {
        response.headers_mut().insert(header::ETAG, tag);
    }
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn quoted(tag: &str) -> String {
    format!("\"{tag}\"")
}

fn location(target: &Target) -> String {
    let mut url = url::Url::parse("http://here/api/v1").ok();
    if let Some(mut steps) = url.as_mut().and_then(|url| url.path_segments_mut().ok()) {
        match target {
            Target::Source(source) => steps.extend(["sources", source]),
            Target::Destination(source, name) => steps.extend(["destinations", source, name]),
            Target::Mapping(source, destination, name) => {
                steps.extend(["mappings", source, destination, name])
            }
        };
    }
    url.map(|url| url.path().to_owned()).unwrap_or_default()
}
