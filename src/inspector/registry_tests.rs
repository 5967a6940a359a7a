//! Inspectors: verdicts, scripted responses, limits.

use std::time::Duration;

use http::HeaderMap;

use super::*;
use crate::domain::clock::ManualClock;
use crate::sender::{SignedContent, Signer};

fn inspectors(clock: &Arc<ManualClock>) -> Inspectors {
    let secrets: KnownSecrets = Box::new(|name| match name.as_str() {
        "known" => vec![KnownSecret { destination: "web/crm".to_owned(), secret: "secret".into() }],
        _ => Vec::new(),
    });
    let feed = Feed::new(1, tokio_util::sync::CancellationToken::new());
    Inspectors::new(secrets, Arc::clone(clock) as _, feed)
}

fn clock() -> Arc<ManualClock> {
    Arc::new(ManualClock::new(Timestamp::from_micros(1_800_000_000_000_000)))
}

fn name(text: &str) -> InspectorName {
    InspectorName::parse(text).expect("a name")
}

fn request(headers: HeaderMap) -> http::request::Parts {
    let request = http::Request::post("/inspect/known/deep?a=1").body(()).expect("a request");
    let (mut parts, ()) = request.into_parts();
    parts.headers = headers;
    parts
}

fn signed(clock: &ManualClock, id: &str, body: &[u8]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let timestamp_s = clock.now().as_seconds();
    let message = SignedContent { webhook_id: id, timestamp_s, body, first_event: Some(body) };
    Signer::new(&["secret".into()]).sign(&mut headers, &message);
    headers
}

#[test]
fn signatures_are_verified_with_known_secrets() {
    let clock = clock();
    let inspectors = inspectors(&clock);
    let body = Bytes::from_static(b"{\"a\":1}");
    let head = request(signed(&clock, "dlv_1", &body));
    inspectors.receive(&name("known"), &head, &body);
    inspectors.receive(&name("known"), &head, &Bytes::from_static(b"{}"));
    inspectors.receive(&name("unknown"), &head, &body);
    let verdicts = |of: &str| -> Vec<_> {
        let shown = inspectors.get(&name(of));
        shown.requests.iter().rev().map(|it| (it.signature, it.standard)).collect()
    };
    assert_eq!(verdicts("known")[0], (Verdict::Verified, Verdict::Verified));
    assert_eq!(verdicts("known")[1], (Verdict::Wrong, Verdict::Wrong));
    assert_eq!(verdicts("unknown"), [(Verdict::Unchecked, Verdict::Unchecked)]);
    assert_eq!(inspectors.get(&name("known")).checked_with, ["web/crm"]);
    // A secret that is set is used until it is removed.
    let set = |secret| {
        inspectors.set(&name("unknown"), Answer::default(), secret);
        inspectors.receive(&name("unknown"), &head, &body);
        let shown = inspectors.get(&name("unknown"));
        (shown.requests[0].signature, shown.has_secret)
    };
    assert_eq!(set(SecretChange::Set("secret".into())), (Verdict::Verified, true));
    assert_eq!(set(SecretChange::Keep), (Verdict::Verified, true));
    assert_eq!(set(SecretChange::Set("other".into())), (Verdict::Wrong, true));
    assert_eq!(set(SecretChange::Remove), (Verdict::Unchecked, false));
}

#[test]
fn the_script_runs_separately_for_each_delivery() {
    let clock = clock();
    let inspectors = inspectors(&clock);
    let answer = Answer {
        script: "503,200".parse().expect("a script"),
        delay: Duration::from_secs(2),
        body: "later".to_owned(),
    };
    inspectors.set(&name("known"), answer.clone(), SecretChange::Keep);
    let take = |id: &str| {
        let body = Bytes::from_static(b"{}");
        inspectors.receive(&name("known"), &request(signed(&clock, id, &body)), &body)
    };
    let first = take("dlv_1");
    assert_eq!((first.status.as_u16(), first.body.as_str()), (503, "later"));
    assert_eq!(first.at, clock.service_now() + Duration::from_secs(2));
    assert_eq!([take("dlv_2"), take("dlv_1")].map(|it| it.status.as_u16()), [503, 200]);
    inspectors.set(&name("known"), answer, SecretChange::Keep);
    assert_eq!(take("dlv_1").status.as_u16(), 503, "setting the answer starts the script over");
}

#[test]
fn memory_is_bounded_in_inspectors_requests_and_bytes() {
    let clock = clock();
    let inspectors = inspectors(&clock);
    let long = Bytes::from(vec![b'x'; 1_000_000]);
    for number in 0..2 * MAX_INSPECTORS {
        clock.advance(Duration::from_secs(1));
        inspectors.receive(&name(&format!("n{number}")), &request(HeaderMap::new()), &long);
    }
    let names: Vec<_> = inspectors.list().into_iter().map(|it| it.name).collect();
    assert_eq!(names.len(), MAX_INSPECTORS);
    assert!(!names.contains(&name("n0")), "the least recently used is evicted");
    for _ in 0..MAX_REQUESTS + 10 {
        inspectors.receive(&name("n31"), &request(HeaderMap::new()), &long);
    }
    let shown = inspectors.get(&name("n31"));
    assert_eq!((shown.requests.len(), shown.taken), (MAX_REQUESTS, 111));
    assert_eq!(shown.requests[0].number, 111, "newest first");
    let newest = &shown.requests[0];
    assert_eq!((newest.body.len(), newest.body_bytes), (BODY_BYTES, 1_000_000));
}

#[test]
fn credentials_are_masked() {
    let inspectors = inspectors(&clock());
    let mut headers = HeaderMap::new();
    headers.insert("authorization", http::HeaderValue::from_static("Bearer hunter2"));
    inspectors.receive(&name("a"), &request(headers), &Bytes::new());
    let shown = inspectors.get(&name("a"));
    assert_eq!(shown.requests[0].headers, "authorization: ***\n");
    assert!(!format!("{shown:?}").contains("hunter2"));
}

#[tokio::test]
async fn requests_are_published_live() {
    let inspectors = inspectors(&clock());
    let mut subscription = inspectors.subscribe(None);
    inspectors.receive(&name("a"), &request(HeaderMap::new()), &Bytes::from_static(b"{}"));
    let Some(crate::live::Received::Item(live)) = subscription.next().await else {
        panic!("nothing")
    };
    let live = &live.item;
    assert_eq!((live.inspector.as_str(), live.number), ("a", 1));
    assert_eq!(live.path, "/inspect/known/deep?a=1");
    assert!(inspectors.remove(&name("a")) && !inspectors.remove(&name("a")));
}
