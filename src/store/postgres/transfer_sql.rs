//! The SQL that reads and writes the tables of a move on PostgreSQL.

use crate::store::transfer::{Kind, Table};

/// Tables whose next key is that of a sequence.
pub(super) const NEXT_KEYS: [&str; 10] = [
    "sources",
    "destinations",
    "shared_secrets",
    "credentials",
    "mappings",
    "mapping_revisions",
    "jobs",
    "nodes",
    "tokens",
    "test_sends",
];

/// Where the rows of a table are.
pub(super) fn rows_of(table: &Table) -> String {
    match table.name {
        "ledger" => {
            let sums = table.columns.iter();
            let sums = sums.map(|it| format!("coalesce(sum({0}), 0)::bigint AS {0}", it.name));
            format!("(SELECT {} FROM ledger) AS t", sums.collect::<Vec<_>>().join(", "))
        }
        "source_usage" => "(SELECT source_id, day, sum(events)::bigint AS events FROM source_usage
                GROUP BY source_id, day) AS t"
            .to_owned(),
        "service_time" => {
            "(SELECT service_at, server_at AS clock_at FROM service_time) AS t".to_owned()
        }
        name => format!("{name} AS t"),
    }
}

/// A page behind a key. Text is in the order of its bytes, whatever the database's collation is.
pub(super) fn select(table: &Table, is_first: bool, limit: usize) -> String {
    let columns = table.columns.iter().map(|it| match it.kind {
        Kind::Flag => format!("t.{}::int::bigint", it.name),
        Kind::Digest => format!("uuid_send(t.{})", it.name),
        Kind::Keys => format!("ARRAY(SELECT k FROM unnest(t.{}) AS k ORDER BY k)", it.name),
        Kind::Int | Kind::Text | Kind::Bytes => format!("t.{}", it.name),
    });
    let mut sql =
        format!("SELECT {} FROM {}", columns.collect::<Vec<_>>().join(", "), rows_of(table));
    let key: Vec<_> = table.columns.iter().take(table.key).collect();
    if key.is_empty() {
        return sql;
    }
    let names = key.iter().map(|it| match it.kind {
        Kind::Text => format!("t.{} COLLATE \"C\"", it.name),
        Kind::Int | Kind::Flag | Kind::Bytes | Kind::Digest | Kind::Keys => {
            format!("t.{}", it.name)
        }
    });
    let names = names.collect::<Vec<_>>().join(", ");
    if !is_first {
        let values = key.iter().enumerate().map(|(index, it)| match it.kind {
            Kind::Digest => format!("${}::uuid", index + 1),
            Kind::Int | Kind::Flag | Kind::Text | Kind::Bytes | Kind::Keys => {
                format!("${}", index + 1)
            }
        });
        let values = values.collect::<Vec<_>>().join(", ");
        sql.push_str(&format!(" WHERE ({names}) > ({values})"));
    }
    sql.push_str(&format!(" ORDER BY {names} LIMIT {limit}"));
    sql
}

/// An insert of rows whose columns are arrays.
pub(super) fn insert(table: &Table) -> String {
    let names = table.columns.iter().map(|it| it.name).collect::<Vec<_>>().join(", ");
    let arrays = table.columns.iter().enumerate().map(|(index, it)| {
        let kind = match it.kind {
            Kind::Int | Kind::Flag => "bigint",
            Kind::Text | Kind::Keys => "text",
            Kind::Bytes | Kind::Digest => "bytea",
        };
        format!("${}::{kind}[]", index + 1)
    });
    let arrays = arrays.collect::<Vec<_>>().join(", ");
    let values = table.columns.iter().map(|it| match it.kind {
        Kind::Flag => format!("s.{} <> 0", it.name),
        Kind::Digest => format!("encode(s.{}, 'hex')::uuid", it.name),
        Kind::Keys => format!("string_to_array(s.{}, ',')::bigint[]", it.name),
        Kind::Int | Kind::Text | Kind::Bytes => format!("s.{}", it.name),
    });
    let values = values.collect::<Vec<_>>().join(", ");
    let rows = format!("WITH s AS (SELECT * FROM unnest({arrays}) AS u ({names}))");
    let into = |columns: &str, values: &str| {
        format!("{rows} INSERT INTO {} ({columns}) SELECT {values} FROM s", table.name)
    };
    match table.name {
        "deliveries" => format!("{rows} {DELIVERIES}"),
        "nodes" => {
            into(&format!("{names}, slot, ended_at"), &format!("{values}, 0, s.last_seen_at"))
        }
        "ledger" => into(&format!("{names}, id"), &format!("{values}, 0")),
        "source_usage" => into(&format!("{names}, writer"), &format!("{values}, 0")),
        "dedup" => into(&format!("{names}, slot"), &format!("{values}, 0")),
        "service_time" => into("id, service_at, server_at", "1, s.service_at, s.clock_at"),
        "pipeline" => format!(
            "{} ON CONFLICT (id) DO UPDATE SET version = excluded.version",
            into(&names, &values)
        ),
        _ => into(&names, &values),
    }
}

/// A delivery is a row of the table of its state.
const DELIVERIES: &str = ",
    pending_rows AS (INSERT INTO pending (id, event_id, mapping_id, destination_id, accepted_at, deadline_at,
            token, tried, last_outcome, last_status, due_at)
        SELECT id, event_id, mapping_id, destination_id, accepted_at, deadline_at, token, tried,
            last_outcome, last_status, due_at FROM s WHERE state = 'pending'),
    leased_rows AS (INSERT INTO leased (id, event_id, mapping_id, destination_id, accepted_at, deadline_at,
            token, tried, last_outcome, last_status, node_id, lease_expires_at)
        SELECT id, event_id, mapping_id, destination_id, accepted_at, deadline_at, token, tried,
            last_outcome, last_status, lease_node_id, lease_expires_at FROM s WHERE state = 'leased'),
    dead_rows AS (INSERT INTO dead (id, event_id, mapping_id, destination_id, accepted_at, deadline_at,
            token, tried, last_outcome, last_status, settled_at, reason)
        SELECT id, event_id, mapping_id, destination_id, accepted_at, deadline_at, token, tried,
            last_outcome, last_status, settled_at, reason FROM s WHERE state = 'dead')
    INSERT INTO settled (id, event_id, mapping_id, destination_id, accepted_at, deadline_at, token, tried,
        last_outcome, last_status, settled_at, state, settled_by)
    SELECT id, event_id, mapping_id, destination_id, accepted_at, deadline_at, token, tried, last_outcome,
        last_status, settled_at, state, settled_by FROM s WHERE state NOT IN ('pending', 'leased', 'dead')";
