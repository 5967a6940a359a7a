//! A write batch: the commands of one batch commit, their order, the limits on their number, and their
//! answers. Events come first and bound the claims and records beside them, so that an event never waits for
//! a backlog.

use std::sync::Arc;

use super::super::claim::Leased;
use super::super::dedup::tables;
use super::super::error::shared;
use super::super::{accept, claim, record, siblings};
use super::pacing::{Allowance, WORK};
use super::queue::{Accept, ClaimDue, QueuedStep, RecordAll};
use super::step::Tx;
use crate::store::failure::SqlError;
use crate::store::{Accepted, Record, Recorded, StoreError};

/// The limit of one transaction in bytes of events.
const EVENT_BYTES: usize = 8 << 20;
/// About what a row adds to the WAL beside its body.
const ROW_BYTES: usize = 512;

/// The commands of one transaction and their answers.
#[derive(Default)]
pub(super) struct WriteBatch {
    accepts: Vec<Accept>,
    records: Vec<RecordAll>,
    claims: Vec<ClaimDue>,
    pub(super) steps: Vec<Box<dyn QueuedStep>>,
    accepted: Vec<Accepted>,
    recorded: Vec<Recorded>,
    leased: Vec<Leased>,
    allowance: Allowance,
    /// Events; any step that is not a bulk step counts as one, here and below.
    events: usize,
    event_bytes: usize,
    /// Rows of events and their deliveries.
    event_rows: usize,
    /// Rows of records, and the most rows of its claims and bulk steps.
    work: usize,
    /// The most rows of its bulk steps.
    bulk: usize,
}

