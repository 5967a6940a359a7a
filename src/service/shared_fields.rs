//! The fields that requests for jobs, backfills and pauses share: note and rate.

use crate::pipeline::FieldError;

/// The maximum length of a note, in characters.
const MAX_NOTE: usize = 1_000;

pub(super) fn check_note(note: Option<&str>, faults: &mut Vec<FieldError>) {
    if note.is_some_and(|note| note.chars().count() > MAX_NOTE) {
        faults.push(FieldError::new("note", format!("should have at most {MAX_NOTE} characters")));
    }
}

pub(super) fn check_rate(rate_per_second: Option<u32>, faults: &mut Vec<FieldError>) {
    if rate_per_second == Some(0) {
        let message = "should be at least 1; leave it out for no limit";
        faults.push(FieldError::new("rate_per_second", message));
    }
}
