//! What a request meets first. The tracking API's calls are nearly all there is: they go straight to
//! intake. Browsers' calls to it need more answers than one, and everything else is the operator's:
//! these go through the router.

use std::convert::Infallible;
use std::sync::Arc;

use axum::Router;
use axum::response::Response;
use http::header::ORIGIN;
use hyper::Request;
use hyper::body::Incoming;
use hyper::service::Service as _;
use hyper_util::service::TowerToHyperService;

use crate::auth::Peer;
use crate::intake::{self, Intake};

/// Both ways a request can go. The router is told where it comes from. Cheap to clone.
#[derive(Clone)]
pub struct Front(Arc<Ways>);

struct Ways {
    intake: Arc<Intake>,
    router: TowerToHyperService<Router>,
}

impl std::fmt::Debug for Front {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Front").finish_non_exhaustive()
    }
}

impl Front {
    /// `operator` serves what is not the tracking API's.
    #[must_use]
    pub fn new(intake: Arc<Intake>, operator: Router) -> Self {
        let router = intake::router(Arc::clone(&intake)).merge(operator);
        Self(Arc::new(Ways { intake, router: TowerToHyperService::new(router) }))
    }

    pub(super) async fn answer(
        self,
        mut request: Request<Incoming>,
        peer: Peer,
    ) -> Result<Response, Infallible> {
        let is_call = request.uri().path().starts_with(intake::PREFIX);
        if is_call && !request.headers().contains_key(ORIGIN) {
            return Ok(self.0.intake.answer(request).await);
        }
        request.extensions_mut().insert(peer);
        self.0.router.call(request).await
    }
}
