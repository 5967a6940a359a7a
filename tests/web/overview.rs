//! The overview: problems, time series, health of destinations.

use std::time::Duration;

use serde_json::json;

use super::browser::browse;
use super::visitor::Visitor;
use crate::support::app::{Builder, TestApp};
use crate::support::receiver::{Behaviour, Receiver};

#[tokio::test]
async fn problems_come_first_with_a_link() {
    let receiver = Receiver::start(Behaviour::ok()).await;
    let app = TestApp::with(&[("crm", &receiver.url("/"), json!({}))]).await;
    let mut visitor = Visitor::signed_in(&app).await;
    let healthy = visitor.get("/").await.html;
    assert!(healthy.contains("No problems."), "{healthy}");
    assert!(healthy.contains("Waiting for the first event"), "{healthy}");
    app.open_circuit(&receiver).await;
    let page = visitor.get("/").await.html;
    let attention = page.split_once("Needs attention").unwrap().1;
    let first = attention.split_once("</li>").unwrap().0;
    assert!(first.contains("website/crm/everything: circuit open"), "{first}");
    assert!(first.contains("since <time"), "{first}");
    assert!(first.contains("/deliveries?mapping=website%2Fcrm%2Feverything"), "{first}");
    assert!(page.contains("open: <bdi>everything</bdi>"), "the destination shows it too: {page}");
    receiver.set_script(Behaviour::status(404));
    app.advance_to_due().await;
    app.until(|rows| rows.iter().any(|row| row.delivery.reason.is_some())).await;
    let page = visitor.get("/").await.html;
    // The circuit has closed: the other due deliveries become dead letters too.
    let attention = page.split_once("Needs attention").unwrap().1;
    let items = attention.split_once("</ul>").unwrap().0;
    assert!(items.contains("dead letter") && items.contains("to redrive or discard"), "{page}");
    app.stop().await;
}

#[tokio::test]
async fn an_empty_service_shows_the_first_step() {
    let app = Builder::new().start().await;
    let mut visitor = Visitor::signed_in(&app).await;
    let page = visitor.get("/").await.html;
    assert!(page.contains("No sources yet") && page.contains("postrider apply"), "{page}");
    assert!(!page.contains("<svg viewBox=\"0 0 600 120\""), "{page}");
    app.stop().await;
}

#[tokio::test]
async fn charts_have_a_data_table_of_the_selected_range() {
    let receiver = Receiver::start(Behaviour::ok()).await;
    let refusing = Receiver::start(Behaviour::status(422)).await;
    let app = TestApp::with(&[
        ("crm", &receiver.url("/"), json!({})),
        ("billing", &refusing.url("/"), json!({})),
    ])
    .await;
    for number in 0..3 {
        app.track(&format!("event-{number}")).await;
    }
    app.until_settled(6).await;
    app.app.duties.clone().roll_up().await.unwrap();
    app.clock.advance(Duration::from_secs(2 * 3_600));
    let token = app.token();
    browse(app.base(), async |browser| {
        browser.sign_in(&token).await;
        let numbers = async |title: &str| {
            let script = format!(
                "const table = [...document.querySelectorAll('.chart table')]\
                     .find((it) => it.caption.textContent === '{title}');\
                 return [...table.querySelectorAll('tbody tr')]\
                     .map((row) => [...row.querySelectorAll('td')].map((it) => it.textContent))\
                     .filter((values) => values.some((it) => !['0', '–'].includes(it)))"
            );
            browser.run(&script).await
        };
        assert_eq!(numbers("Throughput").await, json!([["6", "3"]]));
        assert_eq!(numbers("Success rate").await, json!([["50 %"]]));
        let dead = numbers("Dead letters").await;
        assert_eq!(dead[0], json!(["3", "3"]), "the total keeps its value: {dead}");
        assert!(dead.as_array().unwrap()[1..].iter().all(|it| *it == json!(["3", "0"])), "{dead}");
        let lines = browser.run("return document.querySelectorAll('.chart .stroke').length").await;
        assert_eq!(lines, 8);
        browser.press("1 hour").await;
        browser.until_at("/?range=1h").await;
        assert_eq!(numbers("Throughput").await, json!([]), "out of the range");
        for range in ["7 days", "30 days"] {
            browser.press(range).await;
            browser
                .until("the range is chosen", async || {
                    let chosen =
                        "return document.querySelector('.choices [aria-current]').textContent";
                    browser.run(chosen).await == range
                })
                .await;
            assert_eq!(numbers("Throughput").await, json!([["6", "3"]]), "{range}");
        }
        // Open details stay open over a refresh.
        browser.press("Data table: Throughput").await;
        let opened = "return document.querySelector('.chart details').open";
        assert_eq!(browser.run(opened).await, true);
    })
    .await;
    app.stop().await;
}
