//! What keeps other sites out: requests that change something have to come from our own pages, and
//! browsers are told what a page may load, who may frame it and that it is not to be kept.

use axum::extract::Request;
use axum::http::{HeaderName, HeaderValue, header};
use axum::middleware::Next;
use axum::response::Response;
use tower_http::csrf::CsrfLayer;

/// Nothing but our own scripts, styles and pictures; nothing inline, no frames, no other base.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
                      connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'";

const HEADERS: [(HeaderName, &str); 7] = [
    (header::CONTENT_SECURITY_POLICY, POLICY),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    // With `no-referrer` browsers would send no usable `Origin` either.
    (header::REFERRER_POLICY, "same-origin"),
    (header::CACHE_CONTROL, "no-store"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
];

pub(super) async fn headers(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    for (name, value) in HEADERS {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

/// Refuses what another site made a browser send. Behind a proxy that changes `Host`, what comes from
/// the public address is taken as well.
pub(super) fn cross_site(public_url: Option<&str>) -> CsrfLayer {
    let origin = public_url.and_then(|url| url::Url::parse(url).ok()).map(|url| url.origin());
    let trusted = origin.filter(url::Origin::is_tuple).map(|origin| origin.ascii_serialization());
    let layer = CsrfLayer::new();
    match trusted.map(|origin| layer.clone().add_trusted_origin(origin)) {
        Some(Ok(layer)) => layer,
        Some(Err(error)) => {
            tracing::warn!(%error, "public_url is no origin that browsers name: it is not trusted");
            layer
        }
        None => layer,
    }
}
