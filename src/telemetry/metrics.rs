//! Prometheus metrics. Values are kept in memory and updated where they occur; a scrape reads atomics and
//! never queries the database.

use std::sync::atomic::{AtomicI64, AtomicU64};

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use super::postgres_metrics::PostgresMetrics;
use crate::domain::ledger::Ledger;

/// The label of attempts.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Outcome {
    /// The attempt's outcome.
    pub outcome: &'static str,
}

/// The label of dead letters.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Reason {
    /// The dead letter's reason.
    pub reason: &'static str,
}

/// The label of postponed deliveries.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Lacking {
    /// `descriptors`, `ports`, `memory` or `function_worker`.
    pub lacking: &'static str,
}

/// The label of deliveries.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct State {
    /// The delivery's state.
    pub state: &'static str,
}

/// The label of alerts.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct AlertLabel {
    /// The alert's kind.
    pub alert: &'static str,
}

/// The label of intake's responses.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
}

/// The labels of requests over a source's limits.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct SourceLimit {
    /// The source's name.
    pub source: String,
    /// `rate` or `quota`.
    pub limit: &'static str,
}

/// The label of failed authentications.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Credential {
    /// `token`, `sign_in` or `write_key`.
    pub credential: &'static str,
}

/// The label of connections and requests that the listener refused.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct RefusalReason {
    /// Why.
    pub reason: &'static str,
}

/// The label of inboxes.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct InboxLabel {
    /// The inbox's name: `postrider.inbox`, a file's path, or a database's address.
    pub inbox: String,
}

/// The metrics; each field's documentation has the exported name.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    /// `postrider_intake_answers_total`: requests to the tracking API by HTTP status.
    pub intake_answers: Family<Answer, Counter>,
    /// `postrider_source_limited_total`: requests refused by a source's rate or daily quota.
    pub source_limited: Family<SourceLimit, Counter>,
    /// `postrider_authentication_failures_total`: tokens and write keys that are unknown, revoked or expired.
    pub authentication_failures: Family<Credential, Counter>,
    /// `postrider_connections_refused_total`: connections and requests refused before a handler saw them.
    pub connections_refused: Family<RefusalReason, Counter>,
    /// `postrider_accept_seconds`: latency of a tracking request, from its complete body to the response.
    pub accept_seconds: Histogram,
    /// `postrider_arrival_seconds`: latency of a delivery, from acceptance of its event to a 2xx response.
    pub arrival_seconds: Histogram,
    /// `postrider_attempts_total`: attempts by outcome.
    pub attempts: Family<Outcome, Counter>,
    /// `postrider_deliveries_postponed_total`: deliveries that this machine lacked something for: no attempt is
    /// counted.
    pub deliveries_postponed: Family<Lacking, Counter>,
    /// `postrider_dead_letters_total`: deliveries that became dead letters, by reason.
    pub dead_letters: Family<Reason, Counter>,
    /// `postrider_attempts_late_total`: attempts recorded after their lease expired.
    pub attempts_late: Counter,
    /// `postrider_in_flight`: delivery requests in flight.
    pub in_flight: Gauge<i64, AtomicI64>,
    /// `postrider_function_workers`: maximum worker processes of insert functions.
    pub function_workers: Gauge<i64, AtomicI64>,
    /// `postrider_function_workers_busy`: workers that run a function.
    pub function_workers_busy: Gauge<i64, AtomicI64>,
    /// `postrider_function_deliveries_waiting`: leased deliveries that wait for a worker.
    pub function_deliveries_waiting: Gauge<i64, AtomicI64>,
    /// `postrider_function_run_seconds`: duration of a function for one event; of `onBatch`, for each of its
    /// events.
    pub function_run_seconds: Histogram,
    /// `postrider_circuits_open`: mappings whose circuit is open.
    pub circuits_open: Gauge<i64, AtomicI64>,
    /// `postrider_destinations_held`: destinations on hold until they are connected.
    pub destinations_held: Gauge<i64, AtomicI64>,
    /// `postrider_mappings_paused`: mappings whose deliveries are held by a pause.
    pub mappings_paused: Gauge<i64, AtomicI64>,
    /// `postrider_mappings_waiting`: mappings whose receiver asked for no request.
    pub mappings_waiting: Gauge<i64, AtomicI64>,
    /// `postrider_mappings_faulty`: mappings that this version cannot compile.
    pub mappings_faulty: Gauge<i64, AtomicI64>,
    /// `postrider_alerts`: active alerts, by kind.
    pub alerts: Family<AlertLabel, Gauge<i64, AtomicI64>>,
    /// `postrider_alerts_raised_total`: alerts raised, by kind.
    pub alerts_raised: Family<AlertLabel, Counter>,
    /// `postrider_oldest_due_seconds`: age of the oldest due delivery of an enabled mapping.
    pub oldest_due_seconds: Gauge<f64, AtomicU64>,
    /// `postrider_spans_lost_total`: spans dropped before they were exported.
    pub spans_lost: Counter,
    /// `postrider_commit_rows`: events and attempts per write batch.
    pub commit_rows: Histogram,
    /// `postrider_commit_seconds`: duration of a write batch, statements and commit.
    pub commit_seconds: Histogram,
    /// `postrider_wal_bytes`: size of SQLite's write-ahead log.
    pub wal_bytes: Gauge<i64, AtomicI64>,
    /// `postrider_inbox_taken_total`: messages taken from an inbox and accepted, duplicates included.
    pub inbox_taken: Family<InboxLabel, Counter>,
    /// `postrider_inbox_waiting`: messages that wait in an inbox, counted up to 10,000.
    pub inbox_waiting: Family<InboxLabel, Gauge<i64, AtomicI64>>,
    /// `postrider_inbox_oldest_seconds`: age of the oldest message in an inbox.
    pub inbox_oldest_seconds: Family<InboxLabel, Gauge<f64, AtomicU64>>,
    /// `postrider_free_disk_bytes`: free space on the database's file system.
    pub free_disk_bytes: Gauge<i64, AtomicI64>,
    /// Those of a PostgreSQL server.
    pub postgres: PostgresMetrics,
    deliveries: Family<State, Gauge<i64, AtomicI64>>,
    events: Family<EventLabel, Gauge<i64, AtomicI64>>,
}

