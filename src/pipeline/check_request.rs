//! Validation of what a mapping's request may have, when it is saved: revisions that were saved before a
//! rule go on rendering.

use serde_json::Value;

use crate::domain::connection_headers::is_hop_by_hop;
use crate::domain::invisible::first_invisible;
use crate::domain::mapping::MappingDefinition;

/// The errors, each as (field, message).
pub(super) fn request_faults(definition: &MappingDefinition) -> Vec<(String, String)> {
    let hop_by_hop = definition.headers.keys().filter(|name| is_hop_by_hop(name));
    let headers = hop_by_hop.map(|name| (format!("headers.{name}"), HOP_BY_HOP.to_owned()));
    let url = url_text(&definition.url).and_then(invisible_fault);
    headers.chain(url.map(|message| ("url".to_owned(), message))).collect()
}

/// The message for a header that belongs to the connection.
pub(super) const HOP_BY_HOP: &str = "belongs to the connection, not to a request, and is not sent";

/// The message for a URL with an invisible character.
pub(super) fn invisible_fault(url: &str) -> Option<String> {
    let code = u32::from(first_invisible(url)?);
    Some(format!("contains the invisible character U+{code:04X}: remove it, or percent-encode it"))
}

/// The text of a URL, or of its template.
fn url_text(url: &Value) -> Option<&str> {
    url.as_str().or_else(|| url.get("@template")?.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn invisible_characters_are_found_in_urls_and_their_templates() {
        let seen = [json!("https://example.com/a b"), json!({"@path": "$.\u{a0}"}), json!(1)];
        for url in seen {
            assert_eq!(url_text(&url).and_then(invisible_fault), None, "{url}");
        }
        let unseen = [
            json!("https://example.com/\u{a0}"),
            json!({"@template": "https://a.b/{{x}}\u{200b}"}),
        ];
        for (url, code) in unseen.iter().zip(["U+00A0", "U+200B"]) {
            let message = url_text(url).and_then(invisible_fault).expect("a fault");
            assert!(message.contains(code), "{message}");
        }
    }
}
