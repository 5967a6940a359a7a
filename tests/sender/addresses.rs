//! SSRF protection: every refused range by its edges, every encoding of a refused address, and names that
//! resolve to one.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use postrider::domain::attempt::Outcome;
use postrider::domain::delivery_ports::DeliveryPorts;
use postrider::sender::{AddressPolicy, ResolveError, Sender, SenderOptions, UrlRefused};
use proptest::prelude::*;

use super::{message, options, post, sender_with};
use crate::support::receiver::{Behaviour, Receiver};
use crate::support::resolver::{Answer, TableResolver};

/// Refused IPv4 networks, each as its first and last address.
const REFUSED_V4: [(&str, &str); 15] = [
    ("0.0.0.0", "0.255.255.255"),
    ("10.0.0.0", "10.255.255.255"),
    ("100.64.0.0", "100.127.255.255"),
    ("127.0.0.0", "127.255.255.255"),
    ("168.63.129.16", "168.63.129.16"),
    ("169.254.0.0", "169.254.255.255"),
    ("172.16.0.0", "172.31.255.255"),
    ("192.0.0.0", "192.0.0.255"),
    ("192.0.2.0", "192.0.2.255"),
    ("192.88.99.0", "192.88.99.255"),
    ("192.168.0.0", "192.168.255.255"),
    ("198.18.0.0", "198.19.255.255"),
    ("198.51.100.0", "198.51.100.255"),
    ("203.0.113.0", "203.0.113.255"),
    ("224.0.0.0", "255.255.255.255"),
];