impl WriteBatch {
    /// An empty batch with this much room for work.
    pub(super) fn new(allowance: Allowance) -> Self {
        Self { allowance, ..Self::default() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.commands() == 0
    }

    pub(super) fn has_events(&self) -> bool {
        !self.accepts.is_empty()
    }

    pub(super) fn commands(&self) -> usize {
        self.accepts.len() + self.records.len() + self.claims.len() + self.steps.len()
    }

    /// Whether more events fit.
    pub(super) fn takes_events(&self) -> bool {
        self.events < self.allowance.events && self.event_bytes < EVENT_BYTES
    }

    /// Whether more claims and records fit.
    pub(super) fn takes_work(&self) -> bool {
        self.work < self.allowance.rows.max(self.event_rows)
    }

    /// Whether it may wait for events: it holds records alone, which delay nothing.
    pub(super) fn is_patient(&self) -> bool {
        self.commands() == self.records.len() && self.takes_work()
    }

    /// Rows that a claim leases at most.
    fn at_most(&self) -> usize {
        if self.allowance.in_parts {
            self.allowance.rows.max(WORK).max(self.event_rows)
        } else {
            usize::MAX
        }
    }

    /// Rows of its events.
    pub(super) fn event_rows(&self) -> usize {
        self.event_rows
    }

    /// Rows of work written: a claim may find fewer than it asks for.
    pub(super) fn work_rows(&self) -> usize {
        let leased: usize = self.leased.iter().map(|it| it.deliveries.len()).sum();
        self.recorded.len() + leased + self.bulk
    }

    /// Rows written, without the deliveries of events.
    pub(super) fn rows(&self) -> usize {
        self.events + self.work_rows()
    }

    /// About how many bytes of WAL it wrote.
    pub(super) fn bytes(&self) -> usize {
        self.event_bytes.saturating_add(self.rows().saturating_mul(ROW_BYTES))
    }

    pub(super) fn add_accept(&mut self, accept: Accept) {
        self.events += accept.arrivals.len();
        self.event_rows += accept.rows();
        self.event_bytes += accept.bytes;
        self.accepts.push(accept);
    }

    pub(super) fn add_record(&mut self, record: RecordAll) {
        self.work += record.records.len();
        self.records.push(record);
    }

    pub(super) fn add_claim(&mut self, claim: ClaimDue) {
        self.work = self.work.saturating_add(claim.rows().min(self.at_most()));
        self.claims.push(claim);
    }

    pub(super) fn add_step(&mut self, step: Box<dyn QueuedStep>) {
        match step.bulk_rows() {
            0 => {
                self.events += 1;
                self.event_rows += 1;
            }
            rows => {
                self.work += rows;
                self.bulk += rows;
            }
        }
        self.steps.push(step);
    }

    /// One batch for each command, to isolate the one that fails.
    pub(super) fn split(self) -> Vec<Self> {
        let mut alone = Vec::with_capacity(self.commands());
        alone.extend(self.accepts.into_iter().map(|it| Self::of(|batch| batch.add_accept(it))));
        alone.extend(self.records.into_iter().map(|it| Self::of(|batch| batch.add_record(it))));
        alone.extend(self.claims.into_iter().map(|it| Self::of(|batch| batch.add_claim(it))));
        alone.extend(self.steps.into_iter().map(|it| Self::of(|batch| batch.add_step(it))));
        alone
    }

    fn of(add: impl FnOnce(&mut Self)) -> Self {
        let mut batch = Self::default();
        add(&mut batch);
        batch
    }

    /// Answers all: committed.
    pub(super) fn answer(self) {
        let mut accepted = self.accepted.into_iter();
        for accept in self.accepts {
            let given = accepted.by_ref().take(accept.arrivals.len()).collect();
            // The caller may be gone; likewise below.
            let _ = accept.answer.send(Ok(given));
        }
        let mut recorded = self.recorded.into_iter();
        for record in self.records {
            let given = recorded.by_ref().take(record.records.len()).collect();
            let _ = record.answer.send(Ok(given));
        }
        for (claim, leased) in self.claims.into_iter().zip(self.leased) {
            let _ = claim.answer.send(Ok(leased));
        }
        for step in self.steps {
            step.answer(Ok(()));
        }
    }

    /// Answers all with the error that rolled them back.
    pub(super) fn refuse(self, error: SqlError) {
        let error = Arc::new(error);
        for accept in self.accepts {
            let _ = accept.answer.send(Err(shared("accept events", &error)));
        }
        for record in self.records {
            let _ = record.answer.send(Err(shared("record attempts", &error)));
        }
        for claim in self.claims {
            let _ = claim.answer.send(Err(shared("claim due deliveries", &error)));
        }
        for step in self.steps {
            let context = step.context();
            step.answer(Err(shared(context, &error)));
        }
    }

    /// Answers the accepts: the disk is full. Records and claims, which use little space, go on.
    pub(super) fn refuse_accepts(&mut self) {
        for accept in self.accepts.drain(..) {
            let _ = accept.answer.send(Err(StoreError::Full));
        }
    }

    /// Writes events, records and claims; the other steps follow in savepoints of their own.
    pub(super) fn write(&mut self, tx: &mut Tx<'_>) -> rusqlite::Result<()> {
        let arrivals = self.accepts.iter().flat_map(|accept| &accept.arrivals);
        self.accepted = accept::accept(tx, arrivals)?;
        let records: Vec<&Record> =
            self.records.iter().flat_map(|record| record.records.iter()).collect();
        self.recorded = record::record(tx, &records)?;
        tables::compact(tx)?;
        siblings::settle(tx, &records, &self.recorded)?;
        let at_most = self.at_most();
        self.leased = self
            .claims
            .iter()
            .map(|it| claim::claim(tx, &it.request, at_most))
            .collect::<Result<_, _>>()?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::sync::oneshot;

    use super::super::queue::{Command, Queue};
    use super::*;
    use crate::domain::clock::{Moment, Timestamp};
    use crate::domain::id::{MappingId, NodeId, SourceId};
    use crate::domain::service_time::ServiceTime;
    use crate::store::{ClaimRequest, ClaimWant};

    fn claim(rows: u32) -> ClaimDue {
        let want = ClaimWant {
            mapping_id: MappingId(1),
            limit: rows,
            lease: Duration::from_secs(60),
            resumed_deadline_at: ServiceTime::default(),
            as_owner: false,
            is_probe: false,
        };
        let now = Moment { wall: Timestamp::default(), service: ServiceTime::default() };
        let request = ClaimRequest { node_id: NodeId(1), now, wants: vec![want] };
        ClaimDue { request, answer: oneshot::channel().0 }
    }

    #[tokio::test]
    async fn an_event_has_priority_over_a_claim() {
        let (queue, mut commands) = Queue::new(10, 1 << 20);
        let claiming = queue.claim(claim(1).request);
        let accepting = queue.accept(SourceId(1), Vec::new());
        tokio::pin!(claiming, accepting);
        // Both are queued and wait for an answer that never comes.
        assert!(futures_util::poll!(&mut claiming).is_pending());
        assert!(futures_util::poll!(&mut accepting).is_pending());
        assert!(matches!(commands.try_next(true, true), Some(Command::Accept(_))));
        assert!(commands.try_next(true, false).is_none(), "the transaction takes no more work");
        assert!(matches!(commands.try_next(true, true), Some(Command::Claim(_))));
    }

    #[test]
    fn a_batch_takes_little_work_or_as_much_as_it_takes_events() {
        let mut batch = WriteBatch::new(Allowance { rows: WORK, in_parts: false, events: 1 });
        batch.add_claim(claim(40));
        assert!(batch.takes_work());
        batch.add_claim(claim(40));
        assert!(!batch.takes_work() && batch.takes_events());
        batch.event_rows = 100;
        assert!(batch.takes_work(), "80 rows of work beside 100 of events");
        let throttled = WriteBatch::new(Allowance { rows: 0, in_parts: true, events: 1 });
        assert!(!throttled.takes_work() && throttled.takes_events());
    }

    #[test]
    fn while_events_arrive_a_claim_is_served_in_parts() {
        let mut batch = WriteBatch::new(Allowance { rows: WORK, in_parts: true, events: 1 });
        batch.add_claim(claim(256));
        assert_eq!((batch.at_most(), batch.work), (WORK, WORK));
        batch.event_rows = 100;
        assert_eq!(batch.at_most(), 100, "as many as its events have");
        let mut alone = WriteBatch::new(Allowance { rows: WORK, in_parts: false, events: 1 });
        alone.add_claim(claim(256));
        assert_eq!((alone.at_most(), alone.work), (usize::MAX, 256));
    }
}
