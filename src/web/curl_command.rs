//! A request as a curl command, quoted for a POSIX shell.

use std::fmt::Write as _;

/// Headers that curl sets itself, and hop-by-hop headers.
const OMITTED_HEADERS: [&str; 3] = ["content-length", "host", "connection"];

/// The command for a request; `headers` has one `name: value` per line, secrets masked.
pub(super) fn command(method: &str, url: &str, headers: &str, body: &str) -> String {
    let mut text = format!("curl -X {} {}", quoted(method), quoted(url));
    for header in headers.lines().filter(|header| !header.trim().is_empty()) {
        let name = header.split(':').next().unwrap_or_default().trim().to_ascii_lowercase();
        if !OMITTED_HEADERS.contains(&name.as_str()) {
            // Writing to a String does not fail.
            let _ = write!(text, " \\\n  -H {}", quoted(header));
        }
    }
    if !body.is_empty() {
        let _ = write!(text, " \\\n  --data-raw {}", quoted(body));
    }
    text
}

/// Quotes an argument; only a single quote needs escaping inside single quotes.
fn quoted(text: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-._/:=".contains(c);
    if !text.is_empty() && !text.starts_with('-') && text.chars().all(is_plain) {
        return text.to_owned();
    }
    let text = text.replace('\'', r"'\''");
    format!("'{text}'")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shell_expands_nothing_in_a_request() {
        let headers = "content-type: application/json\nX-A: $(id) `id`\nhost: a\n";
        assert_eq!(
            command("POST", "https://a.example/x?a=1&b='; id", headers, "{\"a\":\"it's\"}"),
            "curl -X POST 'https://a.example/x?a=1&b='\\''; id' \\\n  \
             -H 'content-type: application/json' \\\n  -H 'X-A: $(id) `id`' \\\n  \
             --data-raw '{\"a\":\"it'\\''s\"}'"
        );
    }
}
