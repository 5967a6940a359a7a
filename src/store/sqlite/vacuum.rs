//! Free pages, as retention leaves them, go back to the file system: a few pages a step, paced as all bulk work,
//! until few are left. Those few are for the events to come.

use super::writer::step::{Step, Tx};
use crate::store::failure::Failure;

/// Pages that one step returns.
const STEP_PAGES: usize = 64;
/// Free pages that are kept: 8 MiB, and an eighth of the database.
const KEPT_PAGES: i64 = 1_024;
const KEPT_SHARE: i64 = 8;

const FREE: &str =
    "SELECT freelist_count, page_count FROM pragma_freelist_count, pragma_page_count";
const VACUUM: &str = "PRAGMA incremental_vacuum(64)";

/// Returns free pages to the file system. The answer: whether many are left.
#[derive(Debug)]
pub(super) struct Vacuum {
    /// Begins only where there are more than are kept for the events to come.
    pub(super) begins: bool,
}

impl Step for Vacuum {
    type Answer = bool;
    const CONTEXT: &'static str = "return free pages";

    fn bulk_rows(&self) -> usize {
        STEP_PAGES
    }

    fn run(&self, tx: &mut Tx<'_>) -> Result<bool, Failure> {
        let (free, pages): (i64, i64) =
            tx.sqlite.one::<_, rusqlite::Error>(FREE, &[], |row| Ok((row.get(0)?, row.get(1)?)))?;
        let most = if self.begins { KEPT_PAGES.max(pages / KEPT_SHARE) } else { KEPT_PAGES };
        if free <= most {
            return Ok(false);
        }
        tx.sqlite.pragma(VACUUM)?;
        Ok(true)
    }
}
