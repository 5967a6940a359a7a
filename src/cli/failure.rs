//! Errors of verbs: one line with the causes, a hint, and an exit code.

use std::fmt;
use std::io::Write as _;
use std::process::ExitCode;

use anstyle::{AnsiColor, Style};

use super::output;
use crate::domain::error_chain;
use crate::server::AppError;
use crate::settings::ConfigError;
use crate::settings::secrets::SecretError;
use crate::store::OpenError;
use crate::store::transfer::MoveError;

/// Exit codes, as `--help` lists them.
pub mod exit {
    /// Something failed, or a check found a fault.
    pub const FAILED: u8 = 1;
    /// Wrong usage, settings or input.
    pub const USAGE: u8 = 2;
    /// Not found.
    pub const NOT_FOUND: u8 = 3;
    /// The service cannot be reached, or refuses the token.
    pub const UNREACHABLE: u8 = 4;
    /// `apply --dry-run`: there are changes.
    pub const DIFFERENCE: u8 = 5;
    /// A search stopped before its end: there may be more.
    pub const INCOMPLETE: u8 = 6;
    /// Stopped by Ctrl-C.
    pub const INTERRUPTED: u8 = 130;
}

/// An error with a hint.
#[derive(Debug)]
pub struct Failure {
    message: String,
    hint: Option<String>,
    code: u8,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl Failure {
    /// An error in one line.
    #[must_use]
    pub fn new(code: u8, message: impl Into<String>) -> Self {
        Self { message: message.into(), hint: None, code, source: None }
    }

    /// Wrong usage or input.
    #[must_use]
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(exit::USAGE, message)
    }

    /// With a hint.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// With its cause.
    #[must_use]
    pub fn because(mut self, source: impl std::error::Error + Send + Sync + 'static) -> Self {
        self.source = Some(Box::new(source));
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.message)
    }
}

impl std::error::Error for Failure {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

/// Prints an error on stderr and returns its exit code.
pub(super) fn report(error: &anyhow::Error, no_color: bool) -> ExitCode {
    if is_broken_pipe(error) {
        // The reader closed the pipe.
        return ExitCode::SUCCESS;
    }
    let (code, hint) = verdict(error);
    let mut out =
        anstream::AutoStream::new(std::io::stderr(), output::choice(no_color, &std::io::stderr()));
    let red = Style::new().fg_color(Some(AnsiColor::Red.into())).bold();
    let bold = Style::new().bold();
    for line in one_line(error).lines() {
        // An error on stderr cannot be reported.
        let _ = writeln!(out, "{red}error{red:#}: {}", output::plain(line));
    }
    if let Some(hint) = hint {
        let _ = writeln!(out, "{bold}hint{bold:#}: {}", output::plain(&hint));
    }
    code.into()
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        cause
            .downcast_ref::<std::io::Error>()
            .is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
    })
}

/// The error with its causes in one line; configuration faults have a line each.
fn one_line(error: &anyhow::Error) -> String {
    if let Some(faults) = error.downcast_ref::<ConfigError>() {
        let lines = faults.faults.iter().map(|fault| error_chain::display(fault));
        return lines.collect::<Vec<_>>().join("\n");
    }
    error_chain::display(error.as_ref())
}

fn verdict(error: &anyhow::Error) -> (u8, Option<String>) {
    for cause in error.chain() {
        if let Some(failure) = cause.downcast_ref::<Failure>() {
            return (failure.code, failure.hint.clone());
        }
        if cause.is::<ConfigError>() {
            let hint = "postrider serve --help lists the settings; --print-config shows where each \
                        comes from";
            return (exit::USAGE, Some(hint.to_owned()));
        }
        if let Some(error) = cause.downcast_ref::<SecretError>() {
            return (exit::FAILED, secret_hint(error));
        }
        if let Some(error) = cause.downcast_ref::<MoveError>() {
            let code = if error.is_of_input() { exit::USAGE } else { exit::FAILED };
            return (code, Some(error.hint().to_owned()));
        }
        if let Some(error) = cause.downcast_ref::<OpenError>() {
            return (open_code(error), Some(error.hint().to_owned()));
        }
        if let Some(error) = cause.downcast_ref::<AppError>() {
            let code =
                if let AppError::Open(error) = error { open_code(error) } else { exit::FAILED };
            return (code, app_hint(error));
        }
    }
    (exit::FAILED, None)
}

const fn open_code(error: &OpenError) -> u8 {
    if error.is_of_input() { exit::USAGE } else { exit::FAILED }
}

fn app_hint(error: &AppError) -> Option<String> {
    match error {
        AppError::Listen(error) => Some(error.hint.to_owned()),
        AppError::Open(error) => Some(error.hint().to_owned()),
        AppError::Secret(error) => secret_hint(error),
        AppError::Fatal { .. } => Some("start it again; postrider doctor examines it".to_owned()),
        AppError::Spans(_) => {
            Some("otlp_endpoint takes a URL such as http://127.0.0.1:4318".to_owned())
        }
        AppError::Threads(_) => {
            Some("raise the limit on this user's processes (ulimit -u) or of its group".to_owned())
        }
        AppError::Store(_)
        | AppError::Sender(_)
        | AppError::UserAgent { .. }
        | AppError::Schedule(_)
        | AppError::Randomness(_)
        | AppError::Task { .. } => None,
    }
}

fn secret_hint(error: &SecretError) -> Option<String> {
    match error {
        SecretError::Exposed { path, .. } => Some(format!(
            "chmod 600 {}, and replace the key if another user may have read it",
            path.display()
        )),
        SecretError::Foreign { path, user, .. } => Some(format!(
            "chown {user} {}, and replace what it has if that user may have written it",
            path.display()
        )),
        SecretError::File { path, .. } => {
            Some(format!("check who owns {} and its folder", path.display()))
        }
        SecretError::Key => Some("make one with: head -c 32 /dev/urandom | base64".to_owned()),
        SecretError::KeyMissing { .. } | SecretError::OtherKey { .. } => {
            Some("the key lies beside the database it belongs to; keep both in backups".to_owned())
        }
        SecretError::Random(_)
        | SecretError::Malformed { .. }
        | SecretError::Tampered
        | SecretError::TooLong => None,
    }
}
