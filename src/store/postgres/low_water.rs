//! Low-water marks of claims: a claim of a mapping's due deliveries begins just before where the last one ended.
//! Without them it would step over every row that was taken before, for as long as any snapshot keeps these from
//! being cleaned up. A row that appears below the mark, from a transaction that took long, is found by the next
//! look at everything.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::domain::id::MappingId;
use crate::domain::service_time::ServiceTime;

/// How long after its due time a row is expected to appear.
const SLACK: Duration = Duration::from_secs(5);
/// How often marks are dropped, so that everything is looked at.
const WHOLE_INTERVAL: Duration = Duration::from_secs(30);

/// The marks of this node.
#[derive(Debug, Default)]
pub(super) struct LowWater(Mutex<Marks>);

#[derive(Debug, Default)]
struct Marks {
    began_at: ServiceTime,
    by_mapping: HashMap<MappingId, i64>,
}

impl LowWater {
    /// For each mapping, the due time that its claim begins at.
    pub(super) fn begin(&self, mappings: &[MappingId], now: ServiceTime) -> Vec<i64> {
        let mut marks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if now >= marks.began_at + WHOLE_INTERVAL || now < marks.began_at {
            *marks = Marks { began_at: now, by_mapping: HashMap::new() };
        }
        let mark = |id: &MappingId| marks.by_mapping.get(id).copied().unwrap_or(i64::MIN);
        mappings.iter().map(mark).collect()
    }

    /// A claim took everything of the mapping that was due until then.
    pub(super) fn end(&self, mapping_id: MappingId, at: ServiceTime) {
        let mut marks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mark = marks.by_mapping.entry(mapping_id).or_insert(i64::MIN);
        *mark = (at - SLACK).as_micros().max(*mark);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: ServiceTime = ServiceTime::from_micros(1_780_000_000_000_000);
    const ONE: MappingId = MappingId(1);

    #[test]
    fn a_claim_begins_before_where_the_last_one_ended_until_the_next_look_at_everything() {
        let low = LowWater::default();
        let second = Duration::from_secs(1);
        assert_eq!(low.begin(&[ONE], AT), [i64::MIN]);
        low.end(ONE, AT);
        low.end(ONE, AT - second);
        let mark = (AT - SLACK).as_micros();
        assert_eq!(low.begin(&[ONE, MappingId(2)], AT + second), [mark, i64::MIN]);
        assert_eq!(low.begin(&[ONE], AT + second * 29), [mark]);
        assert_eq!(low.begin(&[ONE], AT + second * 30), [i64::MIN]);
    }
}
