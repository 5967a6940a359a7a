//! The ports that deliveries may go to: those of the setting `delivery_ports`, or all but those of well-known
//! mail, shell and database services, which take the text of a webhook for commands.

use std::fmt;
use std::ops::RangeInclusive;

/// Allows some ports.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeliveryPorts {
    /// Empty: all but [`REFUSED`].
    listed: Vec<RangeInclusive<u16>>,
}

/// A port that deliveries may not go to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PortRefused {
    /// Nothing can be connected to.
    #[error("port 0 is refused: nothing can listen on it")]
    Zero,
    /// A well-known service that is no receiver of webhooks.
    #[error("port {port} is refused: it is {service}'s; the setting `delivery_ports` can allow it")]
    Service {
        /// The port.
        port: u16,
        /// The service.
        service: &'static str,
    },
    /// Not listed.
    #[error("port {0} is refused: the setting `delivery_ports` does not list it")]
    NotListed(u16),
}

/// Ports that are refused unless they are listed.
const REFUSED: [(u16, &str); 28] = [
    (22, "SSH"),
    (23, "Telnet"),
    (25, "SMTP"),
    (110, "POP3"),
    (143, "IMAP"),
    (465, "SMTP"),
    (512, "rexec"),
    (513, "rlogin"),
    (514, "rsh"),
    (587, "SMTP"),
    (993, "IMAP"),
    (995, "POP3"),
    (1433, "SQL Server"),
    (1521, "Oracle Database"),
    (2379, "etcd"),
    (3306, "MySQL"),
    (3389, "Remote Desktop"),
    (5432, "PostgreSQL"),
    (5900, "VNC"),
    (6379, "Redis"),
    (9042, "Cassandra"),
    (9200, "Elasticsearch"),
    (9300, "Elasticsearch"),
    (11211, "memcached"),
    (26379, "Redis"),
    (27017, "MongoDB"),
    (27018, "MongoDB"),
    (27019, "MongoDB"),
];

impl DeliveryPorts {
    /// Reads a list of ports and ranges such as `443` and `8000-8999`; an empty list is the default.
    #[must_use]
    pub fn parse<'t>(texts: impl IntoIterator<Item = &'t str>) -> Option<Self> {
        let listed: Option<Vec<_>> = texts.into_iter().map(range).collect();
        Some(Self { listed: listed? })
    }

    /// Checks a port.
    ///
    /// # Errors
    /// Deliveries may not go to it.
    pub fn check(&self, port: u16) -> Result<(), PortRefused> {
        if port == 0 {
            return Err(PortRefused::Zero);
        }
        if !self.listed.is_empty() {
            let is_listed = self.listed.iter().any(|range| range.contains(&port));
            return if is_listed { Ok(()) } else { Err(PortRefused::NotListed(port)) };
        }
        match REFUSED.iter().find(|(refused, _)| *refused == port) {
            Some((_, service)) => Err(PortRefused::Service { port, service }),
            None => Ok(()),
        }
    }

    /// The listed ports, as they are parsed.
    pub fn texts(&self) -> impl Iterator<Item = String> {
        self.listed.iter().map(|range| {
            let (first, last) = (range.start(), range.end());
            if first == last { first.to_string() } else { format!("{first}-{last}") }
        })
    }
}

impl fmt::Display for DeliveryPorts {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.texts().collect::<Vec<_>>().join(","))
    }
}

fn range(text: &str) -> Option<RangeInclusive<u16>> {
    let port = |text: &str| text.trim().parse::<u16>().ok().filter(|port| *port > 0);
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let range = port(first)?..=port(last)?;
    (!range.is_empty()).then_some(range)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(texts: &[&str]) -> DeliveryPorts {
        DeliveryPorts::parse(texts.iter().copied()).expect("ports")
    }

    #[test]
    fn by_default_all_ports_but_those_of_mail_shells_and_databases_are_allowed() {
        let ports = DeliveryPorts::default();
        for port in [1, 80, 443, 3000, 5000, 8000, 8080, 8443, 9000, 32_768, 65_535] {
            assert_eq!(ports.check(port), Ok(()), "{port}");
        }
        for port in [22, 23, 25, 465, 587, 143, 993, 110, 995, 3306, 5432, 6379, 11_211, 27_017] {
            assert!(matches!(ports.check(port), Err(PortRefused::Service { .. })), "{port}");
        }
        assert_eq!(
            ports.check(25).expect_err("SMTP").to_string(),
            "port 25 is refused: it is SMTP's; the setting `delivery_ports` can allow it"
        );
        // A port of the ephemeral range could be any service's.
        assert!(REFUSED.iter().all(|(port, _)| (1..32_768).contains(port)));
    }

    #[test]
    fn a_list_allows_what_it_lists_and_nothing_else() {
        let ports = listed(&["443", "25", "8000-8002"]);
        for port in [443, 25, 8_000, 8_002] {
            assert_eq!(ports.check(port), Ok(()), "{port}");
        }
        for port in [80, 26, 7_999, 8_003] {
            assert_eq!(ports.check(port), Err(PortRefused::NotListed(port)));
        }
        assert_eq!(listed(&["1-65535"]).check(22), Ok(()));
        for ports in [ports, listed(&["1-65535"]), DeliveryPorts::default()] {
            assert_eq!(ports.check(0), Err(PortRefused::Zero));
        }
    }

    #[test]
    fn a_list_is_printed_as_it_is_parsed() {
        assert_eq!(listed(&[" 443 ", "8000 - 8002"]).to_string(), "443,8000-8002");
        assert_eq!(DeliveryPorts::default().to_string(), "");
        for text in ["", "0", "65536", "-1", "1-", "9-1", "0-5", "http", "1-2-3"] {
            assert_eq!(DeliveryPorts::parse([text]), None, "{text}");
        }
    }
}
