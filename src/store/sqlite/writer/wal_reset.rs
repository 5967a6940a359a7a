//! The reset of a WAL that readers keep in use: at its largest size new readers are held for a moment, until a
//! RESTART checkpoint finds none. The next commit then writes the WAL from its beginning.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::super::open;
use super::connection::Connection;
use super::status::{Held, WriterStatus};

const RESTART: &str = "PRAGMA wal_checkpoint(RESTART)";
/// How long one RESTART checkpoint waits for readers: commits wait behind it.
const PATIENCE: Duration = Duration::from_millis(2);
/// When readers of deliveries are held too.
const HOLD_ALL_AFTER: Duration = Duration::from_millis(150);
/// When holding is given up: a reader that began before takes longer.
const GIVE_UP_AFTER: Duration = Duration::from_millis(700);
/// Until it is tried again.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// Holds readers until the WAL is reset.
#[derive(Debug)]
pub(super) struct WalReset {
    status: Arc<WriterStatus>,
    held_since: Option<Instant>,
    not_before: Option<Instant>,
}

impl WalReset {
    pub(super) const fn new(status: Arc<WriterStatus>) -> Self {
        Self { status, held_since: None, not_before: None }
    }

    /// Begins to hold readers, unless that has just failed.
    pub(super) fn begin(&mut self) {
        let now = Instant::now();
        if self.held_since.is_none() && self.not_before.is_none_or(|at| at <= now) {
            self.held_since = Some(now);
            self.status.hold(Held::Lists);
        }
    }

    /// After a commit: while readers are held, tries to reset the WAL.
    pub(super) fn attempt(&mut self, sqlite: &Connection) -> rusqlite::Result<()> {
        let Some(since) = self.held_since else { return Ok(()) };
        sqlite.set_busy_timeout(PATIENCE)?;
        let is_busy = sqlite.one::<i64, rusqlite::Error>(RESTART, &[], |row| row.get(0));
        sqlite.set_busy_timeout(open::BUSY_TIMEOUT)?;
        let held_for = since.elapsed();
        if is_busy? == 0 {
            self.end(None);
        } else if held_for >= GIVE_UP_AFTER {
            tracing::warn!("a long read keeps the WAL from being reset");
            self.end(Some(Instant::now() + RETRY_AFTER));
        } else if held_for >= HOLD_ALL_AFTER {
            self.status.hold(Held::All);
        }
        Ok(())
    }

    fn end(&mut self, not_before: Option<Instant>) {
        self.held_since = None;
        self.not_before = not_before;
        self.status.hold(Held::None);
    }
}

impl Drop for WalReset {
    fn drop(&mut self) {
        self.status.hold(Held::None);
    }
}
