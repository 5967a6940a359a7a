//! The clock: hours of retries, deadlines, last tries, jumps. Nothing here waits for real time.

use std::sync::Arc;
use std::time::Duration;

use postrider::domain::attempt::Outcome;
use postrider::domain::clock::Clock;
use postrider::domain::delivery::{Reason, State};
use serde_json::json;

use crate::support::app::{Builder, TestApp, execute, pipeline};
use crate::support::receiver::{Behaviour, Receiver};

const HOUR: Duration = Duration::from_secs(3_600);

#[tokio::test]
async fn four_hours_of_failures_end_with_a_last_try_just_before_the_deadline() {
    let receiver = Receiver::start(Behaviour::status(500)).await;
    let app = TestApp::with(&[("one", &receiver.url("/"), json!({}))]).await;
    let accepted_at = app.clock.now();
    app.track("doomed").await;
    let mut tries = 1;
    let dead = loop {
        let row = app.until_tried(0, tries).await;
        if row.delivery.state == State::Dead {
            break row.delivery;
        }
        // From the tenth failure on the circuit is open: probes come when it lets them.
        app.advance_to_due().await;
        app.clock.advance(
            Duration::from_secs(60)
                .min((row.delivery.deadline_at - Duration::from_secs(5)).since(app.clock.now())),
        );
        tries += 1;
    };
    assert_eq!(dead.reason, Some(Reason::Deadline));
    assert_eq!(dead.deadline_at, accepted_at + 4 * HOUR);
    let attempts = app.attempts(dead.id).await;
    let last = attempts.last().unwrap();
    assert_eq!(last.made.started_at, dead.deadline_at - Duration::from_secs(5));
    assert_eq!(attempts.len(), receiver.requests().len());
    assert!(attempts.len() > 15, "{} attempts", attempts.len());
    app.clock.advance(10 * HOUR);
    app.app.dispatcher.settle_overdue().await.unwrap();
    app.track("another").await;
    app.until_tried(1, 1).await;
    assert_eq!(app.attempts(dead.id).await.len(), attempts.len(), "nothing after the deadline");
    app.ledger().await;
}

#[tokio::test]
async fn retry_after_is_a_floor_under_the_wait_and_the_window_its_ceiling() {
    let receiver = Receiver::start(Behaviour::status(429).header("retry-after", "1800")).await;
    let app = TestApp::with(&[("one", &receiver.url("/"), json!({}))]).await;
    app.track("later").await;
    let row = app.until_tried(0, 1).await.delivery;
    assert!(row.due_at.unwrap() >= app.clock.now() + Duration::from_secs(1_800));
    receiver.set_script(Behaviour::status(503).header("retry-after", "999999"));
    app.advance_to_due().await;
    let row = app.until_tried(0, 2).await.delivery;
    assert_eq!(row.due_at, Some(row.deadline_at - Duration::from_secs(5)));
}

#[tokio::test]
async fn a_jump_of_the_clock_moves_the_schedule_instead_of_killing_or_stalling_it() {
    for jump in [5 * 3_600_000_000, -5 * 3_600_000_000] {
        let receiver = Receiver::start(Behaviour::status(500)).await;
        let app = Builder::new().threads().start().await;
        app.apply(pipeline(&[("one", &receiver.url("/"), json!({}))])).await;
        app.track("jumped").await;
        let before = app.until_tried(0, 1).await.delivery;
        app.clock.jump(jump);
        assert_eq!(app.app.dispatcher.resync_clock().await, Some(jump));
        app.app.dispatcher.shift_schedule().await.unwrap();
        let after = app.delivery(0).await.delivery;
        assert_eq!(after.due_at, before.due_at.map(|at| at.shifted(jump)));
        assert_eq!(after.deadline_at, before.deadline_at.shifted(jump));
        receiver.set_script(Behaviour::ok());
        app.advance_to_due().await;
        let row = app.until_settled(1).await.swap_remove(0);
        assert_eq!(row.delivery.state, State::Delivered, "after a jump of {jump}");
        app.ledger().await;
    }
}

