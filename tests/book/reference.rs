//! What the book says of settings, the command line, the admin API and retries is written from the program. A section that
//! is not current fails; with `WRITE_BOOK` set it is written.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use clap::{Arg, ArgAction, Command};
use postrider::cli;
use postrider::domain::attempt::{Effect, Outcome};
use postrider::domain::retry::{BACKOFF_BASE, BACKOFF_CAP};
use postrider::settings::{SETTINGS, Setting, Settings};
use serde_json::Value;

use super::{ROOT, text_of};
use crate::support::app::Builder;

/// Compares the page's section between `<!-- written: NAME -->` and `<!-- written end -->`, or writes it.
fn current(page: &str, name: &str, section: &str) {
    let (begin, end) = (format!("<!-- written: {name} -->\n"), "<!-- written end -->");
    let text = text_of(page);
    let (before, rest) =
        text.split_once(&begin).unwrap_or_else(|| panic!("{page} has no section {name}"));
    let (found, after) =
        rest.split_once(end).unwrap_or_else(|| panic!("{page}: {name} has no end"));
    let section = format!("\n{}\n\n", section.trim());
    if found == section {
        return;
    }
    assert!(
        std::env::var_os("WRITE_BOOK").is_some(),
        "{page}: {name} is not current; WRITE_BOOK=1 cargo nextest run -E 'test(/^book::reference/)' writes it"
    );
    std::fs::write(Path::new(ROOT).join(page), format!("{before}{begin}{section}{end}{after}"))
        .unwrap();
}

/// Text in a cell of a table.
fn cell(text: &str) -> String {
    let text = text.trim().replace('\n', " ").replace('|', "\\|");
    text.replace('<', "&lt;").replace('*', "\\*")
}

fn setting_section(setting: &Setting) -> String {
    // It depends on the machine.
    let default = match setting.name {
        "function_workers" => "the number of cores, at least 2".to_owned(),
        _ => format!("`{}`", setting.show(&Settings::default())),
    };
    let name = setting.name;
    let (file, flag) = if setting.is_secret() {
        ("none".to_owned(), "none".to_owned())
    } else {
        (format!("`{name}`"), format!("`--{}`", setting.flag()))
    };
    let (variable, expected) = (setting.variable(), cell(&setting.expected()));
    format!(
        "### {name}\n\n{}.\n\n| `postrider.toml` | environment | flag | values | default |\n| --- | --- | --- | --- | --- |\n\
         | {file} | `{variable}` | {flag} | {expected} | {default} |\n\n",
        setting.help
    )
}

#[test]
fn the_page_of_settings_is_current() {
    let sections: String = SETTINGS.iter().map(setting_section).collect();
    current("docs/configuration.md", "settings", &sections);
}

fn argument_row(argument: &Arg) -> String {
    let short = argument.get_short().map(|short| format!("`-{short}`, ")).unwrap_or_default();
    let help = argument.get_help().map(ToString::to_string).unwrap_or_default();
    let mut help = cell(&help);
    let values = argument.get_possible_values();
    let is_flag = matches!(argument.get_action(), ArgAction::SetTrue);
    if !is_flag && !values.is_empty() {
        let names: Vec<_> = values.iter().map(|value| format!("`{}`", value.get_name())).collect();
        let _ = write!(help, ": {}", names.join(", "));
    }
    let defaults: Vec<_> =
        argument.get_default_values().iter().map(|value| value.to_string_lossy()).collect();
    if !is_flag && !defaults.is_empty() {
        let _ = write!(help, "; by default `{}`", defaults.join(" "));
    }
    if let Some(variable) = argument.get_env() {
        let _ = write!(help, "; or the variable `{}`", variable.to_string_lossy());
    }
    format!("| {short}`{}` | {help} |\n", argument.to_string().replace('|', "\\|"))
}

fn argument_table(arguments: &[&Arg]) -> String {
    if arguments.is_empty() {
        return String::new();
    }
    let rows: String = arguments.iter().map(|argument| argument_row(argument)).collect();
    format!("| argument | |\n| --- | --- |\n{rows}\n")
}

fn verb_section(command: &mut Command, path: &str, out: &mut String) {
    let about = command.get_long_about().or_else(|| command.get_about());
    let about = about.map(ToString::to_string).unwrap_or_default();
    let usage = command.render_usage().to_string();
    let usage = usage.trim_start_matches("Usage: ");
    let _ =
        write!(out, "## {path}\n\n{}.\n\n```text\n{usage}\n```\n\n", about.trim_end_matches('.'));
    let own: Vec<_> = command
        .get_arguments()
        .filter(|argument| !argument.is_hide_set() && !argument.is_global_set())
        .filter(|argument| !matches!(argument.get_id().as_str(), "help" | "version"))
        .filter(|argument| argument.get_help_heading() != Some("Settings"))
        .collect();
    out.push_str(&argument_table(&own));
    if let Some(after) = command.get_after_help() {
        let _ = write!(out, "```text\n{}\n```\n\n", after.to_string().trim_end());
    }
    for verb in command.get_subcommands_mut() {
        if !verb.is_hide_set() && verb.get_name() != "help" {
            let path = format!("{path} {}", verb.get_name());
            verb_section(verb, &path, out);
        }
    }
}

