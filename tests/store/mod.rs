//! The conformance suite: what every engine must do. [`conformance`] runs each case on the stores of a
//! factory. What only one engine promises is in the files of its name.

use std::sync::Arc;

use async_trait::async_trait;
use postrider::domain::clock::{ManualClock, Timestamp};
use postrider::store::Store;

mod alerts;
mod audit;
mod batches;
mod idempotency;
mod jobs;
mod leases;
mod lists;
mod model;
mod outbox;
mod pipeline;
mod retention;
mod siblings;
pub(crate) mod sqlite;
mod sqlite_clock;
mod sqlite_integrity;
mod sqlite_lists;
mod sqlite_message_lookup;
mod sqlite_recovery;
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
                an_alert_is_kept_once_for_what_it_is_about
                a_forgotten_alert_is_gone_and_no_other;
            outbox:
                an_event_and_its_deliveries_are_written_together
                delivery_ids_come_in_the_order_of_the_deliveries
                an_empty_request_gives_no_answers
                a_message_is_accepted_once
                a_message_is_accepted_once_within_a_request
                concurrent_copies_of_a_message_are_accepted_once
                the_same_message_of_another_source_is_another
                rejected_events_are_kept_and_never_duplicates
                duplicates_are_found_however_many_came_since
                deduplication_outlives_a_restart
                deduplication_lasts_a_day_and_ends
                deduplication_outlasts_jumps_of_the_clock
                skips_are_written_with_their_event
                a_dropped_caller_does_not_disturb_the_others;
            leases:
                a_claim_leases_what_is_due
                a_claim_takes_no_more_than_its_limit
                a_large_claim_is_given_in_the_end
                mappings_are_claimed_apart
                two_claims_never_give_the_same_lease
                each_lease_has_the_next_token
                a_stale_record_is_late
                a_late_unknown_is_not_written
                a_record_after_the_expiry_is_late
                an_expiry_after_the_record_changes_nothing
                a_record_and_an_expiry_in_one_commit_apply_once
                a_release_makes_no_attempt
                a_retry_is_due_again_and_not_before
                a_dead_letter_has_its_reason
                what_its_function_drops_is_discarded_for_good
                overdue_deliveries_die_when_they_were_tried
                overdue_deliveries_that_were_never_tried_are_leased
                a_resumed_mapping_gives_a_fresh_window
                expired_leases_are_found_oldest_first
                leases_of_ended_nodes_expire_at_once
                next_due_tells_what_waits
                deliveries_of_an_event_share_it_in_memory;
            batches:
                a_batch_is_kept_once_and_shown_with_each_of_its_attempts
                a_renewed_lease_goes_on_under_the_next_token
                a_batch_goes_with_the_last_of_its_attempts;
            jobs:
                a_preview_changes_nothing
                a_redrive_gives_a_fresh_window
                a_redrive_goes_in_steps_and_leaves_later_deaths
                a_job_goes_on_after_a_restart
                a_cancelled_job_stops
                a_discard_takes_pending_and_dead
                every_condition_of_a_filter_narrows
                a_job_that_seeks_events_looks_at_a_bounded_number_a_step
                jobs_are_listed_newest_first
                unknown_jobs_are_none
                deliveries_of_removed_mappings_are_discarded;
            pipeline:
                what_is_put_is_read_back
                a_stale_version_changes_nothing
                a_failing_change_undoes_the_others
                only_a_different_definition_makes_a_revision
                revisions_come_newest_first_in_pages
                enabling_again_resumes
                removed_names_are_free_again
                removing_a_source_removes_all_below_it
                a_replaced_secret_retires
                credentials_are_put_into_their_slots
                a_connection_is_changed_by_whoever_saw_it_last
                what_needs_no_connection_any_more_resumes;
            tokens:
                a_token_reads_back_as_it_was_made
                a_name_is_taken_until_its_token_is_revoked
                the_last_admin_stays
                the_token_of_the_file_replaces_the_one_before_it
                a_revoked_token_of_the_file_comes_back_only_when_nobody_is_left
                a_use_is_noted_and_never_moves_back;
            audit:
                each_change_leaves_its_entry_and_no_other
                what_fails_leaves_no_entry
                what_is_removed_is_told_with_all_below_it
                entries_are_narrowed_by_every_condition
                the_chain_holds_over_a_restart;
            idempotency:
                a_key_stands_for_one_request_for_a_day
                a_key_that_is_freed_is_free
                what_another_process_began_is_interrupted;
            lists:
                deliveries_are_narrowed_by_every_condition
                deliveries_are_narrowed_by_what_their_event_is_and_who_may_see_them
                deliveries_come_newest_first_in_pages
                events_come_newest_first_in_pages
                attempts_come_in_the_order_recorded
                attempts_are_narrowed_by_every_condition_and_come_in_pages
                what_does_not_exist_is_none
                statistics_add_up
                the_backlog_is_recorded_for_the_minutes_in_which_it_changed
                dead_letters_are_grouped_by_destination_and_reason
                a_closed_store_says_so;
            retention:
                settled_events_go_after_their_retention
                what_is_pending_or_leased_stays
                dead_letters_have_their_own_retention
                one_young_delivery_keeps_its_event
                events_without_deliveries_go_by_their_age
                a_sweep_goes_in_steps
                events_from_a_clock_that_was_ahead_block_no_sweep
                keys_are_not_used_again_after_pruning;
            siblings:
                one_success_settles_the_others_of_its_destination
                what_was_settled_by_another_is_tried_no_more
                two_successes_in_one_commit_settle_the_third_once
                a_failure_and_a_success_in_one_commit_end_delivered
                a_late_success_settles_nobody
                a_redriven_dead_letter_is_settled_like_any_other
                retention_removes_what_was_settled_by_another;
            model:
                random_steps_agree_with_a_simple_model;
        }
    };
}

mod on_sqlite {
    conformance! { crate::store::sqlite::SqliteFactory::new() }
}
