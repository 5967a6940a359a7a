//! `@template`: placeholders in triple braces are replaced by values, then those in double braces of the
//! result.

use std::borrow::Cow;

use super::budget::Budget;
use super::error::ErrorKind;
use super::path::Path;
use super::to_string;
use super::url_template::UrlBuilder;
use super::value::{Computed, View};
use crate::domain::mapping::UrlValues;
use crate::json::{Text, TextBuilder};

const TRIPLE: &str = "{{{";
const DOUBLE: &str = "{{";

/// A template ready to fill.
#[derive(Clone, Debug)]
pub(super) struct Template {
    pieces: Vec<Piece>,
    /// Whether it has triple braces: then its result may have double ones.
    again: bool,
    /// How values stand in it when it gives a URL; none: it gives text.
    url: Option<UrlValues>,
}

#[derive(Clone, Debug)]
enum Piece {
    Text(Text<'static>),
    Value(Path),
}

impl Template {
    pub(super) fn compile(text: &Text<'_>, url: Option<UrlValues>) -> Self {
        let triple = Self::of(text, TRIPLE, url);
        if triple.pieces.iter().any(|piece| matches!(piece, Piece::Value(_))) {
            Self { again: true, ..triple }
        } else {
            Self::of(text, DOUBLE, url)
        }
    }

    /// The text before the first placeholder.
    pub(super) fn literal_start(&self) -> Cow<'_, str> {
        match self.pieces.first() {
            Some(Piece::Text(text)) => text.plain(),
            Some(Piece::Value(_)) | None => Cow::Borrowed(""),
        }
    }

    /// The printed form can be searched: braces are never escaped in it.
    fn of(text: &Text<'_>, open: &str, url: Option<UrlValues>) -> Self {
        let pieces = placeholders(text.printed(), open).into_iter().map(|part| match part {
            Part::Text(printed) => Piece::Text(Text::from_printed(printed.to_owned())),
            Part::Placeholder(printed) => {
                let inside = Text::from_printed(printed.to_owned());
                Piece::Value(Path::parse_placeholder(trim(&inside.plain())))
            }
        });
        Self { pieces: pieces.collect(), again: false, url }
    }

    /// The text, when there are no placeholders.
    pub(super) fn fixed(&self) -> Option<Text<'static>> {
        match self.pieces.as_slice() {
            [] => Some(Text::from_plain("")),
            [Piece::Text(text)] => Some(text.clone()),
            _ => None,
        }
    }

    pub(super) fn fill(
        &self,
        payload: View<'_>,
        budget: &mut Budget,
    ) -> Result<Text<'static>, ErrorKind> {
        if let Some(values) = self.url {
            return self.fill_url(values, payload, budget);
        }
        let mut filled = TextBuilder::new();
        for piece in &self.pieces {
            let before = filled.len();
            match piece {
                Piece::Text(text) => filled.push(text),
                Piece::Value(path) => {
                    let value: Computed<'_> = path.walk(payload);
                    if value.view().exists() {
                        to_string::push(value.view(), &mut filled, budget)?;
                    }
                }
            }
            budget.take(filled.len().saturating_sub(before))?;
        }
        let filled = filled.finish();
        if self.again && filled.printed().contains(DOUBLE) {
            return Self::of(&filled, DOUBLE, None).fill(payload, budget);
        }
        Ok(filled)
    }

    /// Fills a URL: each value is encoded for the component that it stands in.
    fn fill_url(
        &self,
        values: UrlValues,
        payload: View<'_>,
        budget: &mut Budget,
    ) -> Result<Text<'static>, ErrorKind> {
        let mut url = UrlBuilder::new(values);
        for (at, piece) in self.pieces.iter().enumerate() {
            match piece {
                Piece::Text(text) => {
                    let text = text.plain();
                    budget.take(text.len())?;
                    url.push_literal(&text);
                }
                Piece::Value(path) => {
                    let value: Computed<'_> = path.walk(payload);
                    if !value.view().exists() {
                        continue;
                    }
                    let mut text = TextBuilder::new();
                    to_string::push(value.view(), &mut text, budget)?;
                    let text = text.finish();
                    let text = text.plain();
                    // Percent-encoding takes three bytes for one.
                    budget.take(text.len().saturating_mul(3))?;
                    url.push_value(&text, self.literal_at(at + 1).as_deref())?;
                }
            }
        }
        let filled = Text::from_plain(&url.finish()?).into_owned();
        if self.again && filled.printed().contains(DOUBLE) {
            return Self::of(&filled, DOUBLE, self.url).fill(payload, budget);
        }
        Ok(filled)
    }

    /// The literal text at this piece; none for a placeholder or the end.
    fn literal_at(&self, at: usize) -> Option<Cow<'_, str>> {
        match self.pieces.get(at)? {
            Piece::Text(text) => Some(text.plain()),
            Piece::Value(_) => None,
        }
    }
}

