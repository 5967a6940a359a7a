//! The operator's doors: every route but the tracking API's, by who comes in through it.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Router;

use crate::api::{self, Api};
use crate::service::Service;
use crate::settings::Origin;
use crate::telemetry::metrics::Metrics;
use crate::web::{self, Web, WebParts};

/// Programs come in by the API's, browsers by the pages'.
pub(super) fn operator(
    service: Arc<Service>,
    metrics: &Arc<Metrics>,
    origins: BTreeMap<&'static str, Origin>,
) -> Router {
    let web = Arc::new(Web::new(WebParts { service: Arc::clone(&service), origins }));
    let api = Arc::new(Api { service, metrics: Arc::clone(metrics) });
    api::router(api).merge(web::router(web))
}
