//! SSRF protection: which IP addresses and ports may be connected to. Only public unicast addresses are
//! allowed, plus the networks in `allow_networks`; IPv4 addresses encoded in IPv6 are decoded first. Pure:
//! it resolves nothing.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use url::{Host, Url};

use crate::domain::delivery_ports::{DeliveryPorts, PortRefused};

/// Allows public addresses and the configured networks and ports.
#[derive(Clone, Debug, Default)]
pub struct AddressPolicy {
    allow: Vec<IpNet>,
    ports: DeliveryPorts,
}

/// An address that the policy refuses.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{address} is refused: it is {range}; the setting `allow_networks` can allow it")]
pub struct AddressRefused {
    /// The address.
    pub address: IpAddr,
    /// The range that it belongs to.
    pub range: &'static str,
}

/// A URL that the policy refuses.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UrlRefused {
    /// Neither http nor https.
    #[error("the URL's scheme is `{0}`; it should be http or https")]
    Scheme(String),
    /// It has no host.
    #[error("the URL has no host")]
    NoHost,
    /// It has a user name or password, which records and logs would show.
    #[error("the URL contains a user name or password; put credentials into a header instead")]
    Userinfo,
    /// Its host is, or resolves to, a refused address.
    #[error(transparent)]
    Address(#[from] AddressRefused),
    /// Its port is refused.
    #[error(transparent)]
    Port(#[from] PortRefused),
}

impl AddressPolicy {
    /// Allows these networks in addition to all public addresses.
    #[must_use]
    pub fn new(allow: Vec<IpNet>) -> Self {
        Self { allow, ports: DeliveryPorts::default() }
    }

    /// Allows these ports instead of the default ones.
    #[must_use]
    pub fn with_ports(self, ports: DeliveryPorts) -> Self {
        Self { ports, ..self }
    }

    /// Checks one address. An IPv6 address that embeds an IPv4 address is checked as that IPv4 address.
    ///
    /// # Errors
    /// The address is refused.
    pub fn check(&self, address: IpAddr) -> Result<(), AddressRefused> {
        if self.allows(address) {
            return Ok(());
        }
        let range = match address {
            IpAddr::V4(v4) => refused_v4(v4),
            IpAddr::V6(v6) => self.refused_v6(v6),
        };
        range.map_or(Ok(()), |range| Err(AddressRefused { address, range }))
    }

    /// Checks a URL without resolving its host: scheme, user info, port, and an address literal in any
    /// notation. A name passes here; its addresses are checked at every connect.
    ///
    /// # Errors
    /// The URL is refused.
    pub fn check_url_host(&self, url: &Url) -> Result<(), UrlRefused> {
        if !matches!(url.scheme(), "http" | "https") {
            return Err(UrlRefused::Scheme(url.scheme().to_owned()));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(UrlRefused::Userinfo);
        }
        self.ports.check(url.port_or_known_default().unwrap_or_default())?;
        match url.host().ok_or(UrlRefused::NoHost)? {
            Host::Domain("") => Err(UrlRefused::NoHost),
            Host::Domain(_) => Ok(()),
            Host::Ipv4(v4) => Ok(self.check(IpAddr::V4(v4))?),
            Host::Ipv6(v6) => Ok(self.check(IpAddr::V6(v6))?),
        }
    }

    fn allows(&self, address: IpAddr) -> bool {
        self.allow.iter().any(|network| network.contains(&address))
    }

    fn refused_v6(&self, address: Ipv6Addr) -> Option<&'static str> {
        if let Some(v4) = embedded_v4(address) {
            return if self.allows(IpAddr::V4(v4)) { None } else { refused_v4(v4) };
        }
        if let Some(range) = named(&V6_REFUSED, |network| network.contains(&address)) {
            return Some(range);
        }
        if !V6_GLOBAL_UNICAST.contains(&address) {
            return Some("reserved");
        }
        let v4 = isatap_v4(address)?;
        if self.allows(IpAddr::V4(v4)) { None } else { refused_v4(v4) }
    }
}

fn refused_v4(address: Ipv4Addr) -> Option<&'static str> {
    named(&V4_REFUSED, |network| network.contains(&address))
}

