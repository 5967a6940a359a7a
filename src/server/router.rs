//! Request routing: tracking API calls go straight to intake; browsers' calls to it (CORS), the admin
//! API, the pages and everything else go through the axum router.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::response::Response;
use http::header::ORIGIN;
use hyper::Request;
use hyper::body::Incoming;
use hyper::service::Service as _;
use hyper_util::service::TowerToHyperService;

use super::host_check::checked;
use super::stall_guard::TimedBody;
use crate::api::{self, Api};
use crate::auth::Peer;
use crate::intake::{self, Intake};
use crate::service::Service;
use crate::settings::Origin;
use crate::telemetry::metrics::Metrics;
use crate::telemetry::refusals::Refusals;
use crate::web::{self, Web, WebParts};

/// Routes each request to intake or to the axum router; cheap to clone.
#[derive(Clone)]
pub struct RequestRouter(Arc<Targets>);

struct Targets {
    intake: Arc<Intake>,
    router: TowerToHyperService<Router>,
    refusals: Refusals,
}

impl std::fmt::Debug for RequestRouter {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("RequestRouter").finish_non_exhaustive()
    }
}

impl RequestRouter {
    /// `operator` serves every path that is not the tracking API's.
    #[must_use]
    pub fn new(intake: Arc<Intake>, operator: Router, refusals: Refusals) -> Self {
        let router = intake::router(Arc::clone(&intake)).merge(operator);
        Self(Arc::new(Targets { intake, router: TowerToHyperService::new(router), refusals }))
    }

    pub(super) fn refusals(&self) -> &Refusals {
        &self.0.refusals
    }

    pub(super) async fn answer(
        self,
        mut request: Request<Incoming>,
        peer: Peer,
        body_timeout: Duration,
    ) -> Result<Response, Infallible> {
        request.extensions_mut().insert(peer);
        let is_tracking_call = request.uri().path().starts_with(intake::PREFIX);
        if is_tracking_call && !request.headers().contains_key(ORIGIN) {
            return Ok(self.0.intake.answer(request).await);
        }
        let request = request.map(|body| Body::new(TimedBody::new(body, body_timeout)));
        self.0.router.call(request).await
    }
}

/// The operator's routes: the admin API and the pages.
pub(super) fn operator(
    service: Arc<Service>,
    (metrics, refusals): (&Arc<Metrics>, &Refusals),
    origins: BTreeMap<&'static str, Origin>,
) -> Router {
    let settings = service.settings.clone();
    let of_pages = refusals.clone();
    let parts = WebParts { service: Arc::clone(&service), origins, refusals: of_pages };
    let web = Arc::new(Web::new(parts));
    let api = Api { service, metrics: Arc::clone(metrics), refusals: refusals.clone() };
    checked(api::router(Arc::new(api)).merge(web::router(web)), &settings, refusals.clone())
}
