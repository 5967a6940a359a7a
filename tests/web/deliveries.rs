//! Deliveries: search, the page of one, redrive, discard, jobs over a search.

use http::StatusCode;
use postrider::domain::delivery::State;
use postrider::domain::id::{Noun, PublicId};
use postrider::store::DeliveryRow;
use serde_json::json;

use super::browser::browse;
use super::visitor::Visitor;
use crate::support::app::TestApp;
use crate::support::receiver::{Behaviour, Receiver};

/// The public id of a delivery.
pub(super) fn id(row: &DeliveryRow) -> String {
    let delivery = &row.delivery;
    PublicId::new(Noun::Delivery, delivery.accepted_at, delivery.id.0).to_string()
}

#[tokio::test]
async fn a_delivery_is_found_by_search_and_redriven() {
    let refusal = Behaviour::status(422).body("{\"error\":\"no such user\"}");
    let receiver = Receiver::start(refusal).await;
    let app = TestApp::with(&[
        ("warehouse", &receiver.url("/hook"), json!({})),
        ("crm", &receiver.url("/crm"), json!({})),
    ])
    .await;
    app.track("Order Completed").await;
    let rows = app.until_settled(2).await;
    let warehouse = rows.iter().find(|row| row.delivery.mapping_id.0 == 1).unwrap();
    let (token, path) = (app.token(), format!("/deliveries/{}", id(warehouse)));
    receiver.set_script(Behaviour::ok().body("stored"));
    browse(app.base(), async |browser| {
        browser.sign_in(&token).await;
        browser.open("/deliveries").await;
        browser.run("document.querySelector('#state').value = 'dead'").await;
        browser.type_into("#destination", "website/warehouse").await;
        browser.press("Search").await;
        browser.until_at("/deliveries?state=dead&destination=website%2Fwarehouse").await;
        let found = browser.run("return document.querySelectorAll('tbody tr').length").await;
        assert_eq!(found, 1, "{}", browser.text().await);
        browser.press("Order Completed").await;
        browser.until_at(&path).await;
        for shown in ["Attempt 1", "HTTP 422", "no such user", "x-signature:", "rejected"] {
            browser.until_text(shown).await;
        }
        browser.until_text("Routing").await;
        browser.press("curl command").await;
        browser.until_text("curl -X POST http://127.0.0.1").await;
        browser.press("Redrive").await;
        browser.until_text("Redriven: due now, with a new retry window.").await;
        browser.until_text("delivered").await;
    })
    .await;
    app.until_settled(2).await;
    app.stop().await;
}

#[tokio::test]
async fn a_delivery_is_discarded_after_confirmation() {
    let receiver = Receiver::start(Behaviour::status(422)).await;
    let app = TestApp::with(&[("one", &receiver.url("/hook"), json!({}))]).await;
    app.track("given up").await;
    let rows = app.until_settled(1).await;
    let (token, path) = (app.token(), format!("/deliveries/{}", id(&rows[0])));
    browse(app.base(), async |browser| {
        browser.sign_in(&token).await;
        browser.open(&path).await;
        browser.press("Discard…").await;
        browser.press("Cancel").await;
        browser.press("Discard…").await;
        browser.press("Discard").await;
        browser.until_text("Discarded: nothing more is sent.").await;
        // A job discards the delivery; the page polls.
        browser.until_text("discarded").await;
    })
    .await;
    assert_eq!(app.delivery(0).await.delivery.state, State::Discarded);
    app.stop().await;
}

#[tokio::test]
async fn a_job_over_a_search_affects_the_matching_deliveries() {
    let receiver = Receiver::start(Behaviour::status(422)).await;
    let app = TestApp::with(&[("one", &receiver.url("/hook"), json!({}))]).await;
    for (number, user) in ["ada", "bob", "ada"].into_iter().enumerate() {
        let event = json!({"event": "Sign Up", "userId": user, "messageId": number.to_string()});
        assert_eq!(app.send("/v1/track", &event).await, StatusCode::OK);
    }
    app.until_settled(3).await;
    let mut visitor = Visitor::signed_in(&app).await;
    let search = "user_id=ada&name=Sign+Up&status=4xx";
    let page = visitor.get(&format!("/deliveries?{search}")).await;
    assert_eq!(page.html.matches("data-row").count(), 2, "{}", page.html);
    let ask = format!("/jobs/new?action=discard&{search}");
    assert!(page.html.contains(&ask.replace('&', "&#38;")), "{}", page.html);
    let page = visitor.get(&ask).await;
    assert!(page.html.contains("Discard 2 deliveries"), "{}", page.html);
    let fields = [("user_id", "ada"), ("name", "Sign Up"), ("status", "4xx")];
    for (name, value) in fields {
        assert_eq!(page.field(name), value);
    }
    let sent: Vec<_> = [("action", "discard")].into_iter().chain(fields).collect();
    let page = visitor.post("/jobs", &sent).await;
    assert_eq!(page.status, StatusCode::SEE_OTHER, "{}", page.html);
    let job = page.leads_to().to_owned();
    while !visitor.get(&job).await.html.contains(">done<") {
        tokio::task::yield_now().await;
    }
    let page = visitor.get(&job).await.html;
    assert!(page.contains("Sign Up") && page.contains("ada"), "the job shows its filters: {page}");
    let states: Vec<_> = app.deliveries().await.iter().map(|it| it.delivery.state).collect();
    assert_eq!(states, [State::Discarded, State::Dead, State::Discarded]);
    app.stop().await;
}

#[tokio::test]
async fn only_applicable_bulk_actions_are_shown() {
    let app = TestApp::with(&[]).await;
    let mut visitor = Visitor::signed_in(&app).await;
    for (query, offered) in [
        ("", [false, false]),
        ("?limit=10", [false, false]),
        ("?state=dead", [true, true]),
        ("?state=pending", [false, true]),
        ("?state=delivered", [false, false]),
        ("?user_id=ada", [true, true]),
        ("?status=wrong", [false, false]),
    ] {
        let html = visitor.get(&format!("/deliveries{query}")).await.html;
        let found = ["redrive", "discard"].map(|it| html.contains(&format!("action={it}")));
        assert_eq!(found, offered, "{query}");
    }
    app.stop().await;
}
