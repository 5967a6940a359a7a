//! Changes of the pipeline in batches: those of a request whose order among themselves does not matter are applied
//! kind by kind, each kind in a few statements.

use std::collections::{HashMap, HashSet};

use crate::domain::destination::DestinationSettings;
use crate::domain::mapping::MappingDefinition;
use crate::domain::secret::SealedSecret;
use crate::domain::service_time::ServiceTime;
use crate::domain::source::SourceLimits;
use crate::store::{CredentialSlot, PipelineChange};

/// Changes of one batch: their values are in memory twice.
const MOST: usize = 1_000;

/// A source's name and its destination's.
pub(super) type Path<'a> = (&'a str, &'a str);

/// Changes by kind, in the order in which the kinds are applied.
#[derive(Default)]
pub(super) struct Batch<'a> {
    pub(super) removed_mappings: Vec<(Path<'a>, &'a str)>,
    pub(super) removed_destinations: Vec<Path<'a>>,
    pub(super) removed_sources: Vec<&'a str>,
    pub(super) sources: Vec<(&'a str, bool)>,
    pub(super) limits: Vec<(&'a str, &'a SourceLimits)>,
    pub(super) write_keys: Vec<(&'a str, &'a [u8; 32], &'a SealedSecret)>,
    pub(super) destinations: Vec<(Path<'a>, bool, &'a DestinationSettings)>,
    pub(super) disconnected: Vec<(Path<'a>, &'a str)>,
    pub(super) shared_secrets: Vec<(Path<'a>, Option<&'a SealedSecret>, ServiceTime)>,
    pub(super) credentials: Vec<(Path<'a>, &'a CredentialSlot, Option<&'a SealedSecret>)>,
    pub(super) mappings: Vec<NewMapping<'a>>,
}

/// A mapping that is created or changed.
pub(super) struct NewMapping<'a> {
    pub(super) path: Path<'a>,
    pub(super) name: &'a str,
    pub(super) enabled: bool,
    pub(super) definition: &'a MappingDefinition,
}

/// Splits changes into batches that are applied one after the other. Renames, which come before, are left out.
pub(super) fn batches(changes: &[PipelineChange]) -> Vec<Batch<'_>> {
    let (mut batches, mut order, mut len) = (vec![Batch::default()], Order::default(), 0);
    for change in changes {
        if len == MOST || !order.admits(change) {
            (order, len) = (Order::default(), 0);
            batches.push(Batch::default());
            order.admits(change);
        }
        len += 1;
        if let Some(batch) = batches.last_mut() {
            batch.add(change);
        }
    }
    batches
}

impl<'a> Batch<'a> {
    fn add(&mut self, change: &'a PipelineChange) {
        match change {
            PipelineChange::RenameSource { .. }
            | PipelineChange::RenameDestination { .. }
            | PipelineChange::RenameMapping { .. } => {}
            PipelineChange::PutSource { source, enabled } => self.sources.push((source, *enabled)),
            PipelineChange::PutSourceLimits { source, limits } => {
                self.limits.push((source, limits));
            }
            PipelineChange::PutWriteKey { source, digest, sealed } => {
                self.write_keys.push((source, digest, sealed));
            }
            PipelineChange::RemoveSource { source } => self.removed_sources.push(source),
            PipelineChange::PutDestination { source, destination, enabled, settings } => {
                self.destinations.push(((source, destination), *enabled, settings));
            }
            PipelineChange::PutSharedSecret { source, destination, secret, retire_at } => {
                self.shared_secrets.push(((source, destination), secret.as_ref(), *retire_at));
            }
            PipelineChange::PutCredential { source, destination, slot, secret } => {
                self.credentials.push(((source, destination), slot, secret.as_ref()));
            }
            PipelineChange::Disconnect { source, destination, fault } => {
                self.disconnected.push(((source, destination), fault));
            }
            PipelineChange::RemoveDestination { source, destination } => {
                self.removed_destinations.push((source, destination));
            }
            PipelineChange::PutMapping { source, destination, mapping, enabled, definition } => {
                let (path, name, enabled) =
                    ((source.as_str(), destination.as_str()), mapping, *enabled);
                self.mappings.push(NewMapping { path, name, enabled, definition });
            }
            PipelineChange::RemoveMapping { source, destination, mapping } => {
                self.removed_mappings.push(((source, destination), mapping));
            }
        }
    }
}

/// What a batch names so far.
#[derive(Default)]
struct Order<'a> {
    /// The latest kind of the changes of a path itself.
    own: HashMap<Vec<&'a str>, usize>,
    /// The latest kind of the changes of a path and of what is below it.
    below: HashMap<Vec<&'a str>, usize>,
    slots: HashSet<(Vec<&'a str>, &'a CredentialSlot)>,
    digests: HashSet<&'a [u8; 32]>,
}

