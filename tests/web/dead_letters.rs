//! Dead letters: groups, redrive jobs with live progress, cancellation, discard.

use std::time::Duration;

use http::StatusCode;
use postrider::domain::delivery::State;
use postrider::store::DeliveryRow;
use serde_json::json;

use super::browser::browse;
use super::deliveries::id;
use super::visitor::Visitor;
use crate::support::app::TestApp;
use crate::support::receiver::{Behaviour, Receiver};

/// A service with this many dead letters of one destination, whose receiver has recovered.
async fn with_dead_letters(count: usize) -> (TestApp, Receiver) {
    let receiver = Receiver::start(Behaviour::status(422)).await;
    let app = TestApp::with(&[("one", &receiver.url("/hook"), json!({}))]).await;
    for number in 0..count {
        app.track(&format!("event-{number}")).await;
    }
    app.until_settled(count).await;
    receiver.set_script(Behaviour::ok());
    (app, receiver)
}

#[tokio::test]
async fn redriving_a_group_shows_live_progress() {
    let (app, _receiver) = with_dead_letters(12).await;
    let token = app.token();
    browse(app.base(), async |browser| {
        browser.sign_in(&token).await;
        browser.open("/dead-letters").await;
        browser.until_text("website/one").await;
        browser.press("Redrive…").await;
        browser.until_text("Redrive 12 deliveries").await;
        let sample = browser.run("return document.querySelectorAll('tbody tr').length").await;
        assert_eq!(sample, 10, "the first of them are shown");
        browser.type_into("#rate_per_second", "no number").await;
        browser.type_into("#note", "receiver fixed").await;
        browser.press("Redrive 12 deliveries").await;
        browser.until_text("should be a whole number").await;
        let kept = browser.run("return document.querySelector('#note').value").await;
        assert_eq!(kept, "receiver fixed", "the input is kept");
        browser.type_into("#rate_per_second", "5").await;
        browser.press("Redrive 12 deliveries").await;
        browser.until_text("at most 5/s").await;
        browser.until_text("receiver fixed").await;
        browser.until_text("Cancel job…").await;
        // The page polls.
        browser
            .until("the job is done", async || {
                app.clock.advance(Duration::from_secs(1));
                browser.text().await.contains("done")
            })
            .await;
        browser.until_text("12 of 12 deliveries").await;
    })
    .await;
    let rows = app.until_settled(12).await;
    assert!(rows.iter().all(|row| row.delivery.state == State::Delivered));
    app.stop().await;
}

#[tokio::test]
async fn a_job_is_cancelled_from_its_page() {
    let (app, _receiver) = with_dead_letters(6).await;
    let token = app.token();
    browse(app.base(), async |browser| {
        browser.sign_in(&token).await;
        browser.open("/jobs/new?action=redrive&state=dead").await;
        browser.type_into("#rate_per_second", "2").await;
        browser.press("Redrive 6 deliveries").await;
        browser.until_text("2 of 6 deliveries").await;
        browser.press("Cancel job…").await;
        browser.press("Keep running").await;
        browser.press("Cancel job…").await;
        browser
            .run("document.querySelector('dialog[open] form[action$=cancel] button').click()")
            .await;
        browser.until_text("Cancelled. Deliveries already processed stay as they are.").await;
        browser.until_text("cancelled").await;
        browser.open("/jobs").await;
        browser.until_text("cancelled").await;
    })
    .await;
    let delivered = |rows: &[DeliveryRow]| {
        rows.iter().filter(|row| row.delivery.state == State::Delivered).count() == 2
    };
    app.until(delivered).await;
    assert_eq!(app.ledger().await.dead, 4);
    app.stop().await;
}

#[tokio::test]
async fn selected_dead_letters_are_discarded_after_confirmation() {
    let (app, _receiver) = with_dead_letters(2).await;
    let rows = app.deliveries().await;
    let mut visitor = Visitor::signed_in(&app).await;
    let discarded = id(&rows[1]);
    let page = visitor.get("/dead-letters").await;
    assert!(page.html.contains(&format!("name=\"id\" value=\"{discarded}\"")), "{}", page.html);
    let page = visitor.get(&format!("/jobs/new?id={discarded}&action=discard")).await;
    assert!(page.html.contains("Discard 1 delivery"), "{}", page.html);
    let page = visitor.post("/jobs", &[("action", "discard"), ("id", &discarded)]).await;
    assert_eq!(page.status, StatusCode::SEE_OTHER, "{}", page.html);
    let job = page.leads_to().to_owned();
    while !visitor.get(&job).await.html.contains(">done<") {
        tokio::task::yield_now().await;
    }
    let states: Vec<_> = app.deliveries().await.iter().map(|it| it.delivery.state).collect();
    assert_eq!(states, [State::Dead, State::Discarded]);
    let page = visitor.get("/jobs/new?action=discard").await;
    assert_eq!(page.status, StatusCode::BAD_REQUEST, "nothing is selected");
    app.stop().await;
}

#[tokio::test]
async fn a_group_filters_the_list_and_the_job() {
    let refusing = Receiver::start(Behaviour::status(422)).await;
    let moved = Receiver::start(Behaviour::status(302)).await;
    let app = TestApp::with(&[
        ("crm", &refusing.url("/"), json!({})),
        ("billing", &moved.url("/"), json!({})),
    ])
    .await;
    app.track("a").await;
    app.track("b").await;
    app.until_settled(4).await;
    let mut visitor = Visitor::signed_in(&app).await;
    let all = visitor.get("/dead-letters").await.html;
    assert_eq!(all.matches("data-row").count(), 4);
    for shown in ["website/crm", "website/billing", "rejected", "redirect"] {
        assert!(all.contains(shown), "{shown}: {all}");
    }
    let group = visitor.get("/dead-letters?destination=website%2Fbilling&reason=redirect").await;
    assert_eq!(group.html.matches("data-row").count(), 2);
    assert_eq!(group.html.matches("aria-selected=\"true\"").count(), 1, "{}", group.html);
    let none = visitor.get("/dead-letters?destination=website%2Fbilling&reason=rejected").await;
    assert!(none.html.contains("No matching dead letters."), "{}", none.html);
    let wrong = visitor.get("/dead-letters?state=pending").await;
    assert_eq!(wrong.status, StatusCode::BAD_REQUEST);
    app.stop().await;
}

#[tokio::test]
async fn a_dead_letter_is_redriven_by_keyboard_alone() {
    let (enter, tab) = ("\u{e007}", "\u{e004}");
    let (app, _receiver) = with_dead_letters(1).await;
    let token = app.token();
    browse(app.base(), async |browser| {
        browser.open("/sign-in").await;
        browser.keys(&format!("{token}{enter}")).await;
        browser.until_at("/").await;
        browser.keys("gx").await;
        browser.until_at("/dead-letters").await;
        browser.keys("j").await;
        browser.keys(enter).await;
        browser.until_text("Timeline").await;
        browser
            .until("the focus is on the button", async || {
                browser.keys(tab).await;
                browser.run("return document.activeElement.textContent").await == "Redrive"
            })
            .await;
        browser.keys(enter).await;
        browser.until_text("Redriven: due now, with a new retry window.").await;
    })
    .await;
    app.until(|rows| rows[0].delivery.state == State::Delivered).await;
    app.stop().await;
}
