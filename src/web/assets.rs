//! Static assets compiled into the binary: styles, scripts, the icon. Their path contains a digest of
//! all of them, so browsers may cache them forever and scripts may import each other by relative path.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};

use crate::domain::digest::sha256;

/// The route of assets.
pub(super) const ROUTE: &str = "/assets/{version}/{name}";

/// One year, the maximum that browsers honour.
const IMMUTABLE: &str = "public, max-age=31536000, immutable";

struct Asset {
    name: &'static str,
    kind: &'static str,
    bytes: &'static [u8],
}

macro_rules! asset {
    ($name:literal, $kind:literal) => {
        Asset {
            name: $name,
            kind: $kind,
            bytes: include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/assets/ui/", $name)),
        }
    };
}

static ASSETS: &[Asset] = &[
    asset!("style.css", "text/css; charset=utf-8"),
    asset!("theme.js", "text/javascript; charset=utf-8"),
    asset!("page.js", "text/javascript; charset=utf-8"),
    asset!("live.js", "text/javascript; charset=utf-8"),
    asset!("stream.js", "text/javascript; charset=utf-8"),
    asset!("preview.js", "text/javascript; charset=utf-8"),
    asset!("icon.svg", "image/svg+xml"),
];

/// The version of the assets of this binary.
#[derive(Debug)]
pub(super) struct Assets {
    version: String,
    base: Arc<str>,
}

impl Assets {
    pub(super) fn new() -> Self {
        let parts: Vec<&[u8]> =
            ASSETS.iter().flat_map(|asset| [asset.name.as_bytes(), asset.bytes]).collect();
        let version = hex::encode(&sha256(&parts)[..8]);
        Self { base: format!("/assets/{version}").into(), version }
    }

    /// The base path, without a trailing slash.
    pub(super) fn base(&self) -> Arc<str> {
        Arc::clone(&self.base)
    }
}

pub(super) async fn serve(
    State(assets): State<Arc<Assets>>,
    Path((version, name)): Path<(String, String)>,
    headers: HeaderMap,
) -> Response {
    let Some(asset) = ASSETS.iter().find(|asset| asset.name == name) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    // A page of another version gets the current asset, but must not cache it.
    let cache = if version == assets.version { IMMUTABLE } else { "no-store" };
    let tag = format!("\"{}\"", assets.version);
    let common = [(header::CACHE_CONTROL, cache.to_owned()), (header::ETAG, tag.clone())];
    if headers.get(header::IF_NONE_MATCH).is_some_and(|given| given.as_bytes() == tag.as_bytes()) {
        return (StatusCode::NOT_MODIFIED, common).into_response();
    }
    let kind = [
        (header::CONTENT_TYPE, asset.kind),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::CONTENT_SECURITY_POLICY, "default-src 'none'; style-src 'unsafe-inline'"),
    ];
    (common, kind, asset.bytes).into_response()
}
