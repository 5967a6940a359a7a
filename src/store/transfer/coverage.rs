//! Which column of a schema is carried by which table of a move, and which are not, with the reason. A test
//! compares this with the schemas: a column that is in neither list fails it.

use super::tables::TABLES;
use crate::domain::database::DatabaseAddress;

/// Columns of SQLite's schema that no table of a move has under this name.
const SQLITE: &[(&str, &[&str])] = &[
    // The schema's own version.
    ("_sqlx_migrations", &["*"]),
    ("sqlite_sequence", &["*"]),
    // Marks of moves.
    ("moves", &["*"]),
    ("move_progress", &["*"]),
    // Empty between changes; a move waits for a change that is not applied whole.
    ("decided_change", &["*"]),
    ("staged_changes", &["*"]),
    // `events.delivery_ids` and `events.skips`.
    ("events", &["first_delivery_id", "delivery_count"]),
    ("backfilled", &["*"]),
    ("skips", &["*"]),
    // Counted from the attempts.
    ("batches", &["attempt_count"]),
    // `dedup`; what expires when is set anew, see `SqliteSide::finish`.
    ("dedup_0", &["*"]),
    ("dedup_1", &["*"]),
    ("dedup_2", &["*"]),
    ("dedup_log", &["*"]),
    ("deduplication", &["*"]),
    // One row. The next keys follow from the rows, `statistics` is the end of `statistics_log`.
    ("ledger", &["id", "next_event_id", "next_delivery_id", "next_attempt_id", "statistics"]),
    // `service_time.clock_at`; one row.
    ("service_time", &["id", "wall_at"]),
    // In the order of the log.
    ("statistics_log", &["id"]),
];

/// The same of PostgreSQL's.
const POSTGRES: &[(&str, &[&str])] = &[
    ("_sqlx_migrations", &["*"]),
    ("moves", &["*"]),
    ("move_progress", &["*"]),
    // `deliveries`, by state.
    ("pending", &["*"]),
    ("leased", &["*"]),
    ("dead", &["*"]),
    ("settled", &["*"]),
    // `dedup`; what expires when is set anew, see `PostgresSide::finish`.
    ("dedup", &["slot"]),
    ("dedup_slots", &["*"]),
    // The sum over the writers.
    ("ledger", &["id"]),
    ("source_usage", &["writer"]),
    // Nodes of the source have ended. A slot is in keys that are given from now on; the rest is of live nodes.
    (
        "nodes",
        &[
            "slot",
            "ended_at",
            "program",
            "schema_version",
            "steady_since",
            "configuration",
            "offset_us",
            "least_offset_us",
        ],
    ),
    // What live nodes share: it is reset.
    ("ownership", &["*"]),
    ("versions", &["*"]),
    ("compatibility", &["*"]),
    ("destination_owners", &["*"]),
    ("circuits", &["*"]),
    ("source_admissions", &["*"]),
    ("token_refreshes", &["*"]),
    // A move waits until the nodes have drained it.
    ("inbox", &["*"]),
    // `service_time.clock_at`; one row.
    ("service_time", &["id", "server_at"]),
    ("statistics_log", &["id"]),
];

const fn apart(database: &DatabaseAddress) -> &'static [(&'static str, &'static [&'static str])] {
    match database {
        DatabaseAddress::File(_) => SQLITE,
        DatabaseAddress::Server(_) => POSTGRES,
    }
}

/// Whether a move knows a column of a table of a database's schema.
#[must_use]
pub fn knows_column(database: &DatabaseAddress, table: &str, column: &str) -> bool {
    let is_apart = apart(database).iter().any(|(name, columns)| {
        *name == table && columns.iter().any(|it| ["*", column].contains(it))
    });
    let is_carried = TABLES
        .iter()
        .any(|carried| carried.name == table && carried.columns.iter().any(|it| it.name == column));
    is_apart || is_carried
}
