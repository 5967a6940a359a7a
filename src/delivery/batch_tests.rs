//! What shares a request, and what its body and id are.

use std::sync::Arc;

use http::{HeaderValue, Method};

use super::*;
use crate::domain::clock::Timestamp;
use crate::domain::event::{Document, Event};
use crate::domain::id::{DeliveryId, EventId, MappingId, SourceId};

const REVISION: RevisionId = RevisionId(1);

fn item(id: i64, url: &str, team: &str, body: &str) -> Item {
    let at = Timestamp::from_micros(1_800_000_000_000_000);
    let event = Event {
        source_id: SourceId(1),
        kind: None,
        message_id: String::new(),
        received_at: at,
        name: None,
        user_id: None,
        body: Bytes::new(),
        envelope: None,
        rejection: None,
        trace: None,
        document: Document::default(),
    };
    let delivery = LeasedDelivery {
        id: DeliveryId(id),
        event_id: EventId(id),
        event: Arc::new(event),
        mapping_id: MappingId(1),
        token: 1,
        tried: 0,
        accepted_at: at,
        deadline_at: at,
        lease_expires_at: at,
    };
    let headers = [
        ("content-type", HeaderValue::from_static("application/json")),
        ("x-team", HeaderValue::from_str(team).expect("a value")),
    ];
    let headers =
        headers.into_iter().map(|(name, value)| (http::HeaderName::from_static(name), value));
    let rendered = Rendered {
        method: Method::POST,
        url: url.parse().expect("a URL"),
        headers: headers.collect(),
        body: Bytes::copy_from_slice(body.as_bytes()),
    };
    Item { delivery, rendered, console: None }
}

fn sorted(size: u32, items: Vec<Item>) -> Vec<Pack> {
    Pack::sort(REVISION, Some(Batching { size, ..Batching::default() }), items.into()).into_vec()
}

fn ids(packs: &[Pack]) -> Vec<Vec<i64>> {
    packs.iter().map(|pack| pack.items.iter().map(|it| it.delivery.id.0).collect()).collect()
}

const A: &str = "https://a.test/";
const B: &str = "https://b.test/";

#[test]
fn what_differs_in_url_or_headers_shares_no_request() {
    let kinds = [(A, "x"), (B, "x"), (A, "x"), (A, "y"), (B, "x"), (A, "x"), (A, "y")];
    let items = kinds.into_iter().zip(0..).map(|((url, team), id)| item(id, url, team, "{}"));
    let packs = sorted(100, items.collect());
    assert_eq!(ids(&packs), [vec![0, 2, 5], vec![1, 4], vec![3, 6]]);
    assert!(packs.iter().all(|pack| pack.body().starts_with(b"[{},{}")));
}

#[test]
fn a_batch_is_cut_at_its_size_and_at_its_bytes() {
    let packs = sorted(3, (0..8).map(|id| item(id, A, "x", "{}")).collect());
    assert_eq!(ids(&packs), [vec![0, 1, 2], vec![3, 4, 5], vec![6, 7]]);

    let third = format!("{{\"a\":\"{}\"}}", "x".repeat(Batching::BODY_BYTES / 3));
    let packs = sorted(100, (0..5).map(|id| item(id, A, "x", &third)).collect());
    assert_eq!(ids(&packs), [vec![0, 1], vec![2, 3], vec![4]]);

    // To the byte: brackets and comma included.
    let exact = |less: usize| "x".repeat((Batching::BODY_BYTES - 3) / 2 - less);
    let two = |less| sorted(9, vec![item(1, A, "x", &exact(0)), item(2, A, "x", &exact(less))]);
    assert_eq!(two(0).len(), 1);
    assert!(two(0)[0].body().len() <= Batching::BODY_BYTES);
    let over = format!("{}xx", exact(0));
    let packs = sorted(9, vec![item(1, A, "x", &exact(0)), item(2, A, "x", &over)]);
    assert_eq!(packs.len(), 2);

    let huge = "x".repeat(Batching::BODY_BYTES * 2);
    let packs =
        sorted(9, vec![item(1, A, "x", "{}"), item(2, A, "x", &huge), item(3, A, "x", "{}")]);
    assert_eq!(ids(&packs), [vec![1], vec![2], vec![3]], "one that is too large goes alone");
}

#[test]
fn one_alone_is_an_array_only_where_events_share_requests() {
    let [pack] = sorted(9, vec![item(1, A, "x", "{\"n\":1}")]).try_into().expect("one");
    assert_eq!(pack.body(), "[{\"n\":1}]");
    assert!(pack.webhook_id().starts_with("dlv_"));
    let packs = Pack::sort(REVISION, None, smallvec![item(1, A, "x", "{}"), item(2, A, "x", "{}")]);
    assert_eq!(ids(&packs), [vec![1], vec![2]]);
    assert_eq!(packs[0].body(), "{}");
}

#[test]
fn the_same_deliveries_have_the_same_id_and_no_others_do() {
    let id = |range: std::ops::Range<i64>| {
        sorted(100, range.map(|id| item(id, A, "x", "{}")).collect())[0].webhook_id()
    };
    assert_eq!(id(1..10), id(1..10));
    assert!(id(1..10).starts_with("bat_"));
    let others = [id(1..9), id(2..10), id(1..11)];
    assert!(others.iter().all(|other| *other != id(1..10)));
}

#[test]
fn halves_are_halves_down_to_one() {
    let [pack] =
        sorted(9, (0..5).map(|id| item(id, A, "x", "{}")).collect()).try_into().expect("one");
    let halves = pack.halves();
    assert_eq!(ids(&halves), [vec![0, 1, 2], vec![3, 4]]);
    assert_eq!(halves[1].body(), "[{},{}]");
}
