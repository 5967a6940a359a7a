//! Query plans: every list and every query of a job is a bounded scan by key.

use sqlx::sqlite::SqliteConnection;
use sqlx::{AssertSqlSafe, Connection, QueryBuilder, Sqlite};

use super::attempt_list;
use super::claim::FIND_OVERDUE;
use super::dedup::lookup;
use super::job_selection::Selection;
use super::keyset::Scan;
use super::pipeline_change;
use super::scan::{candidates, dead_for};
use crate::domain::attempt::Outcome;
use crate::domain::clock::Timestamp;
use crate::domain::delivery::{Reason, State};
use crate::domain::id::{DeliveryId, DestinationId, MappingId, SourceId};
use crate::domain::job::{JobAction, JobFilter};
use crate::store::statement::{self, KeyRange};
use crate::store::{AttemptQuery, DeliveryQuery, EventConditions, EventQuery, StatusRange};

const SCHEMA: [&str; 5] = [
    include_str!("../../../migrations/sqlite/0001_outbox.sql"),
    include_str!("../../../migrations/sqlite/0002_removed.sql"),
    include_str!("../../../migrations/sqlite/0003_service_time.sql"),
    include_str!("../../../migrations/sqlite/0004_pauses_statistics_limits.sql"),
    include_str!("../../../migrations/sqlite/0005_lookups.sql"),
];
const BOUNDS: KeyRange = KeyRange { floor: 1, before: 9 };

/// The steps of a statement's plan.
async fn plan(conn: &mut SqliteConnection, sql: QueryBuilder<Sqlite>) -> Vec<String> {
    let text = format!("EXPLAIN QUERY PLAN {}", sql.sql().as_str());
    let steps: Vec<(i64, i64, i64, String)> =
        sqlx::query_as(AssertSqlSafe(text)).fetch_all(conn).await.unwrap();
    steps.into_iter().map(|(_, _, _, step)| step).collect()
}

async fn database() -> SqliteConnection {
    let mut conn = SqliteConnection::connect("sqlite::memory:").await.unwrap();
    for sql in SCHEMA {
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut conn).await.unwrap();
    }
    conn
}

/// Whether a plan only scans keys in their order.
fn is_bounded(plan: &[String]) -> bool {
    plan.iter().all(|step| {
        let scans = step.starts_with("SCAN") && !step.contains("json_each");
        !scans && !step.contains("TEMP B-TREE")
    })
}

fn conditions() -> EventConditions {
    EventConditions {
        source_id: Some(SourceId(1)),
        kind: None,
        name: Some("name".to_owned()),
        user_id: Some("user".to_owned()),
        message_id: Some("message".to_owned()),
    }
}

#[tokio::test]
async fn overdue_deliveries_are_found_by_their_index() {
    let mut conn = database().await;
    let steps = plan(&mut conn, QueryBuilder::new(FIND_OVERDUE)).await;
    let by_index =
        "USING INDEX deliveries_overdue (mapping_id=? AND deadline_at>? AND deadline_at<?)";
    assert!(steps.iter().any(|step| step.contains(by_index)), "{steps:?}");
}

#[tokio::test]
async fn a_destination_is_changed_without_reading_others() {
    let mut conn = database().await;
    for sql in pipeline_change::of_destination() {
        let steps = plan(&mut conn, QueryBuilder::new(sql)).await;
        assert!(is_bounded(&steps), "{sql}: {steps:?}");
    }
}

#[tokio::test]
async fn every_list_of_attempts_is_a_scan_by_key() {
    let mut conn = database().await;
    let all = AttemptQuery { limit: 50, ..AttemptQuery::default() };
    let at = Some(Timestamp::from_micros(1));
    for query in [
        all.clone(),
        AttemptQuery { mapping_id: Some(MappingId(1)), ..all.clone() },
        AttemptQuery { destination_id: Some(DestinationId(1)), ..all.clone() },
        AttemptQuery { among: Some(vec![DestinationId(1)]), ..all.clone() },
        AttemptQuery { delivery_id: Some(DeliveryId(1)), ..all.clone() },
        AttemptQuery { outcome: Some(Outcome::Delivered), ..all.clone() },
        AttemptQuery { status: Some(StatusRange { from: 500, to: 599 }), ..all.clone() },
        AttemptQuery { recorded_from: at, recorded_until: at, ..all.clone() },
    ] {
        let steps =
            plan(&mut conn, statement::attempts(&query, attempt_list::rows(&query), BOUNDS)).await;
        assert!(is_bounded(&steps), "{query:?}: {steps:#?}");
    }
}

