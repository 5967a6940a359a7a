//! The event that a bench sends: a track call of a given size that carries its mark.

use super::event_mark::Mark;

/// The smallest size of an event.
pub(super) const SMALLEST: usize = 256;

/// The event `mark` of the run `run`, exactly `size` bytes long.
pub(super) fn event(run: &str, mark: Mark, size: usize) -> String {
    let mut text = format!(
        "{{\"type\":\"track\",\"event\":\"Bench Run\",\"userId\":\"user-{}\",\
         \"messageId\":\"{run}-{}\",\"properties\":{{{},\"padding\":\"",
        mark.number % 10_000,
        mark.number,
        mark.member(),
    );
    let closing = "\"}}";
    while text.len() + closing.len() < size {
        text.push('x');
    }
    text.push_str(closing);
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::clock::Timestamp;

    #[test]
    fn an_event_has_its_size_and_mark_and_is_json() {
        let mark =
            Mark { number: 99_999_999, sent_at: Timestamp::from_micros(1_790_000_000_000_000) };
        for size in [SMALLEST, 1_024, 30_000] {
            let body = event("bench-1790000000000000", mark, size);
            assert_eq!(body.len(), size);
            assert_eq!(Mark::find(body.as_bytes()), Some(mark));
            let value: serde_json::Value = serde_json::from_str(&body).expect("JSON");
            assert_eq!(value["messageId"], "bench-1790000000000000-99999999");
        }
    }
}
