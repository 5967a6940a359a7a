//! The `integrations` object of an event, which excludes destinations.

use crate::json::{Object, Value};

/// The event's `integrations`, which exclude destinations.
#[derive(Clone, Copy, Debug)]
pub struct Integrations<'d, 'a>(Option<&'d Object<'a>>);

impl<'d, 'a> Integrations<'d, 'a> {
    /// Those of an event's document.
    #[must_use]
    pub fn of(document: &'d Value<'a>) -> Self {
        Self(document.as_object().and_then(|it| it.get("integrations")?.as_object()))
    }

    /// Whether the event goes to a destination. Its own entry takes precedence over `All`.
    #[must_use]
    pub fn allows(&self, destination: &str) -> bool {
        let Some(integrations) = self.0 else { return true };
        let said = integrations.get(destination).filter(|value| !value.is_null());
        !matches!(said.or_else(|| integrations.get("All")), Some(Value::Bool(false)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::parse;

    #[test]
    fn integrations_filter_destinations() {
        let lets = |integrations: &str| {
            let text = format!("{{\"integrations\":{integrations}}}");
            let document = parse(text.as_bytes()).expect("JSON");
            Integrations::of(&document).allows("Hook")
        };
        for through in [
            "{}",
            "null",
            "[]",
            "false",
            r#"{"All":true}"#,
            r#"{"Other":false}"#,
            r#"{"All":false,"Hook":true}"#,
            r#"{"All":false,"Hook":{"x":1}}"#,
            r#"{"All":false,"Hook":{}}"#,
            r#"{"hook":false}"#,
            r#"{"All":"false"}"#,
        ] {
            assert!(lets(through), "{through}");
        }
        for kept in [
            r#"{"All":false}"#,
            r#"{"Hook":false}"#,
            r#"{"All":true,"Hook":false}"#,
            r#"{"All":false,"Other":true}"#,
            r#"{"All":false,"Hook":null}"#,
        ] {
            assert!(!lets(kept), "{kept}");
        }
    }
}
