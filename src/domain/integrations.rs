//! The `integrations` object of an event, which excludes destinations.

use super::profile::Profile;
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

    /// The entry that keeps the event from a mapping of this profile: the destination's name decides, then that of
    /// Segment's definition.
    #[must_use]
    pub fn excluding<'n>(&self, destination: &'n str, profile: Profile) -> Option<&'n str>
    where
        'd: 'n,
    {
        match profile.catalogue_name() {
            Some(name) => self.excluded_by(&[destination, name]),
            None => self.excluded_by(&[destination]),
        }
    }

    /// The entry that keeps the event from what has these names: the first name that has an entry decides, and `All`,
    /// in any case of letters, where none has. None: the event goes there.
    #[must_use]
    fn excluded_by<'n>(&self, names: &[&'n str]) -> Option<&'n str>
    where
        'd: 'n,
    {
        let integrations = self.0?;
        for name in names {
            if let Some(entry) = integrations.get(name).filter(|entry| !entry.is_null()) {
                return (entry.as_bool() == Some(false)).then_some(*name);
            }
        }
        let mut entries = integrations.iter();
        let all = entries.find_map(|(key, entry)| {
            let is_all = key.printed().eq_ignore_ascii_case("all");
            entry.as_bool().filter(|_| is_all).map(|goes| (key.printed(), goes))
        });
        all.and_then(|(key, goes)| (!goes).then_some(key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::parse;

    #[test]
    fn the_first_name_with_an_entry_decides() {
        let by = |integrations: &str| {
            let text = format!("{{\"integrations\":{integrations}}}");
            let document = parse(text.as_bytes()).expect("JSON");
            let by = Integrations::of(&document).excluded_by(&["crm", "Webhooks"]);
            by.map(str::to_owned)
        };
        for (integrations, expected) in [
            (r#"{"Webhooks":false}"#, Some("Webhooks")),
            (r#"{"Webhooks":false,"crm":true}"#, None),
            (r#"{"Webhooks":true,"crm":false}"#, Some("crm")),
            (r#"{"all":false,"Webhooks":true}"#, None),
            (r#"{"all":false}"#, Some("all")),
            (r#"{"All":true}"#, None),
        ] {
            assert_eq!(by(integrations).as_deref(), expected, "{integrations}");
        }
    }

    #[test]
    fn integrations_filter_destinations() {
        let lets = |integrations: &str| {
            let text = format!("{{\"integrations\":{integrations}}}");
            let document = parse(text.as_bytes()).expect("JSON");
            Integrations::of(&document).excluded_by(&["Hook"]).is_none()
        };
        for through in [
            r#"{"all":true}"#,
            r#"{"all":false,"Hook":true}"#,
            r#"{"alle":false}"#,
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
            r#"{"all":false}"#,
            r#"{"ALL":false}"#,
            r#"{"aLl":false,"hook":true}"#,
            r#"{"All":"no","all":false}"#,
        ] {
            assert!(!lets(kept), "{kept}");
        }
    }
}
