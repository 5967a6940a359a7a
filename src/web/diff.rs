//! What differs between two texts, line by line: what went, what stayed, what came.

use super::text::Outside;

/// Lines that are compared each with each at most; more are told as gone and come.
const COMPARED: usize = 600;

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
    let same = before.iter().zip(&after).take_while(|(one, other)| one == other).count();
    let (from, to) = (&before[same..], &after[same..]);
    let pairs = from.iter().rev().zip(to.iter().rev());
    let end = pairs.take_while(|(one, other)| one == other).count();
    let (from, to) = (&from[..from.len() - end], &to[..to.len() - end]);
    let mut found = Vec::with_capacity(before.len() + to.len());
    let mut tell = |mark, text: &str| found.push(Line { mark, text: text.into() });
    before[..same].iter().for_each(|line| tell(' ', line));
    for (mark, line) in middle(from, to) {
        tell(mark, line);
    }
    before[before.len() - end..].iter().for_each(|line| tell(' ', line));
    found
}

/// By the longest lines in common; where there are too many for that, all of one and all of the other.
fn middle<'t>(from: &[&'t str], to: &[&'t str]) -> Vec<(char, &'t str)> {
    if from.len() > COMPARED || to.len() > COMPARED {
        let gone = from.iter().map(|line| ('-', *line));
        return gone.chain(to.iter().map(|line| ('+', *line))).collect();
    }
    // How many lines the rests from each pair of places on have in common.
    let mut common = vec![vec![0_u16; to.len() + 1]; from.len() + 1];
    for one in (0..from.len()).rev() {
        for other in (0..to.len()).rev() {
            common[one][other] = if from[one] == to[other] {
                common[one + 1][other + 1] + 1
            } else {
                common[one + 1][other].max(common[one][other + 1])
            };
        }
    }
    let (mut one, mut other) = (0, 0);
    let mut found = Vec::new();
    while one < from.len() || other < to.len() {
        let (gone, come) = (from.get(one), to.get(other));
        if let Some(line) = gone.filter(|line| come == Some(*line)) {
            found.push((' ', *line));
            (one, other) = (one + 1, other + 1);
        } else if let Some(line) =
            gone.filter(|_| come.is_none() || common[one + 1][other] >= common[one][other + 1])
        {
            found.push(('-', *line));
            one += 1;
        } else if let Some(line) = come {
            found.push(('+', *line));
            other += 1;
        }
    }
    found
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
    fn very_long_texts_are_told_without_comparing_each_line_with_each() {
        let (before, after) = ("a\n".repeat(5_000), "b\n".repeat(5_000));
        let marked = lines(&before, &after);
        assert_eq!(marked.len(), 10_000);
        assert!(marked[..5_000].iter().all(|line| line.mark == '-'));
    }
}
