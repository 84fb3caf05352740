//! Sends log lines to standard error, and into a small queue from which Redis control takes them.
//!
//! Lines are passed on by the thread that logs, which may be the forwarder, so nothing here waits: a separate thread
//! writes standard error (a full pipe loses lines, never events), and a full queue drops its oldest lines and counts
//! them. It knows no Redis: `control::redis::logs` takes the lines from [`LogLines`].

use std::{
    collections::VecDeque,
    io::IsTerminal as _,
    sync::{Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use tokio::sync::Notify;
use tracing::{Event, Subscriber, level_filters::LevelFilter};
use tracing_appender::non_blocking::{NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::{
    Layer,
    filter::Targets,
    fmt::format::Writer,
    layer::{Context, SubscriberExt as _},
    registry::LookupSpan,
    util::{SubscriberInitExt as _, TryInitError},
};

use super::{
    format::{on_lines, write_text},
    plain::short,
};
use crate::settings::LogLevel;

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
        .with(Tap)
        .try_init()?;
    Ok(Flush(guard))
}

/// One line, in the form of a dranspose controller's log page.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct LogLine {
    /// The message, with its fields as `name=value`.
    pub(crate) msg: String,
    pub(crate) lineno: u32,
    /// The module that logged it.
    pub(crate) name: &'static str,
    /// Seconds since the epoch.
    pub(crate) created: f64,
    /// `DEBUG`, `INFO`, `WARNING` or `ERROR`: another name breaks the controller's log page for everybody.
    pub(crate) levelname: &'static str,
}

/// The queue between the threads that log and the task that takes lines elsewhere. Holds at most [`QUEUE_LINES`] ×
/// [`LONGEST`](super::plain::LONGEST) bytes.
#[derive(Debug)]
pub(crate) struct LogLines {
    /// Waiting lines, and the number of dropped ones since the last take. Locked only for a push or a take.
    waiting: Mutex<(VecDeque<LogLine>, u64)>,
    /// Notifies the taker of new lines.
    there: Notify,
}

impl LogLines {
    /// The queue of this process; stays empty without [`init`].
    pub(crate) fn of_process() -> &'static Self {
        static LINES: LogLines = LogLines::new();
        &LINES
    }

    const fn new() -> Self {
        Self { waiting: Mutex::new((VecDeque::new(), 0)), there: Notify::const_new() }
    }

    /// All waiting lines, oldest first, and the number of lines lost before. Waits until there is a line.
    pub(crate) async fn take(&self) -> (VecDeque<LogLine>, u64) {
        loop {
            let taken = self.take_now();
            if !taken.0.is_empty() {
                return taken;
            }
            self.there.notified().await;
        }
    }

    /// As [`LogLines::take`], without waiting.
    pub(crate) fn take_now(&self) -> (VecDeque<LogLine>, u64) {
        std::mem::take(&mut *self.waiting.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn push(&self, line: LogLine) {
        {
            let (lines, dropped) = &mut *self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            if lines.len() >= QUEUE_LINES {
                lines.pop_front();
                *dropped += 1;
            }
            lines.push_back(line);
        }
        self.there.notify_one();
    }
}

/// Puts every line into the process's queue.
struct Tap;

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Tap {
    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut text = String::new();
        // Writing to a String cannot fail.
        let _ = write_text(&mut Writer::new(&mut text), event, context.event_scope(event));
        let about = event.metadata();
        let level = *about.level();
        LogLines::of_process().push(LogLine {
            msg: short(&text),
            lineno: about.line().unwrap_or(0),
            name: about.target(),
            created: SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs_f64(),
            levelname: match level {
                tracing::Level::ERROR => "ERROR",
                tracing::Level::WARN => "WARNING",
                tracing::Level::INFO => "INFO",
                tracing::Level::DEBUG | tracing::Level::TRACE => "DEBUG",
            },
        });
    }
}

/// Maximum number of lines that wait for Redis: as many as its stream keeps.
const QUEUE_LINES: usize = 1000;
/// Maximum number of lines that wait for the reader of standard error.
const STDERR_LINES: usize = 8192;

#[cfg(test)]
mod tests {
    use std::{io, sync::Arc};

    use super::{super::plain::LONGEST, *};

    fn line(lineno: u32) -> LogLine {
        LogLine { msg: String::new(), lineno, name: "test", created: 0.0, levelname: "INFO" }
    }

    #[tokio::test]
    async fn a_full_queue_drops_its_oldest_lines_and_counts_them() {
        let lines = LogLines::new();
        for number in 0..QUEUE_LINES as u32 + 5 {
            lines.push(line(number));
        }
        let (taken, dropped) = lines.take().await;
        assert_eq!((taken.len(), taken[0].lineno, dropped), (QUEUE_LINES, 5, 5));
        lines.push(line(7));
        assert_eq!(lines.take().await, (VecDeque::from([line(7)]), 0));
    }

    #[test]
    fn a_line_has_message_and_fields_and_an_end() {
        let subscriber = tracing_subscriber::registry().with(on_lines().with_writer(io::sink)).with(Tap);
        tracing::subscriber::with_default(subscriber, || {
            let _span = tracing::error_span!("ingester", ingester = %"one").entered();
            tracing::warn!(stream = "a b", "it {}", "happened");
            tracing::error!("{}", "ä".repeat(LONGEST));
        });
        let (taken, _) = LogLines::of_process().take_now();
        assert_eq!(taken[0].msg, r#"it happened stream="a b" ingester=one"#);
        assert_eq!((taken[0].levelname, taken[0].name), ("WARNING", module_path!()));
        assert!(taken[1].msg.len() <= LONGEST && taken[1].msg.ends_with("ä…"));
    }

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