/// The label of events.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct EventLabel {
    result: &'static str,
}

const LATENCIES: [f64; 16] = [
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 30.0, 300.0,
    3600.0,
];

impl Metrics {
    /// New metrics, all at zero.
    #[must_use]
    pub fn new() -> Self {
        let mut metrics = Self {
            registry: Registry::with_prefix("postrider"),
            intake_answers: Family::default(),
            source_limited: Family::default(),
            authentication_failures: Family::default(),
            connections_refused: Family::default(),
            accept_seconds: Histogram::new(LATENCIES),
            arrival_seconds: Histogram::new(LATENCIES),
            attempts: Family::default(),
            deliveries_postponed: Family::default(),
            dead_letters: Family::default(),
            attempts_late: Counter::default(),
            in_flight: Gauge::default(),
            function_workers: Gauge::default(),
            function_workers_busy: Gauge::default(),
            function_deliveries_waiting: Gauge::default(),
            function_run_seconds: Histogram::new(LATENCIES),
            circuits_open: Gauge::default(),
            destinations_held: Gauge::default(),
            mappings_paused: Gauge::default(),
            mappings_waiting: Gauge::default(),
            mappings_faulty: Gauge::default(),
            alerts: Family::default(),
            alerts_raised: Family::default(),
            oldest_due_seconds: Gauge::default(),
            spans_lost: Counter::default(),
            commit_rows: Histogram::new((0..12).map(|power| f64::from(1u32 << power))),
            commit_seconds: Histogram::new(LATENCIES),
            wal_bytes: Gauge::default(),
            inbox_taken: Family::default(),
            inbox_waiting: Family::default(),
            inbox_oldest_seconds: Family::default(),
            free_disk_bytes: Gauge::default(),
            postgres: PostgresMetrics::default(),
            deliveries: Family::default(),
            events: Family::default(),
        };
        metrics.register_refusals();
        metrics.register_traffic();
        metrics.register_functions();
        metrics.register_store();
        metrics.register_inboxes();
        metrics.postgres.register(&mut metrics.registry);
        metrics
    }

    /// Registers the metrics of what was refused.
    fn register_refusals(&mut self) {
        let to = &mut self.registry;
        to.register(
            "source_limited",
            "Requests refused by a source's rate or daily quota",
            self.source_limited.clone(),
        );
        to.register(
            "authentication_failures",
            "Tokens and write keys that are unknown, revoked or expired",
            self.authentication_failures.clone(),
        );
        to.register(
            "connections_refused",
            "Connections and requests refused before a handler saw them, by reason",
            self.connections_refused.clone(),
        );
    }