#[tokio::test]
async fn every_list_of_deliveries_is_a_scan_by_key() {
    let mut conn = database().await;
    let all = DeliveryQuery { limit: 50, ..DeliveryQuery::default() };
    let at = Some(Timestamp::from_micros(1));
    let queries = [
        all.clone(),
        DeliveryQuery { mapping_id: Some(MappingId(1)), ..all.clone() },
        DeliveryQuery { destination_id: Some(DestinationId(1)), ..all.clone() },
        DeliveryQuery { among: Some(vec![DestinationId(1)]), ..all.clone() },
        DeliveryQuery { outcome: Some(Outcome::ServerError), ..all.clone() },
        DeliveryQuery { status: Some(StatusRange { from: 500, to: 599 }), ..all.clone() },
        DeliveryQuery { event: conditions(), ..all.clone() },
        DeliveryQuery { accepted_from: at, accepted_until: at, ..all.clone() },
        DeliveryQuery { state: Some(State::Delivered), ..all.clone() },
        DeliveryQuery { reason: Some(Reason::Deadline), ..all },
    ];
    let rows = Reason::ALL.map(dead_for);
    for query in queries {
        for rows in rows.into_iter().chain([candidates(None), candidates(Some(State::Dead))]) {
            let sql = statement::deliveries(&query, rows, BOUNDS, |_: &mut QueryBuilder<_>| {});
            let plan = plan(&mut conn, sql).await;
            assert!(is_bounded(&plan), "{query:?} {rows}: {plan:?}");
        }
    }
}

#[tokio::test]
async fn every_list_of_events_is_a_scan_by_key() {
    let mut conn = database().await;
    let all = EventQuery { limit: 50, ..EventQuery::default() };
    let at = Some(Timestamp::from_micros(1));
    let queries = [
        all.clone(),
        EventQuery { event: conditions(), ..all.clone() },
        EventQuery { among: Some(vec![SourceId(1)]), ..all.clone() },
        EventQuery { accepted_from: at, accepted_until: at, ..all },
    ];
    for query in queries {
        for scan in [Scan::EVENTS, Scan::REJECTED] {
            let plan = plan(&mut conn, statement::events(&query, scan.rows, BOUNDS)).await;
            assert!(is_bounded(&plan), "{query:?}: {plan:?}");
        }
    }
}

#[tokio::test]
async fn a_message_is_looked_up_by_its_key() {
    let mut conn = database().await;
    let steps = plan(&mut conn, QueryBuilder::new(lookup::FIND)).await;
    let scanned = steps.iter().filter_map(|step| step.strip_prefix("SCAN "));
    let tables: Vec<_> = scanned.filter(|it| it.starts_with("dedup")).collect();
    assert_eq!(tables, ["dedup_log"], "{steps:?}");
    assert_eq!(steps.iter().filter(|step| step.starts_with("SEARCH dedup_")).count(), 3);
}

#[tokio::test]
async fn every_query_of_a_job_is_a_scan_by_key() {
    let mut conn = database().await;
    let at = Some(Timestamp::from_micros(1));
    let filters = [
        JobFilter::default(),
        JobFilter { event: conditions(), ..JobFilter::default() },
        JobFilter { among: Some(vec![DestinationId(1)]), ..JobFilter::default() },
        JobFilter { outcome: Some(Outcome::ServerError), ..JobFilter::default() },
        JobFilter { accepted_from: at, accepted_until: at, ..JobFilter::default() },
        JobFilter { delivery_ids: vec![DeliveryId(1), DeliveryId(2)], ..JobFilter::default() },
    ];
    for filter in &filters {
        for state in [None, Some(State::Dead)] {
            let (action, rows) = (JobAction::Discard, candidates(state));
            let selection = Selection { action, filter, rows, of_event: None, after: 1, upto: 9 };
            for sql in [selection.statement_of_end(5), selection.statement_of_first(5)] {
                let plan = plan(&mut conn, sql).await;
                assert!(is_bounded(&plan), "{filter:?} {state:?}: {plan:?}");
            }
        }
    }
}

#[tokio::test]
async fn a_full_scan_or_sort_is_not_bounded() {
    let mut conn = database().await;
    for sql in ["SELECT * FROM deliveries", "SELECT * FROM events ORDER BY received_at"] {
        let plan = plan(&mut conn, QueryBuilder::new(sql)).await;
        assert!(!is_bounded(&plan), "{sql}: {plan:?}");
    }
}
