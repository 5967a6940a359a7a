//! Snapshots of the main pages as HTML.

use std::time::Duration;

use http::StatusCode;
use serde_json::json;

use super::deliveries::id;
use super::visitor::Visitor;
use crate::support::app::TestApp;
use crate::support::receiver::{Behaviour, Receiver};

/// The main part of a page, with ports, the version, measured times and charts masked.
async fn shown(visitor: &mut Visitor, path: &str, ports: &[u16]) -> String {
    let page = visitor.get(path).await;
    assert_eq!(page.status, StatusCode::OK, "{path}: {}", page.html);
    let (_, main) = page.html.split_once("<main").expect("a page has its main part");
    let mut text = format!("<main{}", main.split_once("</main>").expect("it ends").0);
    for port in ports {
        text = text.replace(&format!(":{port}"), ":PORT");
    }
    for (from, to) in
        [("<svg viewBox=\"0 0 600 120\"", "</svg>"), ("<tbody><tr><th scope=\"row\">2", "</tbody>")]
    {
        text = without(&text, from, to);
    }
    for mark in [' ', '/'] {
        let name = |version| format!("Postrider{mark}{version}");
        text = text.replace(&name(env!("CARGO_PKG_VERSION")), &name("VERSION"));
    }
    by_the_minute(&unmeasured(&text))
}

/// A text without what stands between these.
fn without(text: &str, from: &str, to: &str) -> String {
    let mut parts = text.split(from);
    let mut kept = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        kept.push_str("[drawn]");
        kept.push_str(part.split_once(to).expect("it ends").1);
    }
    kept
}

/// A text in which each time that was measured is `SPAN`.
fn unmeasured(text: &str) -> String {
    let mut rest = text;
    let mut out = String::new();
    // Seconds stand alone only where they were measured: times that are told have words behind.
    while let Some(at) = [" µs", " ms", " s<"].iter().filter_map(|unit| rest.find(unit)).min() {
        let number = rest[..at].trim_end_matches(|c: char| c.is_ascii_digit() || c == '.');
        out.push_str(number);
        out.push_str("SPAN");
        let unit = rest[at + 1..].find('s').expect("each unit ends with it");
        rest = &rest[at + 1 + unit + 1..];
    }
    out + rest
}

/// A text whose times have no seconds: an attempt ends as much after it began as it really took.
fn by_the_minute(text: &str) -> String {
    let is_mark = |at: &usize| text[*at..].starts_with("Z") || text[*at..].starts_with(" UTC");
    let mut out = String::new();
    let mut from = 0;
    for (at, _) in text.char_indices().filter(|(at, _)| is_mark(at)) {
        let time = text[from..at].trim_end_matches(|c: char| c.is_ascii_digit() || c == '.');
        let is_time = time.ends_with(':') && time.len() < text[from..at].len();
        out.push_str(if is_time { time } else { &text[from..at] });
        out.push_str(if is_time { "SS" } else { "" });
        from = at;
    }
    out + &text[from..]
}

#[tokio::test]
async fn the_main_pages_match_their_snapshots() {
    let receiver = Receiver::start(Behaviour::ok().body("{\"stored\":true}")).await;
    let refusal = Behaviour::status(422).body("{\"error\":\"customer 4711 is unknown\"}");
    let refusing = Receiver::start(refusal).await;
    let app = TestApp::with(&[
        ("warehouse", &receiver.url("/hook"), json!({})),
        ("billing", &refusing.url("/invoices"), json!({})),
    ])
    .await;
    for (number, name) in ["Order Completed", "Trial Started"].into_iter().enumerate() {
        let event = json!({"event": name, "userId": "u-100", "messageId": format!("m-{number}")});
        assert_eq!(app.send("/v1/track", &event).await, StatusCode::OK);
        app.until_settled(2 * (number + 1)).await;
        app.clock.advance(Duration::from_secs(61));
    }
    app.app.duties.clone().roll_up().await.unwrap();
    let rows = app.deliveries().await;
    let dead = rows.iter().find(|row| row.delivery.reason.is_some()).expect("one is refused");
    let delivery = format!("/deliveries/{}", id(dead));
    let mut visitor = Visitor::signed_in(&app).await;
    let port = |url: &str| url::Url::parse(url).unwrap().port().unwrap();
    let ports = [port(&receiver.url("/")), port(&refusing.url("/"))];
    for (name, path) in [
        ("overview", "/"),
        ("deliveries", "/deliveries?state=dead"),
        ("delivery", &delivery),
        ("dead_letters", "/dead-letters?destination=website%2Fbilling&reason=rejected"),
        ("job_new", "/jobs/new?action=redrive&state=dead"),
        ("jobs", "/jobs"),
    ] {
        insta::assert_snapshot!(name, shown(&mut visitor, path, &ports).await);
    }
    app.stop().await;
}

#[test]
fn only_measured_values_are_masked() {
    assert_eq!(
        unmeasured("took 12 ms, 1.5 µs, <b>2 s</b> 3 s ago"),
        "took SPAN, SPAN, <b>SPAN</b> 3 s ago"
    );
    let times =
        "<time datetime=\"2027-01-15T08:00:00.003Z\" title=\"2027-01-15 08:00:00 UTC\"> (UTC) Z";
    let told = "<time datetime=\"2027-01-15T08:00:SSZ\" title=\"2027-01-15 08:00:SS UTC\"> (UTC) Z";
    assert_eq!(by_the_minute(times), told);
    assert_eq!(without("a<b>c</b>d<b>e</b>", "<b>", "</b>"), "a[drawn]d[drawn]");
}
