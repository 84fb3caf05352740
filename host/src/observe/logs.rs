//! Log lines on their way to the log page of a dranspose controller: a layer of `tracing-subscriber`, and a queue from
//! which the control through Redis takes them.
//!
//! Lines are queued by the thread that logs, which may be the forwarder, so nothing here waits: a full queue drops its
//! oldest lines and counts them.

use std::{
    collections::VecDeque,
    fmt::{self, Write as _},
    sync::{Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use tokio::sync::Notify;
use tracing::{
    Event, Id, Subscriber,
    field::{Field, Visit},
    span::{Attributes, Record},
};
use tracing_subscriber::{Layer, layer::Context, registry::LookupSpan};

use super::plain::{Plain, short};

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
    /// The queue of this process; stays empty without a [`LogPageLayer`].
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

/// A layer for a subscriber of `tracing`: hosts with a dranspose controller show its lines on the controller's log page.
/// Without one, lines of this process appear only where its other layers write them.
///
/// Install it once in a process, with the levels and targets that the page should have.
#[derive(Debug, Clone, Copy, Default)]
pub struct LogPageLayer;

/// The fields of a span, as text.
struct SpanFields(String);

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for LogPageLayer {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut text = String::new();
        attributes.record(&mut PlainFields(&mut text));
        if let Some(span) = context.span(id) {
            span.extensions_mut().insert(SpanFields(text));
        }
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        if let Some(span) = context.span(id)
            && let Some(SpanFields(text)) = span.extensions_mut().get_mut()
        {
            values.record(&mut PlainFields(text));
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut text = String::new();
        event.record(&mut PlainFields(&mut text));
        for span in context.event_scope(event).into_iter().flat_map(|scope| scope.from_root()) {
            if let Some(SpanFields(fields)) = span.extensions().get() {
                // Writing to a String cannot fail.
                let _ = write!(text, " {fields}");
            }
        }
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

/// Appends message and fields, both made plain: they contain text from outside.
struct PlainFields<'a>(&'a mut String);

impl Visit for PlainFields<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let Self(text) = self;
        if !text.is_empty() {
            text.push(' ');
        }
        // Writing to a String cannot fail.
        let _ = match field.name() {
            "message" => Plain::write(text, format_args!("{value:?}")),
            name => Plain::write(text, format_args!("{name}={value:?}")),
        };
    }
}

/// Maximum number of lines that wait for Redis: as many as its stream keeps.
const QUEUE_LINES: usize = 1000;

#[cfg(test)]
mod tests {
    use tracing_subscriber::layer::SubscriberExt as _;

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
        let subscriber = tracing_subscriber::registry().with(LogPageLayer);
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
}
