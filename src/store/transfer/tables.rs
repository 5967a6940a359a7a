//! The tables that are moved, in the order in which they are written, with their columns as both engines can have
//! them. What an engine has otherwise is in its own `transfer.rs`.

/// How a column's values are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::store) enum Kind {
    Int,
    /// 0 or 1.
    Flag,
    Text,
    Bytes,
    /// 16 bytes.
    Digest,
    /// Keys of other rows.
    Keys,
}

/// A column.
#[derive(Clone, Copy, Debug)]
pub(in crate::store) struct Column {
    pub(in crate::store) name: &'static str,
    pub(in crate::store) kind: Kind,
}

/// A table.
#[derive(Clone, Copy, Debug)]
pub(in crate::store) struct Table {
    pub(in crate::store) name: &'static str,
    /// The first columns are the key, by which it is read in pages. Without a key it is read at once.
    pub(in crate::store) key: usize,
    pub(in crate::store) columns: &'static [Column],
    /// Whether the schema makes it with its row.
    pub(in crate::store) seeded: bool,
    /// Whether it is written in one transaction with the next table, to which it refers and which refers to it.
    pub(in crate::store) with_next: bool,
}

const fn column(name: &'static str, kind: Kind) -> Column {
    Column { name, kind }
}

const fn int(name: &'static str) -> Column {
    column(name, Kind::Int)
}

const fn flag(name: &'static str) -> Column {
    column(name, Kind::Flag)
}

const fn text(name: &'static str) -> Column {
    column(name, Kind::Text)
}

const fn bytes(name: &'static str) -> Column {
    column(name, Kind::Bytes)
}

const fn table(name: &'static str, key: usize, columns: &'static [Column]) -> Table {
    Table { name, key, columns, seeded: false, with_next: false }
}

