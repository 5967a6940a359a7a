//! A location in a mapping, as in `data.items[0].@template`. Keys that are not one word are printed in
//! brackets and quotes.

use std::fmt;

/// A location; empty: the mapping itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Location(Vec<Step>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    Key(String),
    Index(usize),
}

impl Location {
    /// A field of the mapping.
    pub(super) fn of(field: &str) -> Self {
        Self(vec![Step::Key(field.to_owned())])
    }

    pub(super) fn push_key(&mut self, key: &str) {
        self.0.push(Step::Key(key.to_owned()));
    }

    pub(super) fn push_index(&mut self, index: usize) {
        self.0.push(Step::Index(index));
    }

    pub(super) fn pop(&mut self) {
        self.0.pop();
    }

    pub(super) fn depth(&self) -> usize {
        self.0.len()
    }

    /// Adds a key in front.
    pub(super) fn prepend_key(&mut self, key: &str) {
        self.0.insert(0, Step::Key(key.to_owned()));
    }

    /// Adds an index in front.
    pub(super) fn prepend_index(&mut self, index: usize) {
        self.0.insert(0, Step::Index(index));
    }
}

impl fmt::Display for Location {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, step) in self.0.iter().enumerate() {
            match step {
                Step::Index(index) => write!(out, "[{index}]")?,
                Step::Key(key) if !is_word(key) => write!(out, "[{key:?}]")?,
                Step::Key(key) if at == 0 => out.write_str(key)?,
                Step::Key(key) => write!(out, ".{key}")?,
            }
        }
        Ok(())
    }
}

fn is_word(key: &str) -> bool {
    let fits = |char: char| char.is_alphanumeric() || matches!(char, '_' | '-' | '@' | '$');
    !key.is_empty() && key.chars().all(fits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_location_is_printed_as_a_path() {
        let mut location = Location::of("data");
        location.push_key("items");
        location.push_index(2);
        location.push_key("total billed");
        location.push_key("@template");
        assert_eq!(location.to_string(), "data.items[2][\"total billed\"].@template");
        location.pop();
        location.prepend_index(1);
        location.prepend_key("a.b");
        assert_eq!(location.to_string(), "[\"a.b\"][1].data.items[2][\"total billed\"]");
    }
}
