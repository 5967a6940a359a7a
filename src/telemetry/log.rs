//! Log output on stderr: text on a terminal, JSON otherwise.

use std::io::IsTerminal as _;

use tracing_subscriber::Layer as _;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::domain::terminal_text::shown_output;
use crate::settings::{LogFormat, Settings};

/// Installs the subscriber that writes log lines; to be called once.
pub fn start(settings: &Settings) {
    let terminal = std::io::stderr().is_terminal();
    let text = match settings.log_format {
        LogFormat::Auto => terminal,
        LogFormat::Text => true,
        LogFormat::Json => false,
    };
    // `settings` has validated the targets; the fallback logs everything.
    let targets = settings
        .log
        .parse::<Targets>()
        .unwrap_or_else(|_| Targets::new().with_default(LevelFilter::TRACE))
        // It logs every scheduled job at `info`.
        .with_target("tokio_cron_scheduler", LevelFilter::WARN);
    let layer = tracing_subscriber::fmt::layer().with_writer(move || LineWriter { terminal });
    let layer = if text {
        let colour = terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        layer.with_ansi(colour).boxed()
    } else {
        layer.json().flatten_event(true).boxed()
    };
    // Tests in one process start it several times: the first subscriber stays.
    let _ = tracing_subscriber::registry().with(layer.with_filter(targets)).try_init();
}

/// Writes lines to stderr. On a terminal, control and direction characters are shown by their code.
struct LineWriter {
    terminal: bool,
}

impl std::io::Write for LineWriter {
    fn write(&mut self, line: &[u8]) -> std::io::Result<usize> {
        // The subscriber writes a whole line at once.
        self.write_all(line).map(|()| line.len())
    }

    fn write_all(&mut self, line: &[u8]) -> std::io::Result<()> {
        let mut out = std::io::stderr().lock();
        if self.terminal {
            out.write_all(shown_output(&String::from_utf8_lossy(line)).as_bytes())
        } else {
            out.write_all(line)
        }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        std::io::stderr().flush()
    }
}