#[test]
fn the_page_of_the_command_line_is_current() {
    let mut command = cli::command();
    command.build();
    let globals: Vec<_> =
        command.get_arguments().filter(|argument| argument.is_global_set()).collect();
    let mut text = argument_table(&globals);
    if let Some(after) = command.get_after_help() {
        let _ = write!(text, "```text\n{after}\n```\n\n");
    }
    for verb in command.get_subcommands_mut() {
        if !verb.is_hide_set() && verb.get_name() != "help" {
            let path = format!("postrider {}", verb.get_name());
            verb_section(verb, &path, &mut text);
        }
    }
    current("docs/cli.md", "verbs", &text);
}

fn operation_row(method: &str, path: &str, operation: &Value) -> String {
    let said = |what: &str| operation[what].as_str().unwrap_or_default().trim().to_owned();
    let parameters = operation["parameters"].as_array().into_iter().flatten();
    let names: Vec<_> = parameters
        .filter(|parameter| parameter["in"] == "query")
        .filter_map(|parameter| parameter["name"].as_str())
        .map(|name| format!("`{name}`"))
        .collect();
    let said = format!("{} {}", said("summary"), said("description"));
    format!("| `{} {path}` | {} | {} |\n", method.to_uppercase(), cell(&said), names.join(", "))
}

#[tokio::test]
async fn the_page_of_the_api_is_current() {
    let app = Builder::new().start().await;
    let (status, document) = app.client.get("/openapi.json").await.unwrap();
    assert_eq!(status, 200);
    let mut tags: BTreeMap<String, String> = BTreeMap::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let tag = operation["tags"][0].as_str().unwrap();
            let rows = tags.entry(tag.to_owned()).or_default();
            rows.push_str(&operation_row(method, path, operation));
        }
    }
    let sections: String = tags
        .iter()
        .map(|(tag, rows)| {
            format!("## {tag}\n\n| request | | query parameters |\n| --- | --- | --- |\n{rows}\n")
        })
        .collect();
    current("docs/api.md", "operations", &sections);
}

fn duration(millis: u64) -> String {
    let seconds = millis / 1_000;
    match seconds {
        0..60 if !millis.is_multiple_of(1_000) => format!("{seconds}.{} s", millis % 1_000 / 100),
        0..60 => format!("{seconds} s"),
        60..3_600 => format!("{} min {:02} s", seconds / 60, seconds % 60),
        _ => format!("{} h {:02} min", seconds / 3_600, seconds % 3_600 / 60),
    }
}

#[test]
fn the_table_of_retries_is_current() {
    const SHOWN: u64 = 16;
    let millis = |wait: std::time::Duration| u64::try_from(wait.as_millis()).unwrap();
    let longest = millis(BACKOFF_CAP);
    let (mut latest, mut wait) = (0, millis(BACKOFF_BASE));
    let mut table = "| attempt | waits at most | starts on average after | at the latest after |\n\
                     | --- | ---: | ---: | ---: |\n| 1 | | at once | at once |\n"
        .to_owned();
    for attempt in 2..=SHOWN {
        latest += wait;
        let (waits, average, last) = (duration(wait), duration(latest / 2), duration(latest));
        let _ = writeln!(table, "| {attempt} | {waits} | {average} | {last} |");
        wait = (wait * 2).min(longest);
    }
    let (waits, average) = (duration(longest), duration(longest / 2));
    let _ = writeln!(table, "| each further | {waits} | {average} later | {waits} later |");
    current("docs/delivery.md", "retries", &table);
}

#[test]
fn the_table_of_outcomes_says_what_follows_each() {
    let page = text_of("docs/delivery.md");
    let said = |outcome: Outcome| {
        let start = format!("| `{}` |", outcome.as_str());
        let row = page.lines().find(|line| line.starts_with(&start));
        row.and_then(|row| row.trim_end_matches('|').rsplit('|').next()).map(str::trim)
    };
    for outcome in Outcome::ALL {
        let follows = match outcome.effect() {
            Effect::Delivered => "delivered",
            Effect::Dropped => "discarded",
            Effect::Retried => "retried",
            Effect::Dead => "dead letter",
        };
        assert_eq!(said(outcome), Some(follows), "{}", outcome.as_str());
    }
}
