//! Where a destination's credentials may go: to an origin that an operator wrote down, over https.

use url::{Host, Url};

use super::allowed_host::allows;
use super::destination::DestinationSettings;

/// A URL that must not get the destination's credentials.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OriginRefused {
    /// A value of the event decides on the host.
    #[error(
        "the event decides that {0} gets the destination's credentials: write the host in the \
         mapping's URL, or list it in the destination's allowed_hosts"
    )]
    EventChosen(String),
    /// Credentials in clear.
    #[error(
        "http to {0} would send the destination's credentials in clear: use https, or set \
         allow_http (http needs no setting for this machine and private addresses)"
    )]
    Plain(String),
}

impl DestinationSettings {
    /// Whether a request to this URL may carry credentials. `is_literal`: no value of an event decides
    /// on its origin.
    ///
    /// # Errors
    /// [`OriginRefused`], with the setting that allows it.
    pub fn admits_credentials(&self, url: &Url, is_literal: bool) -> Result<(), OriginRefused> {
        let host = || url.host_str().unwrap_or_default().to_owned();
        if !is_literal && !self.allowed_hosts.iter().any(|allowed| allows(allowed, url)) {
            return Err(OriginRefused::EventChosen(host()));
        }
        if url.scheme() != "https" && !self.allow_http && !is_private_host(url) {
            return Err(OriginRefused::Plain(host()));
        }
        Ok(())
    }
}

/// Whether the host of a URL is this machine or in a private network.
#[must_use]
pub fn is_private_host(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost" || !name.contains('.'),
        Some(Host::Ipv4(ip)) => ip.is_loopback() || ip.is_private(),
        Some(Host::Ipv6(ip)) => ip.is_loopback() || ip.is_unique_local(),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(allowed: &[&str], allow_http: bool) -> DestinationSettings {
        let allowed_hosts = allowed.iter().map(|host| (*host).to_owned()).collect();
        DestinationSettings { allowed_hosts, allow_http, ..DestinationSettings::default() }
    }

    fn url(text: &str) -> Url {
        Url::parse(text).expect("a URL")
    }

    #[test]
    fn an_event_chosen_host_gets_credentials_only_where_it_is_allowed() {
        let allowed = ["API.a.test", "*.b.test", "c.test:8443", "10.0.0.1", "[::1]:9000"];
        let settings = settings(&allowed, false);
        for good in [
            "https://api.a.test/x",
            "https://api.a.test:8443/x",
            "https://x.b.test/",
            "https://x.y.b.test/",
            "https://c.test:8443/",
            "http://10.0.0.1:80/",
            "http://[::1]:9000/",
        ] {
            assert_eq!(settings.admits_credentials(&url(good), false), Ok(()), "{good}");
        }
        for bad in [
            "https://a.test/",
            "https://xapi.a.test/",
            "https://api.a.test.evil.test/",
            "https://b.test/",
            "https://xb.test/",
            "https://c.test/",
            "http://[::1]:9001/",
        ] {
            let refused = settings.admits_credentials(&url(bad), false);
            assert!(matches!(refused, Err(OriginRefused::EventChosen(_))), "{bad}");
            assert_eq!(settings.admits_credentials(&url(bad), true), Ok(()), "{bad}: literal");
        }
    }

    #[test]
    fn credentials_go_over_http_only_to_private_hosts_or_where_it_is_allowed() {
        for near in
            ["http://localhost/t", "http://127.0.0.1:1/t", "http://[::1]/t", "http://idp:8080/t"]
        {
            assert_eq!(settings(&[], false).admits_credentials(&url(near), true), Ok(()), "{near}");
        }
        for far in ["http://id.example.com/t", "http://8.8.8.8/t", "http://[2001:db8::1]/t"] {
            let refused = settings(&[], false).admits_credentials(&url(far), true);
            assert!(matches!(refused, Err(OriginRefused::Plain(_))), "{far}");
            assert_eq!(settings(&[], true).admits_credentials(&url(far), true), Ok(()), "{far}");
        }
    }
}
