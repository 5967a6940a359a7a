//! Checks the `Host` of operators' requests, against DNS rebinding: a site whose name resolves to this
//! service must not read it through its visitors' browsers. Tracking calls come under any name.

use std::net::IpAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{StatusCode, Uri, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse as _, Response};

use crate::auth::Peer;
use crate::settings::Settings;
use crate::telemetry::refusals::{ConnectionRefusal, Refusals};

/// Paths for machines and receivers that are reached under any name, and tell nothing.
const ANY_HOST: [&str; 2] = ["/healthz", "/readyz"];
const ANY_HOST_BELOW: &str = "/inspect/";

/// The names that requests may come under.
#[derive(Debug)]
struct Hosts(Vec<String>);

impl Hosts {
    fn of(settings: &Settings) -> Self {
        let public = settings.public_url.as_deref().and_then(|url| url::Url::parse(url).ok());
        let public = public.and_then(|url| url.host_str().map(str::to_ascii_lowercase));
        Self(public.into_iter().chain(settings.trusted_hosts.iter().cloned()).collect())
    }

    /// Whether a host, with or without a port, is one of them. An address or a name without a dot
    /// cannot be another site's.
    fn admits(&self, host: &str) -> bool {
        let Some(name) = name_of(host) else { return false };
        let is_address = name.trim_matches(['[', ']']).parse::<IpAddr>().is_ok();
        let is_local = name.ends_with(".localhost") || !name.contains('.');
        is_address || is_local || self.0.contains(&name)
    }
}

/// The name in `name:port`, in lower case and without a final dot.
fn name_of(host: &str) -> Option<String> {
    let host = host.trim();
    let end = match host.rfind(']') {
        Some(bracket) => bracket + 1,
        None => host.find(':').unwrap_or(host.len()),
    };
    let (name, port) = host.split_at(end);
    let port = port.strip_prefix(':').unwrap_or(port);
    let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
    (!name.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit())).then_some(name)
}

/// Answers requests under other names with 421.
pub(super) fn checked(router: Router, settings: &Settings, refusals: Refusals) -> Router {
    let state = (Arc::new(Hosts::of(settings)), refusals);
    router.layer(middleware::from_fn_with_state(state, check))
}

async fn check(
    State((hosts, refusals)): State<(Arc<Hosts>, Refusals)>,
    request: Request,
    next: Next,
) -> Response {
    let path = request.uri().path();
    let is_open = ANY_HOST.contains(&path) || path.starts_with(ANY_HOST_BELOW);
    let named = request.headers().get_all(header::HOST).into_iter();
    // A request without a Host is no browser's.
    let is_admitted =
        named.map(|host| host.to_str()).all(|host| host.is_ok_and(|it| hosts.admits(it)))
            && authority(request.uri()).is_none_or(|host| hosts.admits(host));
    if is_open || is_admitted {
        return next.run(request).await;
    }
    let from = request.extensions().get::<Peer>().map(|Peer(address)| *address);
    let host = request.headers().get(header::HOST).map(|host| host.as_bytes());
    let host = String::from_utf8_lossy(host.unwrap_or_default()).into_owned();
    refusals.connection(ConnectionRefusal::Host, from, &host);
    let text = "this service does not answer under this host name: use the one of public_url, or \
                add it to the setting trusted_hosts\n";
    (StatusCode::MISDIRECTED_REQUEST, [(header::CACHE_CONTROL, "no-store")], text).into_response()
}

/// The host of an absolute request target, which counts instead of `Host` (RFC 9112, 3.2.2).
fn authority(uri: &Uri) -> Option<&str> {
    uri.authority().map(|authority| authority.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_ours_a_trusted_name_an_address_or_a_local_name() {
        let settings = Settings {
            public_url: Some("https://Hooks.example.com/base".to_owned()),
            trusted_hosts: vec!["postrider.default.svc".to_owned()],
            ..Settings::default()
        };
        let hosts = Hosts::of(&settings);
        for good in [
            "localhost",
            "LOCALHOST:8080",
            "app.localhost:1",
            "127.0.0.1:8080",
            "[::1]:8080",
            "[::1]",
            "10.1.2.3",
            "postrider:8080",
            "hooks.example.com",
            "hooks.example.com:443",
            "HOOKS.example.com.",
            "postrider.default.svc:8080",
        ] {
            assert!(hosts.admits(good), "{good}");
        }
        for bad in [
            "",
            "rebind.attacker.test",
            "hooks.example.com.attacker.test",
            "localhost.attacker.test:8080",
            "127.0.0.1.attacker.test",
            "127.0.0.1:x",
            "attacker.test:80@127.0.0.1",
            "[::1].attacker.test",
        ] {
            assert!(!hosts.admits(bad), "{bad}");
        }
    }
}