/// Refused IPv6 networks, each as its first and last address.
const REFUSED_V6: [(&str, &str); 14] = [
    ("::", "::fffe:ffff:ffff"),
    ("::ffff:0:0:0", "64:ff9a:ffff:ffff:ffff:ffff:ffff:ffff"),
    ("64:ff9b:1::", "64:ff9b:1:ffff:ffff:ffff:ffff:ffff"),
    ("100::", "100::ffff:ffff:ffff:ffff"),
    ("2001::", "2001:1ff:ffff:ffff:ffff:ffff:ffff:ffff"),
    ("2001:db8::", "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff"),
    ("2002::", "2002:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
    ("3fff::", "3fff:fff:ffff:ffff:ffff:ffff:ffff:ffff"),
    ("4000::", "fbff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
    ("5f00::", "5f00:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
    ("fc00::", "fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
    ("fe80::", "febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
    ("fec0::", "feff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
    ("ff00::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
];

/// Public addresses, most of them next to a refused network.
const PUBLIC: [&str; 34] = [
    "1.0.0.0",
    "1.1.1.1",
    "9.255.255.255",
    "11.0.0.0",
    "100.63.255.255",
    "100.128.0.0",
    "126.255.255.255",
    "128.0.0.0",
    "168.63.129.15",
    "168.63.129.17",
    "169.253.255.255",
    "169.255.0.0",
    "172.15.255.255",
    "172.32.0.0",
    "191.255.255.255",
    "192.0.1.0",
    "192.0.3.0",
    "192.88.98.255",
    "192.88.100.0",
    "192.167.255.255",
    "192.169.0.0",
    "198.17.255.255",
    "198.20.0.0",
    "198.51.99.255",
    "203.0.114.0",
    "223.255.255.255",
    "2000::1",
    "2001:200::",
    "2001:db7:ffff:ffff:ffff:ffff:ffff:ffff",
    "2001:db9::",
    "2003::",
    "2606:4700:4700::1111",
    "3ffe:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
    "64:ff9b::1.1.1.1",
];

fn check(policy: &AddressPolicy, address: &str) -> bool {
    policy.check(address.parse().unwrap()).is_ok()
}

#[test]
fn every_refused_range_is_refused_from_edge_to_edge() {
    let policy = AddressPolicy::default();
    for (first, last) in REFUSED_V4.iter().chain(&REFUSED_V6) {
        assert!(!check(&policy, first), "{first}");
        assert!(!check(&policy, last), "{last}");
    }
}

#[test]
fn public_addresses_are_allowed() {
    let policy = AddressPolicy::default();
    for address in PUBLIC {
        assert!(check(&policy, address), "{address}");
    }
}

#[test]
fn the_error_names_address_and_range() {
    let refused = AddressPolicy::default().check("169.254.169.254".parse().unwrap()).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "169.254.169.254 is refused: it is a cloud metadata service; \
         the setting `allow_networks` can allow it"
    );
}

#[test]
fn every_notation_of_a_refused_literal_is_refused() {
    let policy = AddressPolicy::default();
    let hosts = [
        "127.0.0.1",
        "127.0.0.1.",
        "127.1",
        "127.0.1",
        "2130706433",
        "0x7f000001",
        "0x7f.1",
        "017700000001",
        "0177.0.0.1",
        "0X7F.0x0.0x0.0x1",
        "1２7.0.0.1",
        "127。0。0。1",
        "%31%32%37.0.0.1",
        "0",
        "0x0",
        "10.1",
        "0xa9fea9fe",
        "[::1]",
        "[0:0:0:0:0:0:0:1]",
        "[::]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[0:0:0:0:0:ffff:a9fe:a9fe]",
        "[::127.0.0.1]",
        "[::ffff:0:127.0.0.1]",
        "[64:ff9b::10.0.0.1]",
        "[64:ff9b:1::1.1.1.1]",
        "[2002:7f00:1::]",
        "[2001:0:4136:e378:8000:63bf:3fff:fdd2]",
        "[fe80::1]",
        "[fd00:ec2::254]",
        "[2606:4700::5efe:10.0.0.1]",
        "[2606:4700::200:5efe:10.0.0.1]",
    ];
    for host in hosts {
        for scheme in ["http", "https"] {
            let url = format!("{scheme}://{host}/").parse().unwrap();
            let refused = policy.check_url_host(&url).unwrap_err();
            assert!(matches!(refused, UrlRefused::Address(_)), "{url}: {refused}");
        }
    }
}

#[test]
fn names_and_public_literals_are_allowed() {
    let policy = AddressPolicy::default();
    for host in ["example.com", "example.com.", "1.1.1.1", "[2606:4700::1]", "127.0.0.1.example"] {
        let url = format!("https://{host}:8443/path").parse().unwrap();
        assert_eq!(policy.check_url_host(&url), Ok(()), "{host}");
    }
}

#[test]
fn other_schemes_and_user_info_are_refused() {
    let policy = AddressPolicy::default();
    for url in ["ftp://example.com/", "file:///etc/passwd", "data:text/plain,x", "ws://example.com"]
    {
        let refused = policy.check_url_host(&url.parse().unwrap()).unwrap_err();
        assert!(matches!(refused, UrlRefused::Scheme(_)), "{url}: {refused}");
    }
    for url in ["http://me@example.com/", "http://me:hunter2@example.com/", "http://:x@example.com"]
    {
        let refused = policy.check_url_host(&url.parse().unwrap()).unwrap_err();
        assert_eq!(refused, UrlRefused::Userinfo, "{url}");
        assert!(!refused.to_string().contains("hunter2"));
    }
}

#[test]
fn allowed_networks_are_allowed_in_every_encoding_and_nothing_else() {
    let allow: Vec<IpNet> = vec!["10.1.0.0/16".parse().unwrap(), "fd00:1::/32".parse().unwrap()];
    let policy = AddressPolicy::new(allow);
    for address in ["10.1.2.3", "::ffff:10.1.2.3", "64:ff9b::10.1.2.3", "fd00:1::9"] {
        assert!(check(&policy, address), "{address}");
    }
    for address in ["10.2.0.1", "::ffff:10.2.0.1", "64:ff9b::10.2.0.1", "fd00:2::9", "127.0.0.1"] {
        assert!(!check(&policy, address), "{address}");
    }
}

/// An address of a refused IPv4 network.
fn refused_v4() -> impl Strategy<Value = Ipv4Addr> {
    let networks: Vec<(u32, u32)> = REFUSED_V4
        .iter()
        .map(|(first, last)| {
            let bits = |text: &str| text.parse::<Ipv4Addr>().unwrap().to_bits();
            (bits(first), bits(last))
        })
        .collect();
    prop::sample::select(networks)
        .prop_flat_map(|(first, last)| first..=last)
        .prop_map(Ipv4Addr::from_bits)
}

proptest! {
    #[test]
    fn a_refused_ipv4_address_is_refused_in_every_ipv6_encoding(v4 in refused_v4(), prefix: u64) {
        let policy = AddressPolicy::default();
        let low = u128::from(v4.to_bits());
        let nat64 = 0x0064_ff9b_u128 << 96;
        // Any prefix within global unicast.
        let global = u128::from((prefix >> 3) | (1 << 61)) << 64;
        let encodings = [
            low,
            low | (0xffff << 32),
            low | (0xffff << 48),
            low | nat64,
            (0x2002_u128 << 112) | (low << 80),
            (0x2001_u128 << 112) | (!low & 0xffff_ffff),
            global | (0x5efe << 32) | low,
            global | (0x0200_5efe << 32) | low,
        ];
        prop_assert!(policy.check(IpAddr::V4(v4)).is_err());
        for encoding in encodings {
            let address = Ipv6Addr::from_bits(encoding);
            prop_assert!(policy.check(IpAddr::V6(address)).is_err(), "{address}");
            let url = format!("http://[{address}]/").parse().unwrap();
            prop_assert!(policy.check_url_host(&url).is_err(), "{url}");
        }
        for host in [v4.to_bits().to_string(), format!("{:#x}", v4.to_bits()), format!("{v4}.")] {
            let url = format!("http://{host}/").parse().unwrap();
            prop_assert!(policy.check_url_host(&url).is_err(), "{url}");
        }
    }
}

#[tokio::test]
async fn address_literals_are_checked_at_every_send() {
    let receiver = Receiver::start(Behaviour::ok()).await;
    let sender = Sender::new(options(
        AddressPolicy::default(),
        &TableResolver::on_loopback(&[]),
        Vec::new(),
    ))
    .unwrap();
    for host in ["127.0.0.1", "[::ffff:127.0.0.1]", "2130706433"] {
        let exchange = sender.send(post(&receiver.url_at(host, "/"))).await;
        assert_eq!((exchange.outcome, exchange.status), (Outcome::Address, None));
        assert!(message(&exchange).contains("a loopback address"), "{exchange:?}");
    }
    assert_eq!(receiver.connections(), 0);
}

#[tokio::test]
async fn bad_schemes_and_user_info_have_outcome_render_and_send_nothing() {
    let receiver = Receiver::start(Behaviour::ok()).await;
    let sender = sender_with(&TableResolver::on_loopback(&[]), Vec::new());
    for url in ["ftp://127.0.0.1/".to_owned(), receiver.url_at("me:hunter2@127.0.0.1", "/")] {
        let exchange = sender.send(post(&url)).await;
        assert_eq!(exchange.outcome, Outcome::Render);
        assert!(!message(&exchange).contains("hunter2"), "{exchange:?}");
    }
    assert_eq!(receiver.connections(), 0);
}

#[tokio::test]
async fn one_refused_address_among_several_refuses_the_name() {
    let receiver = Receiver::start(Behaviour::ok()).await;
    let names = TableResolver::on_loopback(&[]);
    let sender = sender_with(&names, Vec::new());
    let answers: [&[&str]; 4] = [
        &["10.0.0.1"],
        &["127.0.0.1", "10.0.0.1"],
        &["10.0.0.1", "127.0.0.1"],
        &["127.0.0.1", "::ffff:10.0.0.1"],
    ];
    for addresses in answers {
        names.set("mixed.test", vec![Answer::addresses(addresses)]);
        let exchange = sender.send(post(&receiver.url_at("mixed.test", "/"))).await;
        assert_eq!(exchange.outcome, Outcome::Address, "{addresses:?}: {exchange:?}");
        assert!(message(&exchange).contains("`mixed.test`"), "{exchange:?}");
    }
    assert_eq!(receiver.connections(), 0);
}

#[tokio::test]
async fn dns_rebinding_is_refused_at_connect() {
    let receiver = Receiver::start(Behaviour::ok().header("Connection", "close")).await;
    let names = TableResolver::on_loopback(&[]);
    let (good, bad) = (Answer::addresses(&["127.0.0.1"]), Answer::addresses(&["169.254.169.254"]));
    names.set("rebinding.test", vec![good.clone(), good.clone(), bad, good]);
    let sender = sender_with(&names, Vec::new());
    let url = receiver.url_at("rebinding.test", "/");
    assert!(sender.check_destination(&url.parse().unwrap()).await.is_ok());
    let expected = [Outcome::Delivered, Outcome::Address, Outcome::Delivered];
    for outcome in expected {
        assert_eq!(sender.send(post(&url)).await.outcome, outcome);
    }
    assert_eq!(receiver.requests().len(), 2);
    assert_eq!(names.lookups().len(), 4);
}

#[tokio::test]
async fn a_name_is_reached_at_any_address_that_accepts() {
    let receiver = Receiver::start(Behaviour::ok()).await;
    let names = TableResolver::on_loopback(&[]);
    names.set("many.test", vec![Answer::addresses(&["127.0.0.2", "127.0.0.3", "127.0.0.1"])]);
    let sender = sender_with(&names, Vec::new());
    let exchange = sender.send(post(&receiver.url_at("many.test", "/"))).await;
    assert_eq!(exchange.outcome, Outcome::Delivered);
}

#[tokio::test]
async fn address_literals_are_not_resolved() {
    let receiver = Receiver::start(Behaviour::ok()).await;
    let names = TableResolver::on_loopback(&[]);
    let sender = sender_with(&names, Vec::new());
    assert_eq!(sender.send(post(&receiver.url("/"))).await.outcome, Outcome::Delivered);
    assert!(names.lookups().is_empty());
}

#[tokio::test]
async fn a_destination_is_checked_when_it_is_saved() {
    let names = TableResolver::on_loopback(&["here.test"]);
    names.set("inside.test", vec![Answer::addresses(&["192.168.1.1"])]);
    names.set("public.test", vec![Answer::addresses(&["1.1.1.1", "2606:4700::1"])]);
    let sender = Sender::new(options(AddressPolicy::default(), &names, Vec::new())).unwrap();
    let check = async |url: &str| sender.check_destination(&url.parse().unwrap()).await;

    assert!(matches!(check("https://public.test/").await, Ok(None)));
    assert!(matches!(check("https://1.1.1.1/").await, Ok(None)));
    assert!(matches!(check("https://unknown.test/").await, Ok(Some(ResolveError::NoSuchName(_)))));
    for url in ["http://here.test/", "http://inside.test/", "http://127.1/", "http://[::1]/"] {
        assert!(matches!(check(url).await, Err(UrlRefused::Address(_))), "{url}");
    }
    assert!(matches!(check("gopher://public.test/").await, Err(UrlRefused::Scheme(_))));
    assert!(matches!(check("http://a:b@public.test/").await, Err(UrlRefused::Userinfo)));
}

#[tokio::test]
async fn the_system_resolver_resolves_localhost_and_is_checked() {
    let receiver = Receiver::start(Behaviour::ok()).await;
    let url = receiver.url_at("localhost", "/");
    let by_system = |allow: &[&str]| {
        let allow = allow.iter().map(|network| network.parse().unwrap()).collect();
        let names = TableResolver::on_loopback(&[]);
        let options = options(AddressPolicy::new(allow), &names, Vec::new());
        Sender::new(SenderOptions { resolver: None, ..options }).unwrap()
    };
    let allowed = by_system(&["127.0.0.0/8", "::1/128"]);
    let exchange = allowed.send(post(&url)).await;
    assert_eq!(exchange.outcome, Outcome::Delivered, "{exchange:?}");
    let exchange = by_system(&[]).send(post(&url)).await;
    assert_eq!(exchange.outcome, Outcome::Address, "{exchange:?}");
    assert_eq!(receiver.requests().len(), 1);
}

#[tokio::test]
async fn the_system_resolver_resolves_names_with_underscores() {
    let receiver = Receiver::start(Behaviour::ok()).await;
    let loopback = vec!["127.0.0.0/8".parse().unwrap(), "::1/128".parse().unwrap()];
    let names = TableResolver::on_loopback(&[]);
    let options = options(AddressPolicy::new(loopback), &names, Vec::new());
    let sender = Sender::new(SenderOptions { resolver: None, ..options }).unwrap();
    for host in ["my_service.localhost", "_my.service_.localhost", "__.localhost"] {
        let exchange = sender.send(post(&receiver.url_at(host, "/"))).await;
        assert_eq!(exchange.outcome, Outcome::Delivered, "{host}: {exchange:?}");
    }
}

#[tokio::test]
async fn deliveries_go_to_allowed_ports_only() {
    let receiver = Receiver::start(Behaviour::ok()).await;
    let names = TableResolver::on_loopback(&["receiver.test"]);
    let with = |ports: &[&str]| {
        let ports = DeliveryPorts::parse(ports.iter().copied()).unwrap();
        let policy = AddressPolicy::new(vec!["127.0.0.0/8".parse().unwrap()]).with_ports(ports);
        Sender::new(options(policy, &names, Vec::new())).unwrap()
    };
    let port = receiver.address().port().to_string();
    for host in ["127.0.0.1", "receiver.test"] {
        let url = receiver.url_at(host, "/");
        for allowed in [with(&[]), with(&["80", &port])] {
            assert!(allowed.check_destination(&url.parse().unwrap()).await.is_ok());
            assert_eq!(allowed.send(post(&url)).await.outcome, Outcome::Delivered);
        }
        let cases = [
            (with(&["443"]), url.clone(), "does not list it"),
            (with(&["443"]), format!("http://{host}/"), "port 80 is refused"),
            (with(&[]), format!("http://{host}:25/"), "it is SMTP's"),
            (with(&[]), format!("https://{host}:6379/"), "it is Redis's"),
            (with(&[]), format!("http://{host}:0/"), "port 0 is refused"),
            (with(&["1-65535"]), format!("http://{host}:0/"), "port 0 is refused"),
        ];
        for (refusing, url, why) in cases {
            let refused = refusing.check_destination(&url.parse().unwrap()).await;
            assert!(matches!(refused, Err(UrlRefused::Port(_))), "{url}");
            let exchange = refusing.send(post(&url)).await;
            assert_eq!(exchange.outcome, Outcome::Address, "{url}");
            assert!(message(&exchange).contains(why), "{exchange:?}");
            let fetched = refusing.fetch(post(&url)).await;
            assert_eq!(fetched.unwrap_err().outcome, Outcome::Address, "{url}");
        }
    }
}
