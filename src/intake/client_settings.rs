//! The settings that SDKs in browsers and phones fetch before they send: they name this service as where events go.

use axum::response::{IntoResponse, Response};
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HOST, HeaderValue};
use http::{HeaderMap, Uri};
use serde_json::json;
use url::Url;

/// The write key in the path of a project's settings: `/v1/projects/KEY/settings`, or below another prefix of the
/// CDN that the settings are published on.
pub(super) fn write_key(path: &str) -> Option<String> {
    let path = path.strip_suffix('/').unwrap_or(path);
    let rest = path.strip_prefix("/v1/projects/").or_else(|| path.strip_prefix("/projects/"))?;
    let key = rest.strip_suffix("/settings").filter(|key| !key.is_empty() && !key.contains('/'))?;
    let key = percent_encoding::percent_decode_str(key).decode_utf8().ok()?;
    Some(key.into_owned())
}

/// Where senders reach this service: `public_url`, or what the request names.
pub(super) struct Address {
    scheme: String,
    /// Host, port and path.
    host: String,
}

impl Address {
    pub(super) fn of(public_url: Option<&Url>, uri: &Uri, headers: &HeaderMap) -> Self {
        if let Some(url) = public_url {
            let host = url.as_str().trim_start_matches(url.scheme()).trim_start_matches("://");
            let host = host.trim_end_matches('/').to_owned();
            return Self { scheme: url.scheme().to_owned(), host };
        }
        let named = headers.get(HOST).and_then(|host| host.to_str().ok());
        let host = named.or_else(|| uri.authority().map(|it| it.as_str())).unwrap_or_default();
        Self { scheme: "http".to_owned(), host: host.to_owned() }
    }
}

/// The response with a project's settings, in the shape that Segment's SDKs read.
pub(super) fn response(write_key: &str, at: &Address) -> Response {
    let host = format!("{}/v1", at.host);
    let everything = json!({"__default": {"enabled": true, "integrations": {}}});
    let body = json!({
        "integrations": {
            "Segment.io": {
                "apiKey": write_key,
                "apiHost": host,
                "protocol": at.scheme,
                "unbundledIntegrations": [],
                "addBundledMetadata": false,
                "maybeBundledConfigIds": {},
                "versionSettings": {"version": "4.4.7", "componentTypes": ["browser"]},
            },
        },
        "plan": {"track": everything, "identify": everything, "group": everything},
        "edgeFunction": {},
        "analyticsNextEnabled": true,
        "middlewareSettings": {},
        "enabledMiddleware": {},
        // The SDKs' own metrics are not taken.
        "metrics": {"sampleRate": 0, "host": host},
        "legacyVideoPluginsEnabled": false,
        "remotePlugins": [],
    });
    let headers = [
        (CONTENT_TYPE, HeaderValue::from_static("application/json")),
        // The address and the key may change.
        (CACHE_CONTROL, HeaderValue::from_static("no-cache")),
    ];
    (headers, body.to_string()).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_write_key_is_read_from_the_path() {
        for (path, key) in [
            ("/v1/projects/KEY/settings", Some("KEY")),
            ("/v1/projects/KEY/settings/", Some("KEY")),
            ("/projects/a%20b/settings", Some("a b")),
            ("/v1/projects//settings", None),
            ("/v1/projects/KEY", None),
            ("/v1/projects/KEY/x/settings", None),
            ("/v1/track", None),
        ] {
            assert_eq!(write_key(path).as_deref(), key, "{path}");
        }
    }

    #[test]
    fn the_address_is_the_public_one_or_the_one_that_was_asked() {
        let mut headers = HeaderMap::new();
        headers.insert(HOST, HeaderValue::from_static("events.example:8080"));
        let uri = Uri::from_static("/v1/projects/KEY/settings");
        let public = Url::parse("https://hooks.example.com/postrider/").expect("a URL");
        let of = |public: Option<&Url>| {
            let at = Address::of(public, &uri, &headers);
            format!("{} {}", at.scheme, at.host)
        };
        assert_eq!(of(Some(&public)), "https hooks.example.com/postrider");
        assert_eq!(of(None), "http events.example:8080");
    }
}