fn named<N>(table: &[(N, &'static str)], contains: impl Fn(&N) -> bool) -> Option<&'static str> {
    table.iter().find(|(network, _)| contains(network)).map(|(_, range)| *range)
}

/// The IPv4 address that an IPv6 address is routed to: IPv4-mapped (RFC 4291) and the well-known NAT64
/// prefix (RFC 6052), which IPv6-only networks use for every IPv4 host.
fn embedded_v4(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let nat64 = || NAT64.contains(&address).then(|| low_v4(address));
    address.to_ipv4_mapped().or_else(nat64)
}

/// The IPv4 address in an ISATAP interface identifier (RFC 5214), under any prefix.
fn isatap_v4(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let [_, _, _, _, scope, tag, _, _] = address.segments();
    ((scope & !0x0200) == 0 && tag == 0x5efe).then(|| low_v4(address))
}

fn low_v4(address: Ipv6Addr) -> Ipv4Addr {
    let [.., a, b, c, d] = address.octets();
    Ipv4Addr::new(a, b, c, d)
}

const fn v4(a: u8, b: u8, c: u8, d: u8, prefix: u8) -> Ipv4Net {
    Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), prefix)
}

const fn v6(head: [u16; 4], tail: [u16; 4], prefix: u8) -> Ipv6Net {
    let [a, b, c, d] = head;
    let [e, f, g, h] = tail;
    Ipv6Net::new_assert(Ipv6Addr::new(a, b, c, d, e, f, g, h), prefix)
}

/// IANA's IPv4 special-purpose registry (RFC 6890 and later), multicast, and the one metadata
/// service on a public address; the first match names the range.
const V4_REFUSED: [(Ipv4Net, &str); 18] = [
    (v4(127, 0, 0, 0, 8), "a loopback address"),
    (v4(10, 0, 0, 0, 8), "a private address"),
    (v4(172, 16, 0, 0, 12), "a private address"),
    (v4(192, 168, 0, 0, 16), "a private address"),
    (v4(169, 254, 169, 254, 32), "a cloud metadata service"),
    (v4(169, 254, 0, 0, 16), "a link-local address"),
    (v4(168, 63, 129, 16, 32), "a cloud metadata service"),
    (v4(100, 64, 0, 0, 10), "a shared (carrier NAT) address"),
    (v4(0, 0, 0, 0, 8), "this host's own network"),
    (v4(192, 0, 0, 0, 24), "reserved for protocols"),
    (v4(192, 0, 2, 0, 24), "for documentation only"),
    (v4(198, 51, 100, 0, 24), "for documentation only"),
    (v4(203, 0, 113, 0, 24), "for documentation only"),
    (v4(192, 88, 99, 0, 24), "a 6to4 relay"),
    (v4(198, 18, 0, 0, 15), "for benchmarks only"),
    (v4(224, 0, 0, 0, 4), "a multicast address"),
    (v4(255, 255, 255, 255, 32), "the broadcast address"),
    (v4(240, 0, 0, 0, 4), "reserved"),
];

const NAT64: Ipv6Net = v6([0x64, 0xff9b, 0, 0], [0; 4], 96);
const V6_GLOBAL_UNICAST: Ipv6Net = v6([0x2000, 0, 0, 0], [0; 4], 3);

/// IANA's IPv6 special-purpose registry, within global unicast and, for their names, outside it.
/// 6to4 and Teredo are refused entirely: their traffic ends at an embedded address.
const V6_REFUSED: [(Ipv6Net, &str); 14] = [
    (v6([0; 4], [0, 0, 0, 1], 128), "a loopback address"),
    (v6([0; 4], [0; 4], 128), "the unspecified address"),
    (v6([0; 4], [0; 4], 96), "an IPv4-compatible address"),
    (v6([0; 4], [0xffff, 0, 0, 0], 96), "an IPv4-translated address"),
    (v6([0x64, 0xff9b, 1, 0], [0; 4], 48), "a private NAT64 address"),
    (v6([0x100, 0, 0, 0], [0; 4], 64), "a discard address"),
    (v6([0x2001, 0, 0, 0], [0; 4], 32), "a Teredo address"),
    (v6([0x2001, 0, 0, 0], [0; 4], 23), "reserved for protocols"),
    (v6([0x2001, 0xdb8, 0, 0], [0; 4], 32), "for documentation only"),
    (v6([0x3fff, 0, 0, 0], [0; 4], 20), "for documentation only"),
    (v6([0x2002, 0, 0, 0], [0; 4], 16), "a 6to4 address"),
    (v6([0xfc00, 0, 0, 0], [0; 4], 7), "a private (unique local) address"),
    (v6([0xfe80, 0, 0, 0], [0; 4], 10), "a link-local address"),
    (v6([0xff00, 0, 0, 0], [0; 4], 8), "a multicast address"),
];
