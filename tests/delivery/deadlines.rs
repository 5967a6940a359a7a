//! Retries, deadlines and clock steps over hours of simulated time.

use std::sync::Arc;
use std::time::Duration;

use postrider::domain::attempt::Outcome;
use postrider::domain::clock::Clock;
use postrider::domain::delivery::{Reason, State};
use serde_json::json;

use crate::support::app::{Builder, TestApp, execute, pipeline};
use crate::support::receiver::{Behaviour, Receiver, in_turn};

const HOUR: Duration = Duration::from_secs(3_600);

#[tokio::test]
async fn four_hours_of_failures_end_with_a_last_attempt_just_before_the_deadline() {
    let receiver = Receiver::start(Behaviour::status(500)).await;
    let app = TestApp::with(&[("one", &receiver.url("/"), json!({}))]).await;
    let accepted_at = app.clock.service_now();
    app.track("doomed").await;
    let mut tries = 1;
    let dead = loop {
        let row = app.until_tried(0, tries).await;
        if row.delivery.state == State::Dead {
            break row.delivery;
        }
        // From the tenth failure on the circuit is open, and only probes are sent.
        app.advance_to_due().await;
        app.clock.advance(Duration::from_secs(60).min(
            (row.delivery.deadline_at - Duration::from_secs(5)).since(app.clock.service_now()),
        ));
        tries += 1;
    };
    assert_eq!(dead.reason, Some(Reason::Deadline));
    assert_eq!(dead.deadline_at, accepted_at + 4 * HOUR);
    let attempts = app.attempts(dead.id).await;
    let last = attempts.last().unwrap();
    assert_eq!(
        last.result.started_at,
        app.clock.to_wall(dead.deadline_at) - Duration::from_secs(5)
    );
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
async fn retry_after_is_honoured_within_the_window() {
    let receiver = Receiver::start(Behaviour::status(429).header("retry-after", "1800")).await;
    let app = TestApp::with(&[("one", &receiver.url("/"), json!({}))]).await;
    app.track("later").await;
    let row = app.until_tried(0, 1).await.delivery;
    assert!(row.due_at.unwrap() >= app.clock.service_now() + Duration::from_secs(1_800));
    receiver.set_script(Behaviour::status(503).header("retry-after", "999999"));
    app.advance_to_due().await;
    let row = app.until_tried(0, 2).await.delivery;
    assert_eq!(row.due_at, Some(row.deadline_at - Duration::from_secs(5)));
}

#[tokio::test]
async fn a_step_of_the_clock_leaves_the_schedule() {
    for step in [5 * 3_600_000_000, -5 * 3_600_000_000] {
        let receiver = Receiver::start(Behaviour::status(500)).await;
        let app = Builder::new().threads().start().await;
        app.apply(pipeline(&[("one", &receiver.url("/"), json!({}))])).await;
        app.track("stepped").await;
        let before = app.until_tried(0, 1).await.delivery;
        app.clock.step(step);
        app.app.dispatcher.settle_overdue().await.unwrap();
        let after = app.delivery(0).await.delivery;
        assert_eq!((after.due_at, after.deadline_at), (before.due_at, before.deadline_at));
        receiver.set_script(Behaviour::ok());
        app.advance_to_due().await;
        let row = app.until_settled(1).await.swap_remove(0);
        assert_eq!(row.delivery.state, State::Delivered, "after a step of {step}");
        let requests = receiver.requests();
        let signed: i64 = requests[1].header("webhook-timestamp").unwrap().parse().unwrap();
        assert_eq!(signed, app.clock.now().as_seconds(), "signed in wall time");
        app.ledger().await;
    }
}

#[tokio::test]
async fn an_unattempted_delivery_past_its_deadline_gets_one_attempt() {
    let receiver = Receiver::start(Behaviour::status(500)).await;
    let url = receiver.url("/");
    let app = TestApp::with(&[("one", &url, json!({}))]).await;
    // A delivery accepted while the circuit is open is not attempted.
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
    assert_eq!(attempts.len(), 1, "one attempt, after its deadline");
    assert!(attempts[0].result.started_at > app.clock.to_wall(untried.deadline_at));
    for row in &rows[..10] {
        for attempt in app.attempts(row.delivery.id).await {
            assert!(attempt.result.started_at <= app.clock.to_wall(row.delivery.deadline_at));
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
    assert_eq!(row.deadline_at, app.clock.service_now() + 4 * HOUR);
    app.ledger().await;
}

#[tokio::test]
async fn a_lease_in_hand_is_extended_and_its_attempt_is_recorded_once() {
    let receiver = Receiver::start(in_turn(vec![Behaviour::hang(), Behaviour::ok()])).await;
    let app = TestApp::with(&[("one", &receiver.url("/"), json!({"timeout_ms": 1_000}))]).await;
    app.track("slow").await;
    receiver.wait_for(1).await;
    app.clock.advance(Duration::from_secs(61));
    assert_eq!(app.app.dispatcher.expire_leases().await.unwrap(), 0, "it is still under way");
    app.until_tried(0, 1).await;
    app.advance_to_due().await;
    let row = app.until_settled(1).await.swap_remove(0);
    assert_eq!(row.delivery.state, State::Delivered);
    let attempts = app.attempts(row.delivery.id).await;
    let recorded: Vec<_> =
        attempts.iter().map(|it| (it.number, it.late, it.result.outcome)).collect();
    assert_eq!(recorded, [(1, false, Outcome::Timeout), (2, false, Outcome::Delivered)]);
    app.ledger().await;
}

/// Leaves the one delivery leased, as a process that was killed does.
const LEAVE_LEASED: &str =
    "UPDATE deliveries SET state = 'leased', due_at = NULL, settled_at = NULL,
        token = token + 1, tried = 0, lease_node_id = 1, lease_expires_at = accepted_at;
    UPDATE ledger SET leased = 1, delivered = 0, pending = 0;
    UPDATE statistics SET delivered = 0; UPDATE statistics_hours SET delivered = 0;";

#[tokio::test]
async fn the_lease_of_a_killed_process_is_recorded_as_unknown_and_the_delivery_is_tried() {
    let receiver = Receiver::start(Behaviour::ok()).await;
    let app = TestApp::with(&[("one", &receiver.url("/"), json!({}))]).await;
    app.track("lost").await;
    app.until_settled(1).await;
    let (dir, clock) = app.stop().await;
    // Each process is killed before it has sent anything, until long after the deadline.
    for (round, unknown) in [(0, 1), (1, 2)] {
        execute(dir.path(), LEAVE_LEASED).await;
        clock.advance(9 * HOUR);
        let app = Builder::after(Arc::clone(&dir), Arc::clone(&clock)).start().await;
        app.app.dispatcher.expire_leases().await.unwrap();
        app.app.dispatcher.settle_overdue().await.unwrap();
        app.advance_to_due().await;
        let row = app.until_settled(1).await.swap_remove(0).delivery;
        assert_eq!(row.state, State::Delivered, "round {round}");
        let outcomes: Vec<_> =
            app.attempts(row.id).await.iter().map(|it| it.result.outcome).collect();
        let lost = outcomes.iter().filter(|it| **it == Outcome::Unknown).count();
        assert_eq!(lost, unknown, "{outcomes:?}");
        app.ledger().await;
        app.stop().await;
    }
}

#[tokio::test]
async fn a_delivery_that_ended_three_processes_dies_at_its_deadline() {
    let receiver = Receiver::start(Behaviour::ok()).await;
    let app = TestApp::with(&[("one", &receiver.url("/"), json!({}))]).await;
    app.track("poison").await;
    app.until_settled(1).await;
    let (dir, clock) = app.stop().await;
    clock.advance(9 * HOUR);
    for round in 0..4 {
        execute(dir.path(), LEAVE_LEASED).await;
        // Nothing is sent: the next attempt is due later, and the process is killed before.
        let app = Builder::after(Arc::clone(&dir), Arc::clone(&clock)).start().await;
        let row = app.delivery(0).await.delivery;
        let died = (State::Dead, Some(Reason::Deadline));
        let wanted = if round < 3 { (State::Pending, None) } else { died };
        assert_eq!((row.state, row.reason), wanted, "round {round}");
        app.stop().await;
    }
}
