//! Logging of the command: to standard error, and to the controller's log page.
//!
//! Lines are passed on by the thread that logs, which may be the forwarder, so nothing here waits: a separate thread
//! writes standard error, and a full pipe loses lines, never events.

mod format;

use std::io::IsTerminal as _;

use framegate::{logs::LogPageLayer, settings::LogLevel};
use tracing::level_filters::LevelFilter;
use tracing_appender::non_blocking::{NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::{
    filter::Targets,
    layer::SubscriberExt as _,
    util::{SubscriberInitExt as _, TryInitError},
};

use self::format::on_lines;

/// Writes the last lines when it is dropped; the command holds it until it ends.
#[derive(Debug)]
#[must_use = "the last lines are lost when this is dropped early"]
pub(crate) struct Flush(#[expect(dead_code, reason = "it works by its drop")] WorkerGuard);

/// Sets up logging for the whole process. Colours only on a terminal, and not if NO_COLOR is set. Other crates log only
/// warnings and errors.
///
/// # Errors
/// Logging was already set up.
pub(crate) fn init(level: LogLevel) -> Result<Flush, TryInitError> {
    let stderr = std::io::stderr();
    let colours = stderr.is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let (writer, guard) =
        NonBlockingBuilder::default().buffered_lines_limit(STDERR_LINES).lossy(true).thread_name("log").finish(stderr);
    let shown = match level {
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Warning => LevelFilter::WARN,
        LogLevel::Error => LevelFilter::ERROR,
    };
    let targets =
        Targets::new().with_default(shown.min(LevelFilter::WARN)).with_target(env!("CARGO_CRATE_NAME"), shown);
    tracing_subscriber::registry()
        .with(targets)
        .with(on_lines().with_writer(writer).with_ansi(colours))
        .with(LogPageLayer)
        .try_init()?;
    Ok(Flush(guard))
}

/// Maximum number of lines that wait for the reader of standard error.
const STDERR_LINES: usize = 8192;

#[cfg(test)]
mod tests {
    use std::{
        io,
        sync::{Arc, Mutex},
    };

    use super::*;

    #[test]
    fn text_from_outside_forges_no_line_and_moves_no_cursor() {
        let written = Arc::new(Mutex::new(Vec::new()));
        let to = written.clone();
        let layer = on_lines().with_ansi(false);
        let layer = layer.with_writer(move || Written(to.clone()));
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
            let forged = "a\n2026-01-01T00:00:00Z ERROR framegate: forged\u{1b}[2J";
            tracing::warn!(worker = forged, "{forged}");
            tracing::info!(bytes = 7, "no file\n  looked here");
        });
        let text = String::from_utf8(written.lock().unwrap().clone()).unwrap();
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines.len(), 3, "{text}");
        assert!(lines[0].contains("a\\n2026") && lines[0].contains("worker=") && !text.contains('\u{1b}'), "{text}");
        assert!(lines[1].ends_with("no file") && lines[2] == "  looked here bytes=7", "{text}");
    }

    struct Written(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
}