impl<'a> Order<'a> {
    /// Takes a change into the batch, if the batch, applied kind by kind, then does what its changes do one after
    /// the other.
    fn admits(&mut self, change: &'a PipelineChange) -> bool {
        let (kind, path) = subject(change);
        let is_again = if let PipelineChange::PutCredential { slot, .. } = change {
            !self.slots.insert((path.clone(), slot))
        } else if let PipelineChange::PutWriteKey { digest, .. } = change {
            !self.digests.insert(digest) || self.own.get(&path) == Some(&kind)
        } else {
            self.own.get(&path) == Some(&kind)
        };
        let is_later = |latest: Option<&usize>| latest.is_some_and(|latest| *latest > kind);
        let is_below_later = (1..path.len()).any(|length| is_later(self.own.get(&path[..length])));
        if is_again || is_below_later || is_later(self.below.get(&path)) {
            return false;
        }
        for length in 1..=path.len() {
            let below = self.below.entry(path[..length].to_vec()).or_default();
            *below = kind.max(*below);
        }
        self.own.insert(path, kind);
        true
    }
}

/// The place of a change's kind in the order in which kinds are applied, and the path that it names.
fn subject(change: &PipelineChange) -> (usize, Vec<&str>) {
    match change {
        PipelineChange::RenameSource { source, .. } => (0, vec![source.as_str()]),
        PipelineChange::RenameDestination { source, destination, .. } => {
            (0, vec![source.as_str(), destination])
        }
        PipelineChange::RenameMapping { source, destination, mapping, .. } => {
            (0, vec![source.as_str(), destination, mapping])
        }
        PipelineChange::RemoveMapping { source, destination, mapping } => {
            (1, vec![source.as_str(), destination, mapping])
        }
        PipelineChange::RemoveDestination { source, destination } => {
            (2, vec![source.as_str(), destination])
        }
        PipelineChange::RemoveSource { source } => (3, vec![source.as_str()]),
        PipelineChange::PutSource { source, .. } => (4, vec![source.as_str()]),
        PipelineChange::PutSourceLimits { source, .. } => (5, vec![source.as_str()]),
        PipelineChange::PutWriteKey { source, .. } => (6, vec![source.as_str()]),
        PipelineChange::PutDestination { source, destination, .. } => {
            (7, vec![source.as_str(), destination])
        }
        PipelineChange::Disconnect { source, destination, .. } => {
            (8, vec![source.as_str(), destination])
        }
        PipelineChange::PutSharedSecret { source, destination, .. } => {
            (9, vec![source.as_str(), destination])
        }
        PipelineChange::PutCredential { source, destination, .. } => {
            (10, vec![source.as_str(), destination])
        }
        PipelineChange::PutMapping { source, destination, mapping, .. } => {
            (11, vec![source.as_str(), destination, mapping])
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(name: &str) -> PipelineChange {
        PipelineChange::PutSource { source: name.to_owned(), enabled: true }
    }

    fn limits(name: &str) -> PipelineChange {
        let limits = SourceLimits::default();
        PipelineChange::PutSourceLimits { source: name.to_owned(), limits }
    }

    fn removal(names: &[&str]) -> PipelineChange {
        let name = |at: usize| names[at].to_owned();
        match names.len() {
            1 => PipelineChange::RemoveSource { source: name(0) },
            2 => PipelineChange::RemoveDestination { source: name(0), destination: name(1) },
            _ => PipelineChange::RemoveMapping {
                source: name(0),
                destination: name(1),
                mapping: name(2),
            },
        }
    }

    fn disconnection(source: &str) -> PipelineChange {
        let (source, destination) = (source.to_owned(), "d".to_owned());
        PipelineChange::Disconnect { source, destination, fault: String::new() }
    }

    #[test]
    fn changes_share_a_batch_unless_their_order_matters() {
        let shared = [
            vec![source("a"), limits("a"), disconnection("a"), source("b"), limits("b")],
            vec![removal(&["a", "d", "m"]), removal(&["a", "d"]), removal(&["a"]), source("a")],
            vec![disconnection("a"), removal(&["b", "d"]), disconnection("c")],
        ];
        for changes in shared {
            assert_eq!(batches(&changes).len(), 1, "{changes:?}");
        }
        let apart = [
            vec![source("a"), source("a")],
            vec![source("a"), removal(&["a"])],
            vec![source("a"), removal(&["a", "d", "m"])],
            vec![disconnection("a"), source("a")],
            vec![disconnection("a"), removal(&["a", "d"])],
        ];
        for changes in apart {
            assert_eq!(batches(&changes).len(), 2, "{changes:?}");
        }
    }

    #[test]
    fn a_batch_is_bounded() {
        let changes: Vec<_> = (0..2_500).map(|number| source(&number.to_string())).collect();
        let sizes: Vec<usize> = batches(&changes).iter().map(|it| it.sources.len()).collect();
        assert_eq!(sizes, [1_000, 1_000, 500]);
    }
}
