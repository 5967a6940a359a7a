//! Entries of a destination's `allowed_hosts`: a host, a host with a port, or `*.` before a domain.

use url::Url;

/// What is wrong with an entry of `allowed_hosts`: `host`, `host:port` or `*.domain`.
#[must_use]
pub fn allowed_host_fault(entry: &str) -> Option<&'static str> {
    let host = entry.strip_prefix("*.").unwrap_or(entry);
    let fits = |char: char| char.is_alphanumeric() || "-._:[]".contains(char);
    let is_plain = !host.is_empty() && host.chars().all(fits);
    // A wildcard for a top-level domain would allow any host.
    let is_wide = entry.starts_with("*.") && !host.trim_end_matches('.').contains('.');
    let has_port = |url: Url| url.port() != Some(0);
    let is_host = is_plain && !is_wide && parsed(host).is_some_and(has_port);
    (!is_host).then_some("should be a host, a host with a port, or *. before a domain")
}

fn parsed(host: &str) -> Option<Url> {
    // A scheme without a default port, so that :443 is kept; its hosts are parsed as those of http.
    Url::parse(&format!("ws://{host}/")).ok().filter(Url::has_host)
}

/// Whether an entry of `allowed_hosts` allows the host of a URL.
#[must_use]
pub fn allows(entry: &str, url: &Url) -> bool {
    let (is_wildcard, host) = match entry.strip_prefix("*.") {
        Some(domain) => (true, domain),
        None => (false, entry),
    };
    let Some(allowed) = parsed(host) else { return false };
    let (Some(allowed_host), Some(host_of_url)) = (allowed.host_str(), url.host_str()) else {
        return false;
    };
    let port = host.rsplit_once(':').and_then(|(_, port)| port.parse::<u16>().ok());
    if port.is_some_and(|port| url.port_or_known_default() != Some(port)) {
        return false;
    }
    if !is_wildcard {
        return host_of_url == allowed_host;
    }
    let below = host_of_url.strip_suffix(allowed_host);
    below.is_some_and(|below| below.len() > 1 && below.ends_with('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_allowed_host_is_a_host_and_not_a_url_or_a_pattern() {
        for good in ["a.test", "a.test:1", "*.a.test", "10.0.0.1", "[::1]:1", "receiver"] {
            assert_eq!(allowed_host_fault(good), None, "{good}");
        }
        for bad in
            ["", "*", "*.", "*.test", "https://a.test", "a.test/x", "a b", "a.*.test", "u@a", "a:0"]
        {
            assert!(allowed_host_fault(bad).is_some(), "{bad}");
        }
    }
}
