//! The conformance suite: what every engine must do. [`conformance`] runs each case on the stores of a
//! factory. What only one engine promises is in the files of its name.

use std::sync::Arc;

use async_trait::async_trait;
use postrider::domain::clock::{ManualClock, Moment, Timestamp};
use postrider::domain::service_time::ServiceTime;
use postrider::store::Store;

mod alerts;
mod audit;
mod backfills;
mod batches;
mod idempotency;
mod jobs;
mod leases;
mod lists;
mod model;
mod moves;
mod outbox;
mod pauses;
mod pipeline;
pub(crate) mod postgres;
mod postgres_guards;
mod postgres_plans;
mod postgres_sharing;
mod retention;
mod siblings;
pub(crate) mod sqlite;
mod sqlite_clock;
mod sqlite_fairness;
mod sqlite_files;
mod sqlite_integrity;
mod sqlite_lists;
mod sqlite_message_lookup;
mod sqlite_recovery;
mod sqlite_staged;
mod sqlite_wal;
mod tokens;
mod world;

/// Opens stores of one engine. Every `open` is on the same data, which the store before has closed.
#[async_trait]
pub(crate) trait StoreFactory: Send + Sync {
    /// Opens the store, the first time empty.
    async fn open(&self, clock: Arc<ManualClock>) -> Arc<dyn Store>;
}

/// When tests begin.
pub(crate) const START: Timestamp = Timestamp::from_micros(1_780_000_000_000_000);
/// The same in service time.
pub(crate) const STARTED: ServiceTime = ServiceTime::from_micros(START.as_micros());
/// The same in both.
pub(crate) const START_MOMENT: Moment = Moment { wall: START, service: STARTED };

/// One test a case, each on a fresh store of `$factory`.
macro_rules! cases {
    ($factory:expr; $($noun:ident: $($name:ident)*;)*) => {
        $(mod $noun {
            $(#[tokio::test]
            async fn $name() {
                crate::store::$noun::$name(crate::store::world::World::new($factory).await).await;
            })*
        })*
    };
}

