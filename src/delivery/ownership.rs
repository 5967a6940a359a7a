//! Ownership of destinations with limits: how long this node may start requests as the owner, and which destinations
//! it may take over. Both are judged by this machine's uptime alone, so that no clock that differs or steps lets
//! two nodes send at once. Pure: the caller passes the uptime.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::domain::id::{DestinationId, NodeId};
use crate::store::{SharedState, Takeover};

/// How long a renewal lasts, from before it was sent.
pub(super) const OWNERSHIP: Duration = Duration::from_secs(6);
/// By how much the clocks of two machines may differ over that time.
const DRIFT: Duration = Duration::from_millis(500);
/// How long other nodes may send to a destination before they see that it has limits now.
const FOLLOWED: Duration = Duration::from_secs(2);
const ALWAYS: u64 = u64::MAX;

/// Until when this node may start requests to a destination.
#[derive(Debug)]
pub(super) struct StartRight(AtomicU64);

impl StartRight {
    /// Without an end: no other node limits it.
    pub(super) const fn always() -> Self {
        Self(AtomicU64::new(ALWAYS))
    }

    pub(super) fn is_always(&self) -> bool {
        self.0.load(Ordering::Acquire) == ALWAYS
    }

    pub(super) fn set_always(&self) {
        self.0.store(ALWAYS, Ordering::Release);
    }

    /// Sets its end; returns the one before.
    pub(super) fn set_until(&self, uptime: Duration) -> Duration {
        Duration::from_micros(self.0.swap(micros(uptime), Ordering::AcqRel))
    }

    /// Whether it lasts.
    pub(super) fn lasts(&self, uptime: impl FnOnce() -> Duration) -> bool {
        match self.0.load(Ordering::Acquire) {
            ALWAYS => true,
            until => micros(uptime()) < until,
        }
    }
}

fn micros(uptime: Duration) -> u64 {
    u64::try_from(uptime.as_micros()).unwrap_or(ALWAYS).min(ALWAYS - 1)
}

/// What this node has seen of the owners of destinations with limits.
#[derive(Debug, Default)]
pub(super) struct OwnerWatch(HashMap<DestinationId, Seen>);

#[derive(Debug)]
struct Seen {
    /// Term and beat; none without an owner.
    owner: Option<(i64, i64)>,
    /// Since when they have been the same.
    since: Duration,
    /// Since when the destination has had limits.
    limited_since: Duration,
}

impl OwnerWatch {
    /// What this node may take over, of destinations with limits, each with the most that a request takes. `at` is
    /// after `state` was read: its owners had sent their last renewal before.
    pub(super) fn takeovers(
        &mut self,
        state: &SharedState,
        (node_id, limited): (NodeId, &[(DestinationId, Duration)]),
        at: Duration,
    ) -> Vec<Takeover> {
        self.0.retain(|id, _| limited.iter().any(|(limited, _)| limited == id));
        let mut takeovers = Vec::new();
        for (destination_id, attempt) in limited {
            let owner = state.owners.iter().find(|it| it.destination_id == *destination_id);
            let found = owner.map(|it| (it.term, it.beat));
            let seen = self.0.entry(*destination_id).or_insert(Seen {
                owner: found,
                since: at,
                limited_since: at,
            });
            if seen.owner != found {
                (seen.owner, seen.since) = (found, at);
            }
            let lasts = owner.filter(|it| it.node_id.is_some()).map(|it| it.attempt);
            // The owner's last request has ended, not only its right to start one.
            let wait = lasts.map_or(Duration::ZERO, |attempt| OWNERSHIP + DRIFT + attempt);
            let is_followed = state.nodes <= 1 || at.saturating_sub(seen.limited_since) >= FOLLOWED;
            let is_mine = owner.is_some_and(|it| it.node_id == Some(node_id));
            if !is_mine && is_followed && at.saturating_sub(seen.since) >= wait {
                let (destination_id, attempt) = (*destination_id, *attempt);
                takeovers.push(Takeover { destination_id, seen: found, attempt });
            }
        }
        takeovers
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::DestinationOwner;

    const ID: DestinationId = DestinationId(7);
    const ME: NodeId = NodeId(1);
    const ATTEMPT: Duration = Duration::from_secs(5);

    fn state(nodes: u32, owner: Option<(Option<i64>, i64, i64)>) -> SharedState {
        let owners = owner.map(|(node_id, term, beat)| DestinationOwner {
            destination_id: ID,
            node_id: node_id.map(NodeId),
            term,
            beat,
            attempt: Duration::from_secs(10),
        });
        SharedState { owners: Vec::from_iter(owners), nodes, ..SharedState::default() }
    }

    fn seconds(seconds: f64) -> Duration {
        Duration::from_secs_f64(seconds)
    }

    /// When each of the states was read, and what the node takes over after the last of them.
    fn taken(states: &[(f64, SharedState)]) -> Option<Option<(i64, i64)>> {
        let (mut watch, mut last) = (OwnerWatch::default(), Vec::new());
        for (at, state) in states {
            last = watch.takeovers(state, (ME, &[(ID, ATTEMPT)]), seconds(*at));
        }
        last.first().map(|it| it.seen)
    }

    #[test]
    fn an_owner_is_replaced_once_its_lease_and_its_last_request_have_ended() {
        let owned = |beat| state(8, Some((Some(2), 3, beat)));
        assert_eq!(taken(&[(0.0, owned(5)), (16.4, owned(5))]), None);
        assert_eq!(taken(&[(0.0, owned(5)), (16.5, owned(5))]), Some(Some((3, 5))));
        assert_eq!(taken(&[(0.0, owned(5)), (10.0, owned(6)), (26.4, owned(6))]), None);
        let renewed = [(0.0, owned(5)), (10.0, owned(6)), (26.5, owned(6))];
        assert_eq!(taken(&renewed), Some(Some((3, 6))));
    }

    #[test]
    fn a_released_destination_is_taken_over_at_once() {
        let owned = state(8, Some((Some(2), 3, 5)));
        let released = state(8, Some((None, 3, 6)));
        assert_eq!(taken(&[(0.0, owned), (2.0, released)]), Some(Some((3, 6))));
    }

    #[test]
    fn a_node_does_not_replace_itself() {
        let mine = || state(1, Some((Some(ME.0), 3, 5)));
        assert_eq!(taken(&[(0.0, mine()), (100.0, mine())]), None);
    }

    #[test]
    fn a_destination_that_has_limits_now_is_owned_once_other_nodes_have_seen_them() {
        assert_eq!(taken(&[(0.0, state(1, None))]), Some(None), "there are no others");
        assert_eq!(taken(&[(0.0, state(2, None)), (1.9, state(2, None))]), None);
        assert_eq!(taken(&[(0.0, state(2, None)), (2.0, state(2, None))]), Some(None));
        let released = || state(2, Some((None, 3, 6)));
        assert_eq!(taken(&[(0.0, released()), (1.9, released())]), None);
    }

    #[test]
    fn the_right_to_start_requests_ends() {
        let right = StartRight::always();
        assert!(right.lasts(|| Duration::MAX));
        right.set_until(seconds(6.0));
        assert!(right.lasts(|| seconds(5.9)));
        assert!(!right.lasts(|| seconds(6.0)));
        assert!(!right.is_always());
    }
}