/// Every table.
pub(in crate::store) const TABLES: &[Table] = &[
    table(
        "sources",
        1,
        &[
            int("id"),
            text("name"),
            flag("enabled"),
            text("limits"),
            int("created_at"),
            int("removed_at"),
        ],
    ),
    table(
        "write_keys",
        1,
        &[
            int("source_id"),
            bytes("digest"),
            bytes("sealed_id"),
            text("key_id"),
            bytes("sealed"),
            int("created_at"),
            int("retires_at"),
        ],
    ),
    table(
        "destinations",
        1,
        &[
            int("id"),
            int("source_id"),
            text("name"),
            flag("enabled"),
            int("resumed_at"),
            text("settings"),
            int("created_at"),
            int("removed_at"),
        ],
    ),
    table(
        "shared_secrets",
        1,
        &[
            int("id"),
            int("destination_id"),
            bytes("sealed_id"),
            text("key_id"),
            bytes("sealed"),
            int("created_at"),
            int("retires_at"),
        ],
    ),
    table(
        "credentials",
        1,
        &[
            int("id"),
            int("destination_id"),
            text("slot"),
            text("header"),
            bytes("sealed_id"),
            text("key_id"),
            bytes("sealed"),
            int("created_at"),
        ],
    ),
    table(
        "connections",
        1,
        &[
            int("destination_id"),
            int("number"),
            int("connected_at"),
            int("expires_at"),
            bytes("sealed_id"),
            text("key_id"),
            bytes("sealed"),
            int("created_at"),
            text("fault"),
        ],
    ),
    Table {
        with_next: true,
        ..table(
            "mappings",
            1,
            &[
                int("id"),
                int("destination_id"),
                text("name"),
                flag("enabled"),
                int("resumed_at"),
                int("revision_id"),
                int("created_at"),
                int("removed_at"),
            ],
        )
    },
    table(
        "mapping_revisions",
        1,
        &[
            int("id"),
            int("mapping_id"),
            int("number"),
            text("definition"),
            int("created_at"),
            text("created_by"),
        ],
    ),
    Table { seeded: true, ..table("pipeline", 1, &[int("id"), int("version")]) },
    table(
        "pauses",
        2,
        &[
            text("kind"),
            int("subject_id"),
            text("state"),
            int("changed_at"),
            int("resumed_at"),
            text("changed_by"),
            text("cause"),
            text("note"),
            int("rate_per_second"),
        ],
    ),
    table("receiver_waits", 1, &[int("mapping_id"), int("until_at")]),
    table(
        "tokens",
        1,
        &[
            int("id"),
            text("name"),
            text("role"),
            text("scope"),
            bytes("digest"),
            int("created_at"),
            text("created_by"),
            int("expires_at"),
            int("last_used_at"),
            int("revoked_at"),
        ],
    ),
    table(
        "repeats",
        2,
        &[
            int("token_id"),
            text("key"),
            bytes("fingerprint"),
            int("process"),
            int("begun_at"),
            bytes("sealed_id"),
            text("key_id"),
            bytes("sealed"),
            int("answered_at"),
        ],
    ),
    table(
        "jobs",
        1,
        &[
            int("id"),
            text("action"),
            text("filter"),
            int("rate_per_second"),
            text("actor"),
            text("note"),
            text("state"),
            int("matched"),
            flag("more"),
            int("done"),
            int("upper_id"),
            int("cursor"),
            int("created_at"),
            int("finished_at"),
        ],
    ),
    table("nodes", 1, &[int("id"), text("name"), int("started_at"), int("last_seen_at")]),
    table("service_time", 0, &[int("service_at"), int("clock_at")]),
    table("clock_steps", 1, &[int("service_at"), int("offset_us")]),
    table(
        "alerts",
        2,
        &[
            text("kind"),
            text("subject"),
            text("detail"),
            int("raised_at"),
            int("cleared_at"),
            flag("told"),
        ],
    ),
    table("levels", 1, &[int("minute_at"), int("waiting"), int("dead")]),
    table("source_usage", 2, &[int("source_id"), int("day"), int("events")]),
    table(
        "test_sends",
        1,
        &[
            int("id"),
            int("mapping_id"),
            int("event_id"),
            int("node_id"),
            int("revision_id"),
            int("started_at"),
            int("duration_us"),
            text("outcome"),
            int("status"),
            text("error"),
            text("console"),
            text("url"),
            text("request_headers"),
            bytes("body_sha256"),
            text("response_headers"),
            bytes("response_body"),
            flag("response_truncated"),
        ],
    ),
    table(
        "audit",
        1,
        &[
            int("number"),
            int("at"),
            text("actor"),
            text("role"),
            text("from_address"),
            text("request_id"),
            text("note"),
            text("action"),
            text("subject"),
            text("before"),
            text("after"),
            bytes("hash"),
        ],
    ),
    table("statistics", 2, STATISTICS),
    table("statistics_hours", 2, STATISTICS),
    table("statistics_log", 0, &[bytes("counts")]),
    table(
        "events",
        1,
        &[
            int("id"),
            int("source_id"),
            int("received_at"),
            text("type"),
            text("message_id"),
            text("name"),
            text("user_id"),
            column("delivery_ids", Kind::Keys),
            column("skips", Kind::Keys),
            text("envelope"),
            text("rejection"),
            text("trace"),
            bytes("body"),
        ],
    ),
    table(
        "deliveries",
        1,
        &[
            int("id"),
            int("event_id"),
            int("mapping_id"),
            int("destination_id"),
            text("state"),
            int("accepted_at"),
            int("due_at"),
            int("deadline_at"),
            int("token"),
            int("tried"),
            int("lease_node_id"),
            int("lease_expires_at"),
            int("settled_at"),
            text("reason"),
            text("last_outcome"),
            int("last_status"),
            int("settled_by"),
        ],
    ),
    table(
        "batches",
        1,
        &[
            int("id"),
            int("size"),
            text("webhook_id"),
            int("status"),
            text("url"),
            bytes("request_headers"),
            bytes("body_sha256"),
            bytes("response_headers"),
            bytes("response_body"),
            flag("response_truncated"),
        ],
    ),
    table(
        "attempts",
        1,
        &[
            int("id"),
            int("delivery_id"),
            int("number"),
            flag("late"),
            int("recorded_at"),
            int("node_id"),
            int("revision_id"),
            int("started_at"),
            int("duration_us"),
            text("outcome"),
            int("status"),
            text("error"),
            text("console"),
            int("batch_id"),
            text("url"),
            bytes("request_headers"),
            bytes("body_sha256"),
            bytes("response_headers"),
            bytes("response_body"),
            flag("response_truncated"),
        ],
    ),
    table("dedup", 1, &[column("key", Kind::Digest), int("event_id")]),
    Table {
        seeded: true,
        ..table(
            "ledger",
            0,
            &[
                int("events_accepted"),
                int("events_rejected"),
                int("events_duplicate"),
                int("accepted"),
                int("pending"),
                int("leased"),
                int("delivered"),
                int("dead"),
                int("discarded"),
                int("delivered_pruned"),
                int("dead_pruned"),
                int("discarded_pruned"),
            ],
        )
    },
];

const STATISTICS: &[Column] = &[
    int("minute_at"),
    int("mapping_id"),
    int("accepted"),
    int("attempts"),
    int("delivered"),
    int("dead"),
    int("failed"),
    int("attempt_us"),
    int("took_0"),
    int("took_1"),
    int("took_2"),
    int("took_3"),
    int("took_4"),
    int("took_5"),
    int("took_6"),
    int("took_7"),
    int("took_8"),
    int("took_9"),
    int("took_10"),
    int("took_11"),
];
