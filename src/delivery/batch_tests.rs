//! Batch grouping, size limits, body and webhook-id.

use std::sync::Arc;

use http::{HeaderValue, Method};

use super::*;
use crate::domain::clock::Timestamp;
use crate::domain::event::{Document, Event};
use crate::domain::header_spelling::HeaderSpellings;
use crate::domain::id::{DeliveryId, EventId, MappingId, SourceId};
use crate::domain::service_time::ServiceTime;

const REVISION: RevisionId = RevisionId(1);

fn item(id: i64, url: &str, team: &str, body: &str) -> BatchItem {
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
        deadline_at: ServiceTime::default(),
        lease_expires_at: ServiceTime::default(),
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
        spellings: HeaderSpellings::default(),
        body: Bytes::copy_from_slice(body.as_bytes()),
        signed: None,
    };
    BatchItem { delivery, rendered, console: None }
}

fn grouped(size: u32, items: Vec<BatchItem>) -> Vec<Batch> {
    Batch::group(REVISION, Some(Batching { size, ..Batching::default() }), items.into()).into_vec()
}

fn ids(batches: &[Batch]) -> Vec<Vec<i64>> {
    batches.iter().map(|batch| batch.items.iter().map(|it| it.delivery.id.0).collect()).collect()
}

const A: &str = "https://a.test/";
const B: &str = "https://b.test/";

#[test]
fn deliveries_with_different_url_or_headers_share_no_request() {
    let kinds = [(A, "x"), (B, "x"), (A, "x"), (A, "y"), (B, "x"), (A, "x"), (A, "y")];
    let items = kinds.into_iter().zip(0..).map(|((url, team), id)| item(id, url, team, "{}"));
    let batches = grouped(100, items.collect());
    assert_eq!(ids(&batches), [vec![0, 2, 5], vec![1, 4], vec![3, 6]]);
    assert!(batches.iter().all(|batch| batch.body().starts_with(b"[{},{}")));
}

#[test]
fn a_batch_is_limited_in_events_and_in_bytes() {
    let batches = grouped(3, (0..8).map(|id| item(id, A, "x", "{}")).collect());
    assert_eq!(ids(&batches), [vec![0, 1, 2], vec![3, 4, 5], vec![6, 7]]);

    let third = format!("{{\"a\":\"{}\"}}", "x".repeat(Batching::BODY_BYTES / 3));
    let batches = grouped(100, (0..5).map(|id| item(id, A, "x", &third)).collect());
    assert_eq!(ids(&batches), [vec![0, 1], vec![2, 3], vec![4]]);

    // Exact to the byte, brackets and comma included.
    let exact = |less: usize| "x".repeat((Batching::BODY_BYTES - 3) / 2 - less);
    let two = |less| grouped(9, vec![item(1, A, "x", &exact(0)), item(2, A, "x", &exact(less))]);
    assert_eq!(two(0).len(), 1);
    assert!(two(0)[0].body().len() <= Batching::BODY_BYTES);
    let over = format!("{}xx", exact(0));
    let batches = grouped(9, vec![item(1, A, "x", &exact(0)), item(2, A, "x", &over)]);
    assert_eq!(batches.len(), 2);

    let huge = "x".repeat(Batching::BODY_BYTES * 2);
    let batches =
        grouped(9, vec![item(1, A, "x", "{}"), item(2, A, "x", &huge), item(3, A, "x", "{}")]);
    assert_eq!(ids(&batches), [vec![1], vec![2], vec![3]], "an oversized event is sent alone");
}

#[test]
fn a_single_delivery_is_an_array_only_with_batching() {
    let [batch] = grouped(9, vec![item(1, A, "x", "{\"n\":1}")]).try_into().expect("one");
    assert_eq!(batch.body(), "[{\"n\":1}]");
    assert!(batch.webhook_id().starts_with("dlv_"));
    let batches =
        Batch::group(REVISION, None, smallvec![item(1, A, "x", "{}"), item(2, A, "x", "{}")]);
    assert_eq!(ids(&batches), [vec![1], vec![2]]);
    assert_eq!(batches[0].body(), "{}");
}

#[test]
fn the_webhook_id_of_a_batch_follows_from_its_deliveries() {
    let id = |range: std::ops::Range<i64>| {
        grouped(100, range.map(|id| item(id, A, "x", "{}")).collect())[0].webhook_id()
    };
    assert_eq!(id(1..10), id(1..10));
    assert!(id(1..10).starts_with("bat_"));
    let others = [id(1..9), id(2..10), id(1..11)];
    assert!(others.iter().all(|other| *other != id(1..10)));
}

#[test]
fn a_batch_is_split_in_half() {
    let [batch] =
        grouped(9, (0..5).map(|id| item(id, A, "x", "{}")).collect()).try_into().expect("one");
    let halves = batch.split();
    assert_eq!(ids(&halves), [vec![0, 1, 2], vec![3, 4]]);
    assert_eq!(halves[1].body(), "[{},{}]");
}
