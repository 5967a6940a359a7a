//! Downloads of a search: every row, as CSV or JSON lines.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};

use super::error::PageError;
use super::form::{Form, Query, with_query};
use super::role::Require;
use super::state::Web;
use crate::domain::auth::Caller;
use crate::service::export::Exported;
use crate::service::export_format::Format;

/// The paths of a search's downloads: CSV and JSON lines.
pub(super) struct Downloads {
    pub(super) csv: String,
    pub(super) json_lines: String,
}

impl Downloads {
    /// The downloads of the list with this path, with the filters of its form.
    pub(super) fn of(path: &str, form: &Form) -> Self {
        let at = |format: Format| {
            let filters = form.except(&["before", "limit"]);
            let format = [("format", format.as_str())];
            with_query(&format!("{path}/export"), filters.chain(format))
        };
        Self { csv: at(Format::Csv), json_lines: at(Format::JsonLines) }
    }
}

pub(super) async fn events(
    State(web): State<Arc<Web>>,
    Require(caller): Require<Caller>,
    headers: HeaderMap,
    Query(form): Query,
) -> Result<Response, PageError> {
    web.export(&caller, &headers, Exported::Events, &form).await
}

pub(super) async fn deliveries(
    State(web): State<Arc<Web>>,
    Require(caller): Require<Caller>,
    headers: HeaderMap,
    Query(form): Query,
) -> Result<Response, PageError> {
    web.export(&caller, &headers, Exported::Deliveries, &form).await
}

impl Web {
    async fn export(
        &self,
        caller: &Caller,
        headers: &HeaderMap,
        list: Exported,
        form: &Form,
    ) -> Result<Response, PageError> {
        let caller = (caller, self.session_key(headers));
        let service = Arc::clone(&self.service);
        let export = service.export(caller, list, &form.conditions(&[])).await?;
        let attachment = format!("attachment; filename=\"{}\"", export.file_name());
        let mut headers = HeaderMap::new();
        headers
            .insert(header::CONTENT_TYPE, HeaderValue::from_static(export.format().media_type()));
        if let Ok(attachment) = HeaderValue::from_str(&attachment) {
            headers.insert(header::CONTENT_DISPOSITION, attachment);
        }
        Ok((headers, Body::from_stream(export.into_stream())).into_response())
    }
}
