//! Standard output: tables with colour on a terminal, tab-separated lines when piped, JSON with `--json`.
//! Control characters of external text never reach a terminal.

use std::borrow::Cow;
use std::io::{IsTerminal, Write as _};

use anstream::{AutoStream, ColorChoice};
use anstyle::{AnsiColor, Style};
use comfy_table::{ContentArrangement, ContentLineStyle, LineStyle, TableStyle};
use serde::Serialize;
use serde_json::json;

use crate::domain::attempt::{Effect, Outcome};
use crate::domain::terminal_text::{shown, shown_json, shown_output};

/// Standard output of one verb.
#[derive(Debug)]
pub struct Output {
    out: AutoStream<std::io::Stdout>,
    json: bool,
    terminal: bool,
    /// Which of several deployments it is of.
    deployment: Option<String>,
}

/// Rows under headers.
#[derive(Debug)]
pub struct Table {
    headers: Vec<&'static str>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with these columns.
    #[must_use]
    pub fn new(headers: &[&'static str]) -> Self {
        Self { headers: headers.to_vec(), rows: Vec::new() }
    }

    /// Adds a row.
    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().collect());
    }

    /// With the deployment as its first column.
    fn of(&self, deployment: &str) -> Self {
        let first = std::iter::once("deployment");
        let row = |row: &Vec<String>| {
            std::iter::once(deployment.to_owned()).chain(row.iter().cloned()).collect()
        };
        Self {
            headers: first.chain(self.headers.iter().copied()).collect(),
            rows: self.rows.iter().map(row).collect(),
        }
    }

    /// Whether it has no rows.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }
}

/// A cell with a dash for a missing value.
pub(super) fn or_dash(text: Option<impl Into<String>>) -> String {
    text.map_or_else(|| "-".to_owned(), Into::into)
}

impl Output {
    pub(super) fn new(json: bool, no_color: bool, deployment: Option<String>) -> Self {
        let stdout = std::io::stdout();
        let terminal = stdout.is_terminal();
        let choice = choice(no_color, &stdout);
        Self { out: AutoStream::new(stdout, choice), json, terminal, deployment }
    }

    /// Whether to print JSON.
    #[must_use]
    pub const fn is_json(&self) -> bool {
        self.json
    }

    /// Whether it is a terminal.
    #[must_use]
    pub const fn is_terminal(&self) -> bool {
        self.terminal
    }

    /// Prints a line, styled or not; external text in it must be `plain`.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn line(&mut self, text: impl AsRef<str>) -> std::io::Result<()> {
        match &self.deployment {
            Some(deployment) => {
                let text = format!("{}\t{}", plain(deployment), text.as_ref());
                self.write(&text)
            }
            None => self.write(text.as_ref()),
        }
    }

    fn write(&mut self, text: &str) -> std::io::Result<()> {
        // What was not `plain` does not act on a terminal either.
        let text = if self.terminal { shown_output(text) } else { Cow::Borrowed(text) };
        writeln!(self.out, "{text}")
    }

    /// Prints JSON: indented on a terminal, one line otherwise.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn json(&mut self, value: &impl Serialize) -> std::io::Result<()> {
        let text = match &self.deployment {
            Some(url) => self.json_text(&json!({ "url": url, "result": value })),
            None => self.json_text(value),
        };
        self.write(&shown_json(&text?))
    }

    fn json_text(&self, value: &impl Serialize) -> std::io::Result<String> {
        let text = if self.terminal {
            serde_json::to_string_pretty(value)
        } else {
            serde_json::to_string(value)
        };
        text.map_err(std::io::Error::other)
    }

    /// Prints a table: with headers and colour on a terminal, else a row a line, cells between
    /// tabs.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn table(&mut self, table: &Table) -> std::io::Result<()> {
        if self.terminal {
            let drawn = match &self.deployment {
                Some(deployment) => drawn(&table.of(deployment)),
                None => drawn(table),
            };
            for line in drawn.lines() {
                self.write(&coloured(line))?;
            }
            return Ok(());
        }
        for row in &table.rows {
            let cells: Vec<_> = row.iter().map(|cell| plain(cell)).collect();
            self.line(cells.join("\t"))?;
        }
        Ok(())
    }

    /// Prints a line on a terminal only.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn remark(&mut self, text: &str) -> std::io::Result<()> {
        if self.terminal && !self.json {
            let faint = Style::new().dimmed();
            self.line(format!("{faint}{}{faint:#}", plain(text)))?;
        }
        Ok(())
    }
}

