//! What one transaction does: the commands it takes, in what order and how many, and what became of
//! each. Events come first, and what else it takes is bounded by them: an event waits for no more work
//! than its own commit brings, however much there is to claim and to record.

use std::sync::Arc;

use super::accept::Arrival;
use super::claim::Leased;
use super::failure::shared;
use super::pace::{Allowance, WORK};
use super::queue::{Accept, ClaimDue, Queued, RecordAll};
use super::writer::Writing;
use super::{accept, claim, dedup, record, siblings};
use crate::store::{Accepted, Record, Recorded, StoreError};

/// Events that one transaction takes at most, and bytes of them.
const EVENTS: usize = 2_048;
const EVENT_BYTES: usize = 8 << 20;
/// About what a row costs the log beside its body.
const ROW_BYTES: usize = 512;

/// What one transaction does, and what it gave.
#[derive(Default)]
pub(super) struct Group {
    accepts: Vec<Accept>,
    records: Vec<RecordAll>,
    claims: Vec<ClaimDue>,
    pub(super) steps: Vec<Box<dyn Queued>>,
    accepted: Vec<Accepted>,
    recorded: Vec<Recorded>,
    leased: Vec<Leased>,
    allowance: Allowance,
    /// Events; a rare step counts as one, here and below.
    events: usize,
    event_bytes: usize,
    /// Rows of events and their deliveries.
    event_rows: usize,
    /// Rows of records, and as many as its claims may take.
    work: usize,
}

impl Group {
    /// Of a transaction that takes so much work.
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

    /// Whether more events find a place.
    pub(super) fn takes_events(&self) -> bool {
        self.events < EVENTS && self.event_bytes < EVENT_BYTES
    }

    /// Whether more to claim and to record finds a place.
    pub(super) fn takes_work(&self) -> bool {
        self.work < self.allowance.rows.max(self.event_rows)
    }

    /// Whether nobody minds when it waits a moment: an attempt that has been made is done with.
    pub(super) fn is_patient(&self) -> bool {
        self.commands() == self.records.len() && self.takes_work()
    }

    /// Rows that a claim leases at most.
    fn at_most(&self) -> usize {
        if self.allowance.in_parts { WORK.max(self.event_rows) } else { usize::MAX }
    }

    /// Rows of its events.
    pub(super) fn event_rows(&self) -> usize {
        self.event_rows
    }

    /// Rows of the work that it did: a claim may take less than it asks for.
    pub(super) fn work_rows(&self) -> usize {
        let leased: usize = self.leased.iter().map(|it| it.deliveries.len()).sum();
        self.recorded.len() + leased
    }

    /// How many rows it wrote, an event's deliveries not counted.
    pub(super) fn rows(&self) -> usize {
        self.events + self.work_rows()
    }

    /// About how many bytes of the log it wrote.
    pub(super) fn bytes(&self) -> usize {
        self.event_bytes.saturating_add(self.rows().saturating_mul(ROW_BYTES))
    }

