//! A line diff between two texts.

use std::time::{Duration, Instant};

use similar::{Algorithm, ChangeTag, capture_diff_slices_deadline};

use super::untrusted::Untrusted;

/// The search for a shorter diff stops after this time.
const TIMEOUT: Duration = Duration::from_millis(100);

/// A line of a diff.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    /// `-` deleted, `+` inserted, a space: unchanged.
    pub(super) mark: char,
    pub(super) text: Untrusted,
}

impl Line {
    /// Its CSS class.
    pub(super) fn class(&self) -> &'static str {
        match self.mark {
            '-' => "deleted",
            '+' => "inserted",
            _ => "unchanged",
        }
    }
}

/// The diff, in text order.
pub(super) fn lines(before: &str, after: &str) -> Vec<Line> {
    let (before, after): (Vec<_>, Vec<_>) = (before.lines().collect(), after.lines().collect());
    let deadline = Some(Instant::now() + TIMEOUT);
    let found = capture_diff_slices_deadline(Algorithm::Myers, &before, &after, deadline);
    let changes = found.iter().flat_map(|it| it.iter_changes(&before, &after));
    let lines = changes.map(|change| {
        let mark = match change.tag() {
            ChangeTag::Delete => '-',
            ChangeTag::Insert => '+',
            ChangeTag::Equal => ' ',
        };
        Line { mark, text: change.value().into() }
    });
    lines.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn diff(before: &str, after: &str) -> String {
        let marked = lines(before, after);
        let marked = marked.iter().map(|line| format!("{}{}", line.mark, line.text.0));
        marked.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn unchanged_lines_are_kept() {
        assert_eq!(diff("a\nb\nc\nd", "a\nx\nc\ny\nd"), " a -b +x  c +y  d");
        assert_eq!(diff("", "a"), "+a");
        assert_eq!(diff("a", ""), "-a");
        assert_eq!(diff("a\na", "a\na"), " a  a");
        assert_eq!(diff("b\na\nb", "a"), "-b  a -b");
    }

    #[test]
    fn long_texts_are_compared_in_full() {
        let (before, after) = ("a\n".repeat(5_000), "b\n".repeat(5_000));
        let marked = lines(&before, &after);
        assert_eq!(marked.len(), 10_000);
        assert!(marked[..5_000].iter().all(|line| line.mark == '-'));
    }
}