#[tokio::test]
async fn nothing_goes_by_a_schedule_that_could_not_be_moved_with_the_clock() {
    let jump = 5 * 3_600_000_000;
    let receiver = Receiver::start(Behaviour::status(500)).await;
    let app = TestApp::with(&[("one", &receiver.url("/"), json!({}))]).await;
    app.track("jumped").await;
    let before = app.until_tried(0, 1).await.delivery;
    let refuse = "CREATE TRIGGER no_move BEFORE UPDATE OF deadline_at ON deliveries
                  BEGIN SELECT RAISE(ABORT, 'no move'); END";
    execute(app.dir.path(), refuse).await;
    app.clock.jump(jump);
    let dispatcher = &app.app.dispatcher;
    assert_eq!(dispatcher.resync_clock().await, Some(jump));
    for _ in 0..2 {
        dispatcher.shift_schedule().await.unwrap_err();
        assert_eq!(dispatcher.settle_overdue().await.unwrap(), 0);
        assert_eq!(dispatcher.resync_clock().await, None, "it jumped once");
    }
    execute(app.dir.path(), "DROP TRIGGER no_move").await;
    dispatcher.shift_schedule().await.unwrap();
    dispatcher.settle_overdue().await.unwrap();
    let after = app.delivery(0).await.delivery;
    assert_eq!(after.state, State::Pending, "a deadline that was not moved is none");
    assert_eq!(after.deadline_at, before.deadline_at.shifted(jump));
    receiver.set_script(Behaviour::ok());
    app.advance_to_due().await;
    let row = app.until_settled(1).await.swap_remove(0);
    assert_eq!(row.delivery.state, State::Delivered);
    app.ledger().await;
}

#[tokio::test]
async fn what_could_not_be_tried_in_time_gets_its_one_try() {
    let receiver = Receiver::start(Behaviour::status(500)).await;
    let url = receiver.url("/");
    let app = TestApp::with(&[("one", &url, json!({}))]).await;
    // What is accepted while the circuit is open waits untried.
    app.open_circuit(&receiver).await;
    app.track("untried").await;
    let (dir, clock) = app.stop().await;
    clock.advance(9 * HOUR);
    let app = Builder::after(dir, Arc::clone(&clock)).start().await;
    let rows = app.until_settled(11).await;
    for row in &rows {
        assert_eq!(row.delivery.reason, Some(Reason::Deadline));
    }
    let untried = &rows[10].delivery;
    let attempts = app.attempts(untried.id).await;
    assert_eq!(attempts.len(), 1, "one try, after its deadline");
    assert!(attempts[0].made.started_at > untried.deadline_at);
    for row in &rows[..10] {
        for attempt in app.attempts(row.delivery.id).await {
            assert!(attempt.made.started_at <= row.delivery.deadline_at);
        }
    }
    app.ledger().await;
}

#[tokio::test]
async fn a_disabled_destination_holds_its_deliveries_and_gives_them_a_fresh_window() {
    let receiver = Receiver::start(Behaviour::status(500)).await;
    let url = receiver.url("/");
    let app = TestApp::with(&[("one", &url, json!({}))]).await;
    app.track("held").await;
    app.until_tried(0, 1).await;
    app.apply(pipeline(&[("one", &url, json!({"enabled": false}))])).await;
    app.track("not routed").await;
    app.clock.advance(9 * HOUR);
    app.app.dispatcher.settle_overdue().await.unwrap();
    app.app.dispatcher.refresh().await.unwrap();
    let rows = app.deliveries().await;
    assert_eq!(rows.len(), 1);
    assert_eq!(rows[0].delivery.state, State::Pending, "held, not dead");
    receiver.set_script(Behaviour::ok());
    app.apply(pipeline(&[("one", &url, json!({}))])).await;
    let row = app.until_settled(1).await.swap_remove(0).delivery;
    assert_eq!(row.state, State::Delivered);
    assert_eq!(row.deadline_at, app.clock.now() + 4 * HOUR);
    app.ledger().await;
}

#[tokio::test]
async fn a_lease_without_an_outcome_becomes_unknown_and_is_tried_again() {
    let receiver = Receiver::start(Behaviour::hang()).await;
    let app = TestApp::with(&[("one", &receiver.url("/"), json!({"timeout_ms": 30_000}))]).await;
    app.track("hung").await;
    receiver.wait_for(1).await;
    app.clock.advance(Duration::from_secs(61));
    receiver.set_script(Behaviour::ok());
    assert_eq!(app.app.dispatcher.expire_leases().await.unwrap(), 1);
    let row = app.until_tried(0, 1).await;
    assert_eq!(row.delivery.last_outcome, Some(Outcome::Unknown));
    app.advance_to_due().await;
    let row = app.until_settled(1).await.swap_remove(0).delivery;
    assert_eq!(row.state, State::Delivered);
    let attempts = app.attempts(row.id).await;
    assert_eq!(attempts.len(), 2);
    assert_eq!((attempts[0].number, attempts[1].number), (1, 2));
    app.ledger().await;
}