    pub(super) fn add_accept(&mut self, accept: Accept) {
        self.events += accept.arrivals.len();
        self.event_rows += accept.arrivals.iter().map(Arrival::rows).sum::<usize>();
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

    pub(super) fn add_step(&mut self, step: Box<dyn Queued>) {
        self.events += 1;
        self.event_rows += 1;
        self.steps.push(step);
    }

    /// One group for each command, for finding the one that cannot be done.
    pub(super) fn split(self) -> Vec<Self> {
        let mut alone = Vec::with_capacity(self.commands());
        alone.extend(self.accepts.into_iter().map(|it| Self::of(|group| group.add_accept(it))));
        alone.extend(self.records.into_iter().map(|it| Self::of(|group| group.add_record(it))));
        alone.extend(self.claims.into_iter().map(|it| Self::of(|group| group.add_claim(it))));
        alone.extend(self.steps.into_iter().map(|it| Self::of(|group| group.add_step(it))));
        alone
    }

    fn of(add: impl FnOnce(&mut Self)) -> Self {
        let mut group = Self::default();
        add(&mut group);
        group
    }

    /// Answers all: committed.
    pub(super) fn answer(self) {
        let mut accepted = self.accepted.into_iter();
        for accept in self.accepts {
            let given = accepted.by_ref().take(accept.arrivals.len()).collect();
            // Whoever asked may have gone away; likewise below.
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

    /// Answers all: nothing was written.
    pub(super) fn refuse(self, error: sqlx::Error) {
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

    /// Answers the accepts: no space. What makes room or uses little goes on.
    pub(super) fn refuse_accepts(&mut self) {
        for accept in self.accepts.drain(..) {
            let _ = accept.answer.send(Err(StoreError::Full));
        }
    }

    /// Writes what every event takes.
    pub(super) fn write(&mut self, writing: &mut Writing<'_>) -> Result<(), sqlx::Error> {
        let arrivals = self.accepts.iter().flat_map(|accept| &accept.arrivals);
        self.accepted = accept::accept(writing, arrivals)?;
        let records: Vec<&Record> =
            self.records.iter().flat_map(|record| record.records.iter()).collect();
        self.recorded = record::record(writing, &records)?;
        dedup::merge(writing)?;
        siblings::settle(writing, &records, &self.recorded)?;
        let at_most = self.at_most();
        self.leased = self
            .claims
            .iter()
            .map(|it| claim::claim(writing, &it.request, at_most))
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
    use crate::domain::clock::Timestamp;
    use crate::domain::id::{MappingId, NodeId};
    use crate::store::{ClaimRequest, ClaimWant};

    fn claim(rows: u32) -> ClaimDue {
        let at = Timestamp::from_micros(0);
        let want = ClaimWant {
            mapping_id: MappingId(1),
            limit: rows,
            lease: Duration::from_secs(60),
            resumed_deadline_at: at,
        };
        let request = ClaimRequest { node_id: NodeId(1), now: at, wants: vec![want] };
        ClaimDue { request, answer: oneshot::channel().0 }
    }

    #[tokio::test]
    async fn an_event_goes_before_what_is_to_be_claimed() {
        let (queue, mut asked) = Queue::new(10, 1 << 20);
        let claiming = queue.claim(claim(1).request);
        let accepting = queue.accept(Vec::new());
        tokio::pin!(claiming, accepting);
        // Both hand theirs in, and wait for an answer that nobody gives.
        assert!(futures_util::poll!(&mut claiming).is_pending());
        assert!(futures_util::poll!(&mut accepting).is_pending());
        assert!(matches!(asked.try_next(true, true), Some(Command::Accept(_))));
        assert!(asked.try_next(true, false).is_none(), "the transaction takes no more work");
        assert!(matches!(asked.try_next(true, true), Some(Command::Claim(_))));
    }

    #[test]
    fn a_transaction_takes_little_work_or_as_much_as_it_takes_events() {
        let mut group = Group::new(Allowance { rows: WORK, in_parts: false });
        group.add_claim(claim(40));
        assert!(group.takes_work());
        group.add_claim(claim(40));
        assert!(!group.takes_work() && group.takes_events());
        group.event_rows = 100;
        assert!(group.takes_work(), "80 rows of work beside 100 of events");
        let resting = Group::new(Allowance { rows: 0, in_parts: true });
        assert!(!resting.takes_work() && resting.takes_events());
    }

    #[test]
    fn while_events_come_a_claim_is_served_in_parts() {
        let mut group = Group::new(Allowance { rows: WORK, in_parts: true });
        group.add_claim(claim(256));
        assert_eq!((group.at_most(), group.work), (WORK, WORK));
        group.event_rows = 100;
        assert_eq!(group.at_most(), 100, "as many as its events have");
        let mut alone = Group::new(Allowance { rows: WORK, in_parts: false });
        alone.add_claim(claim(256));
        assert_eq!((alone.at_most(), alone.work), (usize::MAX, 256));
    }
}
