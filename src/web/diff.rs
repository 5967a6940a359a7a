//! What differs between two texts, line by line: what went, what stayed, what came.

use std::time::{Duration, Instant};

use similar::{Algorithm, ChangeTag, capture_diff_slices_deadline};

use super::text::Outside;

/// How long the shortest difference is looked for; after that the one that is found is told.
const SOUGHT: Duration = Duration::from_millis(100);

/// A line with what became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    /// `-` went, `+` came, a space: stayed.
    pub(super) mark: char,
    pub(super) text: Outside,
}

impl Line {
    /// How it is shown.
    pub(super) fn class(&self) -> &'static str {
        match self.mark {
            '-' => "gone",
            '+' => "come",
            _ => "kept",
        }
    }
}

/// The difference, in the order of the texts.
pub(super) fn lines(before: &str, after: &str) -> Vec<Line> {
    let (before, after): (Vec<_>, Vec<_>) = (before.lines().collect(), after.lines().collect());
    let until = Some(Instant::now() + SOUGHT);
    let found = capture_diff_slices_deadline(Algorithm::Myers, &before, &after, until);
    let changes = found.iter().flat_map(|it| it.iter_changes(&before, &after));
    let told = changes.map(|change| {
        let mark = match change.tag() {
            ChangeTag::Delete => '-',
            ChangeTag::Insert => '+',
            ChangeTag::Equal => ' ',
        };
        Line { mark, text: change.value().into() }
    });
    told.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(before: &str, after: &str) -> String {
        let marked = lines(before, after);
        let marked = marked.iter().map(|line| format!("{}{}", line.mark, line.text.0));
        marked.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn lines_that_stay_are_told_as_such() {
        assert_eq!(told("a\nb\nc\nd", "a\nx\nc\ny\nd"), " a -b +x  c +y  d");
        assert_eq!(told("", "a"), "+a");
        assert_eq!(told("a", ""), "-a");
        assert_eq!(told("a\na", "a\na"), " a  a");
        assert_eq!(told("b\na\nb", "a"), "-b  a -b");
    }

    #[test]
    fn very_long_texts_are_told_whole() {
        let (before, after) = ("a\n".repeat(5_000), "b\n".repeat(5_000));
        let marked = lines(&before, &after);
        assert_eq!(marked.len(), 10_000);
        assert!(marked[..5_000].iter().all(|line| line.mark == '-'));
    }
}
