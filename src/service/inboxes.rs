//! Inboxes: what waits in each, for the status and the doctor.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::domain::clock::Timestamp;
use crate::domain::inbox::{InboxBoard, InboxState};
use crate::store::Finding;

/// An inbox that this node takes messages from.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct InboxView {
    /// `postrider.inbox` for the one in the service's own database, a file's path, or a database's address.
    pub inbox: String,
    /// Messages that wait, counted up to 10,000.
    pub waiting: u64,
    /// Whether there are more than were counted.
    pub more: bool,
    /// When the oldest was written.
    pub oldest_at: Option<String>,
    /// Why none can be taken; none while they are.
    pub fault: Option<String>,
    /// Sources that messages wait for and that are disabled or do not exist.
    pub waits_for: Vec<String>,
}

impl From<InboxState> for InboxView {
    fn from(state: InboxState) -> Self {
        let more = state.backlog.is_more();
        Self {
            inbox: state.name,
            waiting: state.backlog.waiting,
            more,
            oldest_at: state.backlog.oldest_at.map(Timestamp::to_iso),
            fault: state.fault,
            waits_for: state.waits_for,
        }
    }
}

/// A finding for each inbox: it fails when nothing can be taken, or messages wait for a source.
pub(super) fn findings(board: &InboxBoard) -> impl Iterator<Item = Finding> {
    board.states().into_iter().map(InboxView::from).map(|it| {
        let waiting = format!("{}{} wait", it.waiting, if it.more { "+" } else { "" });
        let detail = match (&it.fault, it.waits_for.as_slice()) {
            (Some(fault), _) => format!("{}: {waiting}: {fault}", it.inbox),
            (None, []) => format!("{}: {waiting}", it.inbox),
            (None, sources) => {
                let sources = sources.join(", ");
                format!(
                    "{}: {waiting}, some for sources that are disabled or missing: {sources}",
                    it.inbox
                )
            }
        };
        let ok = it.fault.is_none() && it.waits_for.is_empty();
        Finding { check: "inbox", ok, detail }
    })
}
