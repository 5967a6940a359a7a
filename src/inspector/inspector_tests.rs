//! The rules of inspectors: verdicts, answers, bounds.

use super::*;
use crate::domain::clock::ManualClock;
use crate::sender::{Signed, Signer};

fn inspectors(clock: &Arc<ManualClock>) -> Inspectors {
    let secrets: KnownSecrets = Box::new(|name| match name.as_str() {
        "known" => vec![KnownSecret { sender: "web/crm".to_owned(), secret: "secret".into() }],
        _ => Vec::new(),
    });
    Inspectors::new(secrets, Arc::clone(clock) as _, CancellationToken::new())
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
    let message = Signed { webhook_id: id, timestamp_s, body, first_event: body };
    Signer::new(&["secret".into()]).sign(&mut headers, &message);
    headers
}

#[test]
fn names_are_bounded_and_plain() {
    for text in ["a", "orders-2_x", &"x".repeat(64)] {
        assert!(InspectorName::parse(text).is_some(), "{text}");
    }
    for text in ["", "A", "a/b", "a.b", "é", "<script>", "a b", &"x".repeat(65)] {
        assert!(InspectorName::parse(text).is_none(), "{text}");
    }
}

#[test]
fn signatures_are_judged_where_a_secret_is_known() {
    let clock = clock();
    let inspectors = inspectors(&clock);
    let body = Bytes::from_static(b"{\"a\":1}");
    let head = request(signed(&clock, "dlv_1", &body));
    inspectors.take(&name("known"), &head, &body);
    inspectors.take(&name("known"), &head, &Bytes::from_static(b"{}"));
    inspectors.take(&name("unknown"), &head, &body);
    let verdicts = |of: &str| -> Vec<_> {
        let shown = inspectors.show(&name(of));
        shown.requests.iter().rev().map(|it| (it.signature, it.standard)).collect()
    };
    assert_eq!(verdicts("known")[0], (Verdict::Verified, Verdict::Verified));
    assert_eq!(verdicts("known")[1], (Verdict::Wrong, Verdict::Wrong));
    assert_eq!(verdicts("unknown"), [(Verdict::Unchecked, Verdict::Unchecked)]);
    assert_eq!(inspectors.show(&name("known")).checked_with, ["web/crm"]);
    // What it is told to check with counts from then on, until it is forgotten.
    let tell = |told| {
        inspectors.set(&name("unknown"), Answer::default(), told);
        inspectors.take(&name("unknown"), &head, &body);
        let shown = inspectors.show(&name("unknown"));
        (shown.requests[0].signature, shown.has_secret)
    };
    assert_eq!(tell(ToldSecret::Put("secret".into())), (Verdict::Verified, true));
    assert_eq!(tell(ToldSecret::Kept), (Verdict::Verified, true));
    assert_eq!(tell(ToldSecret::Put("other".into())), (Verdict::Wrong, true));
    assert_eq!(tell(ToldSecret::Forgotten), (Verdict::Unchecked, false));
}

#[test]
fn it_answers_as_told_for_each_delivery_on_its_own() {
    let clock = clock();
    let inspectors = inspectors(&clock);
    let answer = Answer {
        script: "503,200".parse().expect("a script"),
        delay: Duration::from_secs(2),
        body: "later".to_owned(),
    };
    inspectors.set(&name("known"), answer.clone(), ToldSecret::Kept);
    let take = |id: &str| {
        let body = Bytes::from_static(b"{}");
        inspectors.take(&name("known"), &request(signed(&clock, id, &body)), &body)
    };
    let first = take("dlv_1");
    assert_eq!((first.status.as_u16(), first.body.as_str()), (503, "later"));
    assert_eq!(first.at, clock.now() + Duration::from_secs(2));
    assert_eq!([take("dlv_2"), take("dlv_1")].map(|it| it.status.as_u16()), [503, 200]);
    inspectors.set(&name("known"), answer, ToldSecret::Kept);
    assert_eq!(take("dlv_1").status.as_u16(), 503, "told anew, it counts anew");
}

#[test]
fn answers_have_bounds() {
    let slow = Answer { delay: Duration::from_millis(60_001), ..Answer::default() };
    assert_eq!(slow.faults(), [AnswerFault::Delay]);
    let long = Answer { body: "x".repeat(4_097), ..Answer::default() };
    assert_eq!(long.faults(), [AnswerFault::Body]);
    assert_eq!(Answer { body: "x".repeat(4_096), ..Answer::default() }.faults(), []);
}

#[test]
fn memory_is_bounded_in_inspectors_requests_and_bytes() {
    let clock = clock();
    let inspectors = inspectors(&clock);
    let long = Bytes::from(vec![b'x'; 1_000_000]);
    for number in 0..2 * INSPECTORS {
        clock.advance(Duration::from_secs(1));
        inspectors.take(&name(&format!("n{number}")), &request(HeaderMap::new()), &long);
    }
    let names: Vec<_> = inspectors.list().into_iter().map(|it| it.name).collect();
    assert_eq!(names.len(), INSPECTORS);
    assert!(!names.contains(&name("n0")), "the idlest gave way");
    for _ in 0..KEPT + 10 {
        inspectors.take(&name("n31"), &request(HeaderMap::new()), &long);
    }
    let shown = inspectors.show(&name("n31"));
    assert_eq!((shown.requests.len(), shown.taken), (KEPT, 111));
    assert_eq!(shown.requests[0].number, 111, "newest first");
    let newest = &shown.requests[0];
    assert_eq!((newest.body.len(), newest.body_bytes), (BODY_BYTES, 1_000_000));
}

#[test]
fn credentials_are_masked() {
    let inspectors = inspectors(&clock());
    let mut headers = HeaderMap::new();
    headers.insert("authorization", http::HeaderValue::from_static("Bearer hunter2"));
    inspectors.take(&name("a"), &request(headers), &Bytes::new());
    let shown = inspectors.show(&name("a"));
    assert_eq!(shown.requests[0].headers, "authorization: ***\n");
    assert!(!format!("{shown:?}").contains("hunter2"));
}

#[tokio::test]
async fn what_arrives_is_told_live() {
    let inspectors = inspectors(&clock());
    let mut watch = inspectors.watch().expect("room");
    inspectors.take(&name("a"), &request(HeaderMap::new()), &Bytes::from_static(b"{}"));
    let Some(crate::live::Told::Thing(told)) = watch.next().await else { panic!("nothing") };
    assert_eq!((told.inspector.as_str(), told.number), ("a", 1));
    assert_eq!(told.path, "/inspect/known/deep?a=1");
    assert!(inspectors.forget(&name("a")) && !inspectors.forget(&name("a")));
}
