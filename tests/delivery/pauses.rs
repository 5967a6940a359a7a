//! Pauses: deliveries are held and events accepted; a resumption sends what was held, at once or at a rate.

use std::time::Duration;

use http::StatusCode;
use postrider::domain::clock::Clock;
use postrider::domain::delivery::State;
use postrider::store::DeliveryRow;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Value, json};

use crate::support::app::{Builder, TestApp, execute, pipeline};
use crate::support::receiver::{Behaviour, Receiver, in_turn};

const DESTINATION: &str = "/api/v1/destinations/website/one";
const MAPPING: &str = "/api/v1/mappings/website/one/everything";

async fn post(app: &TestApp, path: &str, body: Value) -> Value {
    let (status, answer) = app.client.post(path, &body).await.unwrap();
    assert_eq!(status, StatusCode::OK, "{path}: {answer}");
    answer
}

async fn status(app: &TestApp) -> Value {
    app.client.get("/api/v1/status").await.unwrap().1
}

async fn actions(app: &TestApp) -> Vec<String> {
    let (_, page) = app.client.get("/api/v1/audit").await.unwrap();
    let items = page["items"].as_array().unwrap();
    items.iter().rev().map(|it| it["action"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn a_pause_holds_deliveries_past_their_window_and_a_resumption_gives_a_fresh_one() {
    let receiver = Receiver::start(Behaviour::status(500)).await;
    let document = pipeline(&[("one", &receiver.url("/"), json!({}))]);
    let app = TestApp::with(&[("one", &receiver.url("/"), json!({}))]).await;
    app.track("tried").await;
    app.until_tried(0, 1).await;
    for subject in [DESTINATION, MAPPING] {
        let paused = post(&app, &format!("{subject}/pause"), json!({"note": "a migration"})).await;
        assert_eq!((&paused["changed"], &paused["waiting"]), (&json!(true), &json!(1)));
        assert_eq!(paused["pause"]["state"], "paused");
        let again = post(&app, &format!("{subject}/pause"), json!({})).await;
        assert_eq!(again["changed"], false, "it is paused already");
        assert_eq!(again["pause"], paused["pause"]);
    }
    let paused_at = app.clock.now();
    app.track("untried").await;
    receiver.set_script(Behaviour::ok());
    app.clock.advance(Duration::from_secs(5 * 3_600));
    app.app.dispatcher.settle_overdue().await.unwrap();
    // A file that does not name pauses ends none, and so does a restart.
    app.apply(document).await;
    let (dir, clock) = app.stop().await;
    let app = Builder::after(dir, clock).start().await;
    app.app.dispatcher.expire_leases().await.unwrap();
    app.app.dispatcher.settle_overdue().await.unwrap();
    let rows = app.deliveries().await;
    assert!(rows.iter().all(|row| row.delivery.state == State::Pending), "{rows:#?}");
    assert_eq!(receiver.requests().len(), 1);
    let (_, shown) = app.client.get("/api/v1/deliveries").await.unwrap();
    let held = shown["items"][0]["held"].as_str().unwrap();
    let words =
        format!("the mapping is paused by operator since {}: a migration", paused_at.to_iso());
    assert_eq!(held, words);
    let told = status(&app).await;
    let told: Vec<_> = told["paused"].as_array().unwrap().iter().collect();
    assert_eq!(told.len(), 2, "{told:?}");
    assert_eq!(told[0]["subject"], "website/one");
    assert_eq!(told[1]["subject"], "website/one/everything");
    for it in &told {
        assert_eq!((&it["by"], &it["waiting"]), (&json!("operator"), &json!(2)), "{it}");
    }
    let explained = app.client.get("/api/v1/events/untried/explain").await.unwrap().1;
    let because = explained["mappings"][0]["because"].as_str().unwrap();
    assert!(because.contains(&format!("held: {words}")), "{because}");

    let resumed = post(&app, &format!("{DESTINATION}/resume"), json!({})).await;
    assert_eq!((&resumed["changed"], &resumed["pause"]), (&json!(true), &Value::Null));
    assert_eq!(app.delivery(0).await.delivery.state, State::Pending, "its mapping is still paused");
    post(&app, &format!("{MAPPING}/resume"), json!({})).await;
    let rows = app.until_settled(2).await;
    assert!(rows.iter().all(|row| row.delivery.state == State::Delivered));
    assert_eq!(
        rows[0].delivery.deadline_at,
        app.clock.service_now() + Duration::from_secs(4 * 3_600)
    );
    assert_eq!(status(&app).await["paused"], json!([]));
    let again = post(&app, &format!("{MAPPING}/resume"), json!({})).await;
    assert_eq!(again["changed"], false);
    let told = actions(&app).await;
    let ours: Vec<_> = told.iter().filter(|it| *it == "pause" || *it == "resume").collect();
    assert_eq!(ours, ["pause", "pause", "resume", "resume"]);
    app.ledger().await;
}

#[tokio::test]
async fn an_attempt_under_way_ends_and_its_retry_is_held() {
    let receiver = Receiver::start(in_turn(vec![Behaviour::status(500), Behaviour::ok()])).await;
    let app = TestApp::with(&[("one", &receiver.url("/"), json!({}))]).await;
    app.track("first").await;
    post(&app, &format!("{MAPPING}/pause"), json!({})).await;
    app.until_tried(0, 1).await;
    app.clock.advance(Duration::from_secs(3_600));
    app.app.dispatcher.refresh().await.unwrap();
    assert_eq!(receiver.requests().len(), 1);
    let paused = post(&app, &format!("{MAPPING}/pause"), json!({})).await;
    assert_eq!(paused["waiting"], 1);
    post(&app, &format!("{MAPPING}/resume"), json!({})).await;
    assert_eq!(app.until_settled(1).await[0].delivery.state, State::Delivered);
}

#[tokio::test]
async fn a_lease_that_expires_while_paused_ends_no_delivery() {
    let receiver = Receiver::start(Behaviour::hang()).await;
    let app = TestApp::with(&[("one", &receiver.url("/"), json!({}))]).await;
    app.track("leased").await;
    receiver.wait_for(1).await;
    post(&app, &format!("{MAPPING}/pause"), json!({})).await;
    let dir = app.dir.clone();
    let clock = app.clock.clone();
    drop(app.stop().await);
    // The process died: what it had leased was tried, and its window is over.
    execute(
        dir.path(),
        "UPDATE deliveries SET state = 'leased', due_at = NULL, lease_node_id = 1,
            lease_expires_at = accepted_at, settled_at = NULL, reason = NULL,
            tried = 3, deadline_at = accepted_at + 1;
         UPDATE ledger SET leased = 1, pending = 0, dead = 0, delivered = 0, discarded = 0",
    )
    .await;
    let app = Builder::after(dir, clock).start().await;
    app.clock.advance(Duration::from_secs(5 * 3_600));
    app.app.dispatcher.expire_leases().await.unwrap();
    assert_eq!(app.delivery(0).await.delivery.state, State::Pending);
    receiver.set_script(Behaviour::ok());
    post(&app, &format!("{MAPPING}/resume"), json!({})).await;
    assert_eq!(app.until_settled(1).await[0].delivery.state, State::Delivered);
    app.ledger().await;
}

#[tokio::test]
async fn what_a_pause_held_drains_at_a_rate_and_then_without_one() {
    for subject in [DESTINATION, MAPPING] {
        let receiver = Receiver::start(Behaviour::ok()).await;
        let app = TestApp::with(&[("one", &receiver.url("/"), json!({}))]).await;
        post(&app, &format!("{subject}/pause"), json!({})).await;
        for number in 0..6 {
            app.track(&format!("held-{number}")).await;
        }
        let resumed = post(&app, &format!("{subject}/resume"), json!({"rate_per_second": 2})).await;
        assert_eq!(
            (&resumed["pause"]["state"], &resumed["pause"]["rate_per_second"]),
            (&json!("draining"), &json!(2))
        );
        let mut sent = 1;
        app.until(|rows| delivered(rows) == 1).await;
        while sent < 6 {
            app.clock.advance(Duration::from_millis(489));
            assert_eq!(receiver.requests().len(), sent, "{subject}: not before its turn");
            app.clock.advance(Duration::from_millis(11));
            sent += 1;
            app.until(|rows| delivered(rows) == sent).await;
        }
        // Nothing that was held is left: the rate ends, in memory and in the store.
        app.app.dispatcher.refresh().await.unwrap();
        let ended = async {
            while status(&app).await["paused"] != json!([]) {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), ended).await.expect("the drain ends");
        for number in 0..6 {
            app.track(&format!("later-{number}")).await;
        }
        app.until_settled(12).await;
        app.ledger().await;
    }
}

fn delivered(rows: &[postrider::store::DeliveryRow]) -> usize {
    rows.iter().filter(|row| row.delivery.state == State::Delivered).count()
}

#[tokio::test]
async fn a_drain_goes_on_after_a_restart_and_its_rate_can_be_changed() {
    let receiver = Receiver::start(Behaviour::ok()).await;
    let app = TestApp::with(&[("one", &receiver.url("/"), json!({}))]).await;
    post(&app, &format!("{MAPPING}/pause"), json!({})).await;
    for number in 0..4 {
        app.track(&format!("held-{number}")).await;
    }
    post(&app, &format!("{MAPPING}/resume"), json!({"rate_per_second": 1})).await;
    app.until(|rows| delivered(rows) == 1).await;
    let (dir, clock) = app.stop().await;
    let app = Builder::after(dir, clock).start().await;
    app.until(|rows| delivered(rows) == 2).await;
    let told = status(&app).await;
    assert_eq!(told["paused"][0]["rate_per_second"], 1, "{told}");
    let faulty =
        app.client.post(&format!("{MAPPING}/resume"), &json!({"rate_per_second": 0})).await;
    assert_eq!(faulty.unwrap().0, StatusCode::UNPROCESSABLE_ENTITY);
    let changed = post(&app, &format!("{MAPPING}/resume"), json!({})).await;
    assert_eq!((&changed["changed"], &changed["pause"]), (&json!(true), &Value::Null));
    app.until_settled(4).await;
}

#[tokio::test]
async fn a_receiver_that_is_gone_pauses_its_mapping_where_the_destination_says_so() {
    let receiver = Receiver::start(Behaviour::status(410)).await;
    let more = json!({"on_gone": "pause"});
    let app = TestApp::with(&[("one", &receiver.url("/"), more)]).await;
    app.track("first").await;
    app.until_tried(0, 1).await;
    let paused = async {
        loop {
            let told = status(&app).await;
            if told["paused"] != json!([]) {
                return told;
            }
            tokio::task::yield_now().await;
        }
    };
    let told = tokio::time::timeout(Duration::from_secs(30), paused).await.expect("it is paused");
    let pause = &told["paused"][0];
    assert_eq!(
        (&pause["subject"], &pause["cause"], &pause["by"]),
        (&json!("website/one/everything"), &json!("gone"), &json!("postrider"))
    );
    app.track("second").await;
    app.app.duties.clone().evaluate_alerts().await.unwrap();
    let told = status(&app).await;
    assert_eq!(told["alerts"][0]["alert"], "receiver_gone", "{told}");
    assert_eq!(receiver.requests().len(), 1, "nothing goes to a receiver that is gone");
    receiver.set_script(Behaviour::ok());
    post(&app, &format!("{MAPPING}/resume"), json!({})).await;
    let rows = app.until_settled(2).await;
    assert!(rows.iter().all(|row| row.delivery.state == State::Delivered));
    app.ledger().await;
}

#[tokio::test]
async fn a_410_is_a_dead_letter_by_default() {
    let receiver = Receiver::start(Behaviour::status(410)).await;
    let app = TestApp::with(&[("one", &receiver.url("/"), json!({}))]).await;
    app.track("first").await;
    assert_eq!(app.until_settled(1).await[0].delivery.state, State::Dead);
    assert_eq!(status(&app).await["paused"], json!([]));
}

#[tokio::test]
async fn a_mapping_that_does_not_compile_is_shown_with_its_error_and_what_waits() {
    let receiver = Receiver::start(Behaviour::ok()).await;
    let app = TestApp::with(&[("one", &receiver.url("/"), json!({}))]).await;
    let (dir, clock) = app.stop().await;
    execute(
        dir.path(),
        "DROP TRIGGER mapping_revisions_are_immutable;
        UPDATE mapping_revisions SET definition = json_set(definition, '$.data', json('{\"@later\": 1}'))",
    )
    .await;
    let app = Builder::after(dir, clock).start().await;
    app.track("held-1").await;
    app.track("held-2").await;
    let told = status(&app).await;
    let faulty = &told["faulty_mappings"][0];
    assert_eq!(
        (&faulty["mapping"], &faulty["waiting"]),
        (&json!("website/one/everything"), &json!(2))
    );
    assert!(faulty["error"].as_str().unwrap().contains("data"), "{faulty}");
    let (_, mapping) = app.client.get(MAPPING).await.unwrap();
    assert_eq!(mapping["fault"], faulty["error"]);
}

/// A step of the schedule.
#[derive(Clone, Copy, Debug)]
enum Move {
    Track,
    Pause(bool),
    Resume(bool, Option<u32>),
    Rename,
    Restart,
    Hours,
    Work,
}

fn moves() -> impl Strategy<Value = Vec<Move>> {
    let one = prop_oneof![
        4 => Just(Move::Track),
        2 => any::<bool>().prop_map(Move::Pause),
        2 => (any::<bool>(), prop_oneof![Just(None), Just(Some(3))])
            .prop_map(|(mapping, rate)| Move::Resume(mapping, rate)),
        1 => Just(Move::Rename),
        1 => Just(Move::Restart),
        1 => Just(Move::Hours),
        2 => Just(Move::Work),
    ];
    prop::collection::vec(one, 5..25)
}

/// Advances to what is due next until every delivery has ended: time that passed within a claim ends its lease.
async fn until_nothing_waits(app: &TestApp) -> Vec<DeliveryRow> {
    loop {
        let now = app.clock.service_now();
        let is_later = |row: &DeliveryRow| match row.delivery.state {
            State::Pending => row.delivery.due_at.is_some_and(|at| at > now),
            State::Leased => false,
            State::Delivered | State::Dead | State::Discarded => true,
        };
        let rows = app.until(|rows| rows.iter().all(is_later)).await;
        if rows.iter().all(|row| row.delivery.state != State::Pending) {
            return rows;
        }
        app.advance_to_due().await;
    }
}

async fn random_schedule(moves: Vec<Move>) {
    let receiver = Receiver::start(in_turn(vec![Behaviour::status(500), Behaviour::ok()])).await;
    let mut document = pipeline(&[("one", &receiver.url("/"), json!({}))]);
    let mut app = Builder::new().start().await;
    app.apply(document.clone()).await;
    let (mut name, mut tracked) = ("everything".to_owned(), 0);
    for step in moves {
        let subject = |mapping: bool| match mapping {
            true => format!("/api/v1/mappings/website/one/{name}"),
            false => DESTINATION.to_owned(),
        };
        match step {
            Move::Track => {
                app.track(&format!("event-{tracked}")).await;
                tracked += 1;
            }
            Move::Pause(mapping) => {
                post(&app, &format!("{}/pause", subject(mapping)), json!({})).await;
            }
            Move::Resume(mapping, rate) => {
                let body = json!({"rate_per_second": rate});
                post(&app, &format!("{}/resume", subject(mapping)), body).await;
            }
            Move::Rename => {
                let to = format!("{name}x");
                let mapping = &mut document["sources"][0]["destinations"][0]["mappings"][0];
                mapping["renamed_from"] = json!(name);
                mapping["name"] = json!(to);
                name = to;
                app.apply(document.clone()).await;
            }
            Move::Restart => {
                let (dir, clock) = app.stop().await;
                app = Builder::after(dir, clock).start().await;
            }
            Move::Hours => app.clock.advance(Duration::from_secs(600)),
            Move::Work => {
                app.app.dispatcher.expire_leases().await.unwrap();
                app.app.dispatcher.settle_overdue().await.unwrap();
                app.app.dispatcher.refresh().await.unwrap();
            }
        }
    }
    for subject in [format!("/api/v1/mappings/website/one/{name}"), DESTINATION.to_owned()] {
        post(&app, &format!("{subject}/resume"), json!({})).await;
    }
    receiver.set_script(Behaviour::ok());
    app.clock.advance(Duration::from_secs(20 * 60));
    app.app.dispatcher.expire_leases().await.unwrap();
    app.app.dispatcher.refresh().await.unwrap();
    let rows = until_nothing_waits(&app).await;
    assert_eq!(rows.len(), tracked);
    for row in &rows {
        assert!(
            row.delivery.state == State::Delivered || row.delivery.reason.is_some(),
            "it ended without a reason: {row:#?}"
        );
    }
    let ledger = app.ledger().await;
    assert_eq!(usize::try_from(ledger.accepted).unwrap(), tracked);
    app.stop().await;
}

/// Pauses, resumptions, renames and restarts in any order lose no delivery, and leave none without a reason.
#[test]
fn random_pauses_renames_and_restarts_lose_no_delivery() {
    let config = Config { cases: 12, failure_persistence: None, ..Config::default() };
    let mut runner = TestRunner::new(config);
    runner
        .run(&moves(), |moves| {
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .worker_threads(2)
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(random_schedule(moves));
            Ok(())
        })
        .unwrap();
}
