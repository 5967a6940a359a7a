//! File descriptors: raises the soft limit at start, and divides what there is between the store, clients and
//! receivers, so that none takes another's. What this machine lacks is so never booked on a receiver.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::settings::Settings;

/// For the database, its readers, the log, function workers, OAuth, spans and operators' tools.
const RESERVED: u64 = 256;
/// The least for clients and for receivers.
const LEAST: u32 = 16;

/// How many connections each side may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Descriptors {
    /// From clients.
    pub(super) clients: u32,
    /// To receivers.
    pub(super) receivers: u32,
}

/// Raises the limit and divides it.
pub(super) fn divide(settings: &Settings) -> Descriptors {
    let limit = raise_limit();
    let divided = Descriptors::of(limit, settings.max_connections, settings.max_in_flight);
    if divided.clients < settings.max_connections || divided.receivers < settings.max_in_flight {
        let Descriptors { clients, receivers } = divided;
        tracing::warn!(
            limit,
            max_connections = clients,
            max_in_flight = receivers,
            "the limit of open files is too low for max_connections and max_in_flight, which are lowered: \
             raise it (ulimit -n, LimitNOFILE)"
        );
    }
    divided
}

/// Sets the soft limit of open files to the hard one; returns it, or none without a limit.
fn raise_limit() -> Option<u64> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: maximum, maximum };
    match setrlimit(Resource::Nofile, raised) {
        Ok(()) => maximum,
        Err(error) => {
            tracing::warn!(%error, "the limit of open files could not be raised");
            current
        }
    }
}

impl Descriptors {
    /// Divides a limit: the reserve first, then clients and receivers get what they want; where it is too low,
    /// in proportion.
    fn of(limit: Option<u64>, clients: u32, receivers: u32) -> Self {
        let wanted = u64::from(clients) + u64::from(receivers);
        let left = limit.map_or(u64::MAX, |limit| limit.saturating_sub(RESERVED.min(limit / 4)));
        if left >= wanted {
            return Self { clients, receivers };
        }
        let share = |of: u32| {
            let share = left * u64::from(of) / wanted;
            u32::try_from(share).unwrap_or(u32::MAX).max(LEAST.min(of))
        };
        Self { clients: share(clients), receivers: share(receivers) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_divided_in_proportion_after_the_reserve() {
        let table = [
            (None, (4_096, 2_048)),
            (Some(524_288), (4_096, 2_048)),
            (Some(6_400), (4_096, 2_048)),
            (Some(1_024), (512, 256)),
            (Some(64), (32, 16)),
            (Some(0), (16, 16)),
        ];
        for (limit, (clients, receivers)) in table {
            let divided = Descriptors::of(limit, 4_096, 2_048);
            assert_eq!(divided, Descriptors { clients, receivers }, "{limit:?}");
        }
        let few = Descriptors::of(Some(64), 4, 2);
        assert_eq!(few, Descriptors { clients: 4, receivers: 2 });
    }
}