    /// Registers the metrics of intake, delivery and alerts.
    fn register_traffic(&mut self) {
        let to = &mut self.registry;
        to.register(
            "intake_answers",
            "Requests to the tracking API by HTTP status",
            self.intake_answers.clone(),
        );
        to.register_with_unit(
            "accept",
            "Latency of a tracking request, from its complete body to the response",
            Unit::Seconds,
            self.accept_seconds.clone(),
        );
        to.register_with_unit(
            "arrival",
            "Latency of a delivery, from acceptance of its event to a 2xx response",
            Unit::Seconds,
            self.arrival_seconds.clone(),
        );
        to.register("attempts", "Attempts by outcome", self.attempts.clone());
        to.register(
            "deliveries_postponed",
            "Deliveries that this machine lacked something for, which counts no attempt",
            self.deliveries_postponed.clone(),
        );
        to.register(
            "dead_letters",
            "Deliveries that became dead letters, by reason",
            self.dead_letters.clone(),
        );
        to.register(
            "attempts_late",
            "Attempts recorded after their lease expired",
            self.attempts_late.clone(),
        );
        to.register("in_flight", "Delivery requests in flight", self.in_flight.clone());
        to.register("circuits_open", "Mappings whose circuit is open", self.circuits_open.clone());
        to.register(
            "destinations_held",
            "Destinations on hold until they are connected",
            self.destinations_held.clone(),
        );
        to.register(
            "mappings_paused",
            "Mappings whose deliveries are held by a pause",
            self.mappings_paused.clone(),
        );
        to.register(
            "mappings_waiting",
            "Mappings whose receiver asked for no request (Retry-After)",
            self.mappings_waiting.clone(),
        );
        to.register(
            "mappings_faulty",
            "Mappings that this version cannot compile",
            self.mappings_faulty.clone(),
        );
        to.register("alerts", "Active alerts, by kind", self.alerts.clone());
        to.register("alerts_raised", "Alerts raised, by kind", self.alerts_raised.clone());
        to.register_with_unit(
            "oldest_due",
            "Age of the oldest due delivery of an enabled mapping",
            Unit::Seconds,
            self.oldest_due_seconds.clone(),
        );
        to.register(
            "spans_lost",
            "Spans dropped before they were exported",
            self.spans_lost.clone(),
        );
    }

    /// Registers the metrics of insert functions.
    fn register_functions(&mut self) {
        let to = &mut self.registry;
        to.register(
            "function_workers",
            "Maximum worker processes of insert functions",
            self.function_workers.clone(),
        );
        to.register(
            "function_workers_busy",
            "Workers that run a function",
            self.function_workers_busy.clone(),
        );
        to.register(
            "function_deliveries_waiting",
            "Leased deliveries that wait for a function worker",
            self.function_deliveries_waiting.clone(),
        );
        to.register_with_unit(
            "function_run",
            "Duration of a function for one event",
            Unit::Seconds,
            self.function_run_seconds.clone(),
        );
    }

    /// Registers the metrics of inboxes.
    fn register_inboxes(&mut self) {
        let to = &mut self.registry;
        to.register(
            "inbox_taken",
            "Messages taken from an inbox and accepted, duplicates included",
            self.inbox_taken.clone(),
        );
        to.register(
            "inbox_waiting",
            "Messages that wait in an inbox, counted up to 10,000",
            self.inbox_waiting.clone(),
        );
        to.register_with_unit(
            "inbox_oldest",
            "Age of the oldest message in an inbox",
            Unit::Seconds,
            self.inbox_oldest_seconds.clone(),
        );
    }

    /// Registers the metrics of the database and its ledger.
    fn register_store(&mut self) {
        let to = &mut self.registry;
        to.register("commit_rows", "Events and attempts per write batch", self.commit_rows.clone());
        to.register_with_unit(
            "commit",
            "Duration of a write batch, statements and commit",
            Unit::Seconds,
            self.commit_seconds.clone(),
        );
        to.register_with_unit(
            "wal",
            "Size of SQLite's write-ahead log (WAL)",
            Unit::Bytes,
            self.wal_bytes.clone(),
        );
        to.register_with_unit(
            "free_disk",
            "Free space on the database's file system",
            Unit::Bytes,
            self.free_disk_bytes.clone(),
        );
        to.register("deliveries", "Deliveries by state", self.deliveries.clone());
        to.register(
            "events",
            "Events by result: accepted, rejected or duplicate",
            self.events.clone(),
        );
    }

    /// The text exposition of a scrape, with the ledger's current counts.
    #[must_use]
    pub fn encode(&self, ledger: &Ledger) -> String {
        let states = [
            ("pending", ledger.pending),
            ("leased", ledger.leased),
            ("delivered", ledger.delivered),
            ("dead", ledger.dead),
            ("discarded", ledger.discarded),
        ];
        for (state, count) in states {
            self.deliveries.get_or_create(&State { state }).set(signed(count));
        }
        let results = [
            ("accepted", ledger.events_accepted),
            ("rejected", ledger.events_rejected),
            ("duplicate", ledger.events_duplicate),
        ];
        for (result, count) in results {
            self.events.get_or_create(&EventLabel { result }).set(signed(count));
        }
        let mut text = String::new();
        // Writing to a String cannot fail.
        let _ = encode(&mut text, &self.registry);
        text
    }
}

fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}