/// Whether a stream takes colour: not when it is piped, nor with `--no-color` or `NO_COLOR`.
pub(super) fn choice(no_color: bool, stream: &impl anstream::stream::RawStream) -> ColorChoice {
    if no_color { ColorChoice::Never } else { AutoStream::choice(stream) }
}

const SEPARATOR: char = '│';

fn drawn(table: &Table) -> String {
    let between = ContentLineStyle::none().junction(SEPARATOR);
    let style = TableStyle::new()
        .header_lines(between)
        .content_lines(between)
        .header_separator(LineStyle::none().fill('─').junction('┼'));
    let mut drawn = comfy_table::Table::new();
    drawn.load_style(style);
    drawn.set_header(table.headers.clone());
    for row in &table.rows {
        // A separator within a cell would be taken for the end of it.
        drawn.add_row(row.iter().map(|cell| plain(cell).replace(SEPARATOR, "|")));
    }
    if let Ok(size) = rustix::termios::tcgetwinsize(std::io::stdout())
        && size.ws_col > 0
    {
        drawn.set_content_arrangement(ContentArrangement::Dynamic);
        drawn.set_width(size.ws_col);
    }
    drawn.trim_fmt()
}

/// A printed line with its states in colour.
fn coloured(line: &str) -> String {
    let cells = line.split(SEPARATOR).map(|cell| match style_of(cell.trim()) {
        Some(style) => format!("{style}{cell}{style:#}"),
        None => cell.to_owned(),
    });
    let separator = SEPARATOR.to_string();
    cells.collect::<Vec<_>>().join(&separator)
}

/// The colour of a state, outcome or reason.
pub(super) fn style_of(word: &str) -> Option<Style> {
    let colour = match word {
        "delivered" | "done" | "ok" | "ready" => AnsiColor::Green,
        "pending" | "leased" | "running" => AnsiColor::Yellow,
        "dead" | "deadline" | "failed" => AnsiColor::Red,
        "discarded" | "cancelled" => AnsiColor::BrightBlack,
        _ => match Outcome::parse(word)?.effect() {
            Effect::Delivered => AnsiColor::Green,
            Effect::Dropped => AnsiColor::BrightBlack,
            Effect::Retried => AnsiColor::Yellow,
            Effect::Dead => AnsiColor::Red,
        },
    };
    Some(Style::new().fg_color(Some(colour.into())))
}

/// A cell in its colour.
pub(super) fn painted(word: &str) -> String {
    match style_of(word) {
        Some(style) => format!("{style}{word}{style:#}"),
        None => plain(word).into_owned(),
    }
}

/// Text from elsewhere, its control and direction characters shown by their code.
pub(super) fn plain(text: &str) -> Cow<'_, str> {
    shown(text)
}

#[cfg(test)]
mod tests {
    use super::{coloured, plain};

    #[test]
    fn control_characters_do_not_reach_the_terminal() {
        assert_eq!(plain("a\u{1b}[2Jb\tc"), "a\\u{1b}[2Jb\\u{9}c");
        assert_eq!(plain("a\u{202e}b"), "a\\u{202e}b");
        assert_eq!(plain("größe"), "größe");
    }

    #[test]
    fn only_whole_cells_are_coloured() {
        assert_eq!(coloured(" x │ dead "), " x │\u{1b}[31m dead \u{1b}[0m");
        assert_eq!(coloured(" dead end │ y"), " dead end │ y");
    }
}
