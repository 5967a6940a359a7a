//! The address of a database, from the setting `database`. That of a server may have a password, which neither
//! its `Debug` nor [`DatabaseAddress::shown`] has.

use std::path::{Path, PathBuf};

use secrecy::{ExposeSecret as _, SecretString};
use url::Url;

/// A SQLite file or a PostgreSQL database.
#[derive(Clone, Debug)]
pub enum DatabaseAddress {
    /// `sqlite://PATH`.
    File(PathBuf),
    /// `postgres://user:password@host:port/name`.
    Server(SecretString),
}

impl DatabaseAddress {
    /// Parses an address; none when it has neither form.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if let Some(path) = text.strip_prefix("sqlite://").or_else(|| text.strip_prefix("sqlite:"))
        {
            let is_path = !path.is_empty() && !path.contains('?');
            return is_path.then(|| Self::File(PathBuf::from(path)));
        }
        let url = Url::parse(text).ok()?;
        let is_server = matches!(url.scheme(), "postgres" | "postgresql")
            && text.contains("://")
            && url.path().len() > 1;
        is_server.then(|| Self::Server(text.to_owned().into()))
    }

    /// Parses the address of an application's database: a SQLite file may be named by its path alone.
    #[must_use]
    pub fn of_application(text: &str) -> Option<Self> {
        if text.contains("://") || text.starts_with("sqlite:") {
            return Self::parse(text);
        }
        (!text.trim().is_empty()).then(|| Self::File(PathBuf::from(text)))
    }

    /// SQLite's file; none for a server.
    #[must_use]
    pub fn file(&self) -> Option<&Path> {
        match self {
            Self::File(path) => Some(path),
            Self::Server(_) => None,
        }
    }

    /// Without user, password and parameters.
    #[must_use]
    pub fn shown(&self) -> String {
        match self {
            Self::File(path) => format!("sqlite://{}", path.display()),
            Self::Server(address) => {
                let Ok(mut url) = Url::parse(address.expose_secret()) else {
                    return "postgres://".to_owned();
                };
                let has_user = !url.username().is_empty() || url.password().is_some();
                let _ = url.set_password(None);
                let _ = url.set_username(if has_user { "***" } else { "" });
                url.set_query(None);
                url.set_fragment(None);
                url.to_string()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_an_application_is_named_by_its_path_or_its_address() {
        for (text, shown) in [
            ("app.db", Some("sqlite://app.db")),
            ("sqlite://app.db", Some("sqlite://app.db")),
            ("postgres://u:geheim@db.test/app", Some("postgres://***@db.test/app")),
            ("mysql://db.test/app", None),
            ("postgres://db.test", None),
            (" ", None),
        ] {
            let address = DatabaseAddress::of_application(text);
            assert_eq!(address.as_ref().map(DatabaseAddress::shown).as_deref(), shown, "{text}");
        }
    }

    #[test]
    fn addresses_of_both_engines_are_parsed_and_shown_without_secrets() {
        for (text, shown) in [
            ("sqlite://postrider.db", Some("sqlite://postrider.db")),
            ("sqlite:///var/lib/a.db", Some("sqlite:///var/lib/a.db")),
            ("sqlite:a.db", Some("sqlite://a.db")),
            ("postgres://u:geheim@db.test:5433/hooks", Some("postgres://***@db.test:5433/hooks")),
            ("postgresql://db.test/hooks?password=geheim", Some("postgresql://db.test/hooks")),
            ("sqlite://", None),
            ("sqlite://a.db?mode=ro", None),
            ("postgres://db.test", None),
            ("postgres://db.test/", None),
            ("postgres:db", None),
            ("/var/lib/a.db", None),
            ("mysql://db.test/hooks", None),
            ("", None),
        ] {
            let address = DatabaseAddress::parse(text);
            assert_eq!(address.as_ref().map(DatabaseAddress::shown).as_deref(), shown, "{text}");
            assert!(!format!("{address:?}").contains("geheim"), "{address:?}");
        }
    }
}
