//! The end of a page of a list: whether there are more, and how far a search came.

use std::process::ExitCode;

use super::failure::exit;
use super::output::Output;
use crate::service::page::Page;

/// Says how a page that was printed goes on. A search that stopped before its end has an exit code of its own: that
/// nothing was found then does not mean that there is nothing.
pub(super) fn page_end<T>(
    out: &mut Output,
    page: &Page<T>,
    noun: &str,
) -> anyhow::Result<ExitCode> {
    let code = if page.looked_to.is_some() { exit::INCOMPLETE.into() } else { ExitCode::SUCCESS };
    if out.is_json() {
        return Ok(code);
    }
    let found = page.items.len();
    match (&page.looked_to, &page.next) {
        (Some(at), Some(next)) => {
            out.remark(&format!(
                "searched back to {at}, found {found}; to go on: --before {next}"
            ))?;
        }
        (_, Some(next)) => out.remark(&format!("there are more: --before {next}"))?,
        (_, None) if found == 0 => out.remark(&format!("no {noun}"))?,
        (_, None) => {}
    }
    Ok(code)
}
