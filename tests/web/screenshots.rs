//! The screenshots of the README. Every run takes them and checks their size; with
//! POSTRIDER_SCREENSHOTS set they are written to docs/screenshots.

use std::path::Path;
use std::time::Duration;

use http::StatusCode;
use serde_json::{Value, json};

use super::browser::{Browser, DARK, DESKTOP, PHONE, View, browse};
use crate::support::app::{Builder, TestApp, pipeline};
use crate::support::receiver::{Behaviour, Receiver};

/// The largest screenshot, in bytes.
const MAX_SIZE: usize = 150 * 1024;

/// A service with delivered, failing and dead deliveries.
async fn with_history(receiver: &Receiver, refusing: &Receiver, failing: &Receiver) -> TestApp {
    let app = Builder::new().settings(|it| it.inspector = true).start().await;
    app.apply(pipeline(&[
        ("warehouse", &receiver.url("/hook"), json!({})),
        ("billing", &refusing.url("/invoices"), json!({})),
        ("crm", &failing.url("/contacts"), json!({})),
    ]))
    .await;
    let events = [
        ("Order Completed", json!({"total": 129.9, "currency": "EUR", "items": 3})),
        ("Trial Started", json!({"plan": "team"})),
        ("Invoice Paid", json!({"number": "2027-0114", "amount": 480})),
        ("Product Viewed", json!({"sku": "P-1042"})),
    ];
    for round in 0..12_u32 {
        for (name, properties) in &events {
            let event: Value = json!({
                "event": name, "userId": format!("u-{}", 100 + round),
                "messageId": format!("{round}-{name}"), "properties": properties,
            });
            assert_eq!(app.send("/v1/track", &event).await, StatusCode::OK);
        }
        // Two of three destinations settle at once; the third is retried for hours.
        let settled_by_now = 8 * (usize::try_from(round).unwrap() + 1);
        app.until(|rows| {
            let settled = rows.iter().filter(|row| row.delivery.settled_at.is_some()).count();
            let under_way = rows.iter().any(|row| row.delivery.lease_node_id.is_some());
            settled >= settled_by_now && !under_way
        })
        .await;
        app.clock.advance(Duration::from_secs(241));
        app.app.duties.clone().roll_up().await.unwrap();
    }
    app
}

async fn picture(browser: &Browser, view: View, path: &str, name: &str) {
    browser.view(view).await;
    browser.open(path).await;
    browser.one("main").await;
    save(browser, name).await;
}

/// Saves a screenshot.
async fn save(browser: &Browser, name: &str) {
    let png = browser.screenshot().await;
    assert!(png.starts_with(b"\x89PNG"), "{name} is no picture");
    assert!(png.len() <= MAX_SIZE, "{name} takes {} bytes", png.len());
    if std::env::var_os("POSTRIDER_SCREENSHOTS").is_some() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/screenshots");
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join(format!("{name}.png")), png).unwrap();
    }
}

#[tokio::test]
async fn the_screenshots_of_the_readme_are_taken() {
    let receiver = Receiver::start(Behaviour::ok().body("{\"stored\":true}")).await;
    let refusal = "{\"error\":\"customer 4711 is unknown\",\"field\":\"customer\"}";
    let refusing = Receiver::start(Behaviour::status(422).body(refusal)).await;
    let failing = Receiver::start(Behaviour::status(503)).await;
    let app = with_history(&receiver, &refusing, &failing).await;
    let token = app.token();
    let dead = app.deliveries().await.into_iter().find(|row| row.delivery.reason.is_some());
    let dead = dead.expect("one is refused").delivery;
    let id = postrider::domain::id::PublicId::new(
        postrider::domain::id::Noun::Delivery,
        dead.accepted_at,
        dead.id.0,
    );
    browse(app.base(), async |browser| {
        browser.sign_in(&token).await;
        picture(&browser, View { height: 1010, ..DESKTOP }, "/?range=1h", "overview").await;
        let dark = View { height: 600, ..DARK };
        picture(&browser, dark, "/dead-letters", "dead-letters-dark").await;
        picture(&browser, DESKTOP, &format!("/deliveries/{id}"), "delivery").await;
        picture(&browser, PHONE, "/?range=1h", "overview-phone").await;
        browser.view(DESKTOP).await;
        browser.open("/live").await;
        browser.until_text("streaming").await;
        browser.run("document.querySelector('summary[data-row]').click()").await;
        save(&browser, "live").await;
        browser.open("/inspectors/orders").await;
        browser.until_text("streaming").await;
        for body in ["{\"event\":\"Order Completed\",\"userId\":\"u-111\"}", "{}"] {
            let headers = http::HeaderMap::new();
            app.client.post_bytes("/inspect/orders", headers, body.into()).await.unwrap();
        }
        browser.until_text("#2").await;
        browser.run("document.querySelectorAll('summary[data-row]')[1].click()").await;
        save(&browser, "inspector").await;
        browser.view(PHONE).await;
        save(&browser, "inspector-phone").await;
        browser.open("/live").await;
        browser.until_text("streaming").await;
        save(&browser, "live-phone").await;
    })
    .await;
    app.stop().await;
}