enum Part<'t> {
    Text(&'t str),
    Placeholder(&'t str),
}

/// Splits at placeholders: opening braces, one or more characters other than a closing brace, and as
/// many closing braces.
fn placeholders<'t>(text: &'t str, open: &str) -> Vec<Part<'t>> {
    let close = "}}}".get(..open.len()).unwrap_or_default();
    let (mut parts, mut start, mut at) = (Vec::new(), 0, 0);
    let mut closing = None;
    while let Some(found) = text[at..].find(open) {
        let opening = at + found;
        let inside = opening + open.len();
        if closing.is_none_or(|known| known < inside) {
            closing = text[inside..].find('}').map(|found| inside + found);
        }
        let Some(end) = closing else { break };
        if end > inside && text[end..].starts_with(close) {
            parts.push(Part::Text(&text[start..opening]));
            parts.push(Part::Placeholder(&text[inside..end]));
            start = end + close.len();
            at = start;
        } else {
            at = opening + 1;
        }
    }
    parts.push(Part::Text(&text[start..]));
    parts.retain(|part| !matches!(part, Part::Text("")));
    parts
}

/// Without JavaScript's white space at the ends (ECMA-262, 22.1.3.32), which is not quite Unicode's.
fn trim(text: &str) -> &str {
    text.trim_matches(|char: char| char == '\u{feff}' || char.is_whitespace() && char != '\u{85}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::parse;

    fn fill(template: &str) -> String {
        let text =
            r#"{"a":{"b":1.5},"s":"x","list":[1,[null,"y"],{}],"in":"{{s}}","z":null,"f":false}"#;
        let event = parse(text.as_bytes()).expect("JSON");
        let filled = Template::compile(&Text::from_plain(template), None)
            .fill(View::Value(&event), &mut Budget::new());
        filled.expect("within bounds").plain().into_owned()
    }

    #[test]
    fn placeholders_are_filled_as_segment_fills_them() {
        for (template, expected) in [
            ("", ""),
            ("plain }} {", "plain }} {"),
            ("{{s}}-{{ a.b }}\t{{{s}}}", "x-1.5\tx"),
            ("{{z}}{{nope}}{{$.s}}", ""),
            ("{{f}}{{list}}{{a}}", "false1,,y,[object Object][object Object]"),
            ("{{}}", "{{}}"),
            ("{{{}}}", "}"),
            ("{{ }}", "[object Object]"),
            ("{{{in}}}", "x"),
            ("{{in}}", "{{s}}"),
            ("{{{{s}}}}", "}"),
            ("{{{s}}", ""),
            ("{{s}} {{{ {s} }}}", "x {{{ {s} }}}"),
            ("{{s", "{{s"),
        ] {
            assert_eq!(fill(template), expected, "{template}");
        }
    }

    #[test]
    fn many_braces_are_searched_in_linear_time() {
        let braces = "{".repeat(200_000) + "}";
        assert_eq!(fill(&braces), braces);
    }
}