/// Runs the whole suite on the stores of `$factory`.
macro_rules! conformance {
    ($factory:expr) => {
        cases! { $factory;
            alerts:
                an_alert_is_stored_once_per_subject
                deleting_an_alert_deletes_only_that_alert;
            outbox:
                an_event_and_its_deliveries_are_written_together
                delivery_ids_come_in_the_order_of_the_deliveries
                an_empty_request_gives_no_answers
                a_message_is_accepted_once
                a_message_is_accepted_once_within_a_request
                concurrent_copies_of_a_message_are_accepted_once
                the_same_message_of_another_source_is_another
                rejected_events_are_kept_and_never_duplicates
                a_duplicate_is_detected_after_any_number_of_events
                deduplication_survives_a_restart
                deduplication_lasts_24_hours
                deduplication_survives_clock_steps
                skips_are_written_with_their_event
                a_cancelled_caller_does_not_affect_its_write_batch;
            leases:
                a_claim_leases_what_is_due
                a_claim_takes_no_more_than_its_limit
                a_large_claim_completes_over_several_batches
                mappings_are_claimed_independently
                two_claims_never_give_the_same_lease
                each_lease_increments_the_fencing_token
                a_record_with_a_stale_token_is_late_and_changes_no_state
                a_late_unknown_outcome_is_not_recorded
                a_record_after_the_expiry_is_late
                an_expiry_after_the_record_changes_nothing
                a_record_and_an_expiry_in_one_batch_apply_once
                a_release_makes_no_attempt
                a_retry_is_due_again_and_not_before
                a_dead_letter_has_its_reason
                an_event_dropped_by_its_function_is_discarded
                attempted_deliveries_past_their_deadline_die
                unattempted_deliveries_past_their_deadline_are_leased
                a_resumed_mapping_gives_a_fresh_window
                expired_leases_are_found_oldest_first
                leases_of_ended_nodes_expire_at_once
                next_due_is_the_earliest_due_time_per_mapping
                claimed_deliveries_of_one_event_share_its_memory;
            batches:
                a_batch_is_stored_once_and_returned_with_each_attempt
                a_renewed_lease_has_the_next_token
                pruning_the_last_attempt_of_a_batch_prunes_the_batch;
            jobs:
                a_preview_changes_nothing
                a_redrive_gives_a_fresh_window
                a_redrive_runs_in_steps_and_excludes_later_dead_letters
                a_job_resumes_after_a_restart
                a_cancelled_job_stops
                a_discard_selects_pending_and_dead_deliveries
                every_condition_of_a_job_filter_applies
                a_job_over_events_scans_a_bounded_number_per_step
                jobs_are_listed_newest_first
                an_unknown_job_is_none
                deliveries_of_removed_mappings_become_dead_letters;
            pipeline:
                a_saved_pipeline_reads_back_unchanged
                a_stale_version_changes_nothing
                a_failed_change_rolls_back_the_whole_request
                an_unchanged_definition_creates_no_revision
                a_large_change_is_applied_in_parts_that_events_come_between
                write_keys_move_between_sources_in_any_order
                renamed_rows_keep_their_keys_and_may_exchange_names
                revisions_are_paginated_newest_first
                enabling_a_mapping_resumes_its_deliveries
                a_removed_name_can_be_reused
                removing_a_source_removes_its_destinations_and_mappings
                a_replaced_secret_retires
                credentials_are_stored_by_slot
                a_connection_update_with_a_stale_number_conflicts
                a_destination_that_no_longer_needs_a_connection_resumes;
            backfills:
                a_backfill_makes_one_delivery_of_each_event_without_one
                backfilled_deliveries_are_claimed_found_and_pruned_with_their_event
                a_success_settles_backfilled_siblings
                a_backfill_scans_a_bounded_number_of_events;
            pauses:
                a_pause_is_idempotent_and_keeps_who_paused_since_when
                a_resumption_drains_at_a_rate_until_its_drain_ends
                a_removed_subject_has_no_pause
                pending_deliveries_are_counted_up_to_a_limit
                receivers_waits_are_replaced_and_deleted;
            tokens:
                a_token_reads_back_as_created
                a_token_name_is_unique_until_revoked
                the_last_admin_token_cannot_be_revoked
                a_new_token_file_replaces_the_previous_token
                a_revoked_file_token_is_restored_only_without_another_admin
                last_used_at_never_moves_back;
            audit:
                each_change_appends_exactly_one_audit_entry
                a_failed_change_appends_no_audit_entry
                a_removal_is_audited_with_everything_it_removes
                audit_entries_are_filtered_by_every_condition
                the_audit_chain_verifies_after_a_restart;
            idempotency:
                an_idempotency_key_identifies_one_request_for_24_hours
                a_released_idempotency_key_can_be_reused
                a_request_begun_by_another_process_is_interrupted;
            lists:
                deliveries_are_filtered_by_every_condition
                deliveries_are_filtered_by_event_and_scope
                deliveries_are_paginated_newest_first
                events_are_paginated_newest_first
                attempts_of_a_delivery_are_in_recorded_order
                attempts_are_filtered_by_every_condition_and_paginated
                a_missing_row_is_none
                statistics_add_up
                late_and_unknown_attempts_are_counted_once
                a_step_that_fails_counts_nothing
                the_backlog_is_recorded_for_the_minutes_in_which_it_changed
                dead_letters_are_grouped_by_destination_and_reason
                a_closed_store_returns_closed;
            retention:
                settled_events_are_pruned_after_their_retention
                pending_and_leased_deliveries_are_never_pruned
                dead_letters_have_their_own_retention
                an_event_is_kept_while_one_delivery_is_within_retention
                events_without_deliveries_are_pruned_by_age
                retention_prunes_in_steps
                events_with_future_timestamps_do_not_block_retention
                keys_are_not_reused_after_pruning;
            siblings:
                one_success_settles_the_others_of_its_destination
                a_delivery_settled_by_a_sibling_is_not_retried
                two_successes_in_one_batch_settle_the_third_once
                a_failure_and_a_success_in_one_batch_end_delivered
                a_late_success_settles_no_sibling
                a_redriven_dead_letter_is_settled_by_a_sibling
                retention_prunes_deliveries_settled_by_a_sibling;
            model:
                random_steps_agree_with_a_simple_model;
        }
    };
}

mod on_sqlite {
    conformance! { crate::store::sqlite::SqliteFactory::new() }
}

mod on_postgres {
    conformance! { crate::store::postgres::PostgresFactory::new() }
}
