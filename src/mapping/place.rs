//! Where in a mapping something stands, as in `data.items[0].@template`. Keys that would not read as
//! one word stand in brackets and quotes.

use std::fmt;

/// A place; empty: the mapping itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Place(Vec<Step>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    Key(String),
    Index(usize),
}

impl Place {
    /// The place of a field of the mapping.
    pub(super) fn of(field: &str) -> Self {
        Self(vec![Step::Key(field.to_owned())])
    }

    pub(super) fn enter_key(&mut self, key: &str) {
        self.0.push(Step::Key(key.to_owned()));
    }

    pub(super) fn enter_index(&mut self, index: usize) {
        self.0.push(Step::Index(index));
    }

    pub(super) fn leave(&mut self) {
        self.0.pop();
    }

    pub(super) fn depth(&self) -> usize {
        self.0.len()
    }

    /// Puts a key in front.
    pub(super) fn surround_key(&mut self, key: &str) {
        self.0.insert(0, Step::Key(key.to_owned()));
    }

    /// Puts an index in front.
    pub(super) fn surround_index(&mut self, index: usize) {
        self.0.insert(0, Step::Index(index));
    }
}

impl fmt::Display for Place {
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
    fn a_place_reads_as_it_would_be_written() {
        let mut place = Place::of("data");
        place.enter_key("items");
        place.enter_index(2);
        place.enter_key("total billed");
        place.enter_key("@template");
        assert_eq!(place.to_string(), "data.items[2][\"total billed\"].@template");
        place.leave();
        place.surround_index(1);
        place.surround_key("a.b");
        assert_eq!(place.to_string(), "[\"a.b\"][1].data.items[2][\"total billed\"]");
    }
}
