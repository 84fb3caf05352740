//! The form of a log line: time, level, the part of framegate, the message, its fields, and those of its spans.
//!
//! `2026-01-01T10:00:00.000000Z  INFO source: the detector started a series stream=camera`. Spans name the ingester or
//! stream that a thread works for, so that no line has to.

use std::fmt;

use framegate::plain::Plain;
use tracing::{Event, Level, Subscriber, field::Field};
use tracing_subscriber::{
    field::{MakeExt as _, RecordFields},
    fmt::{
        self as lines, FmtContext, FormatEvent, FormatFields, FormattedFields,
        format::{Writer, debug_fn},
        time::{FormatTime as _, SystemTime},
    },
    registry::{LookupSpan, Scope},
};

/// Writes lines of this form.
pub(super) fn on_lines<S: Subscriber + for<'a> LookupSpan<'a>>() -> lines::Layer<S, PlainFields, Form> {
    lines::layer().fmt_fields(PlainFields).event_format(Form)
}

/// Message and fields of a line, both made plain: they contain text from outside.
#[derive(Debug, Clone, Copy)]
pub(super) struct PlainFields;

impl<'w> FormatFields<'w> for PlainFields {
    fn format_fields<R: RecordFields>(&self, writer: Writer<'w>, fields: R) -> fmt::Result {
        let field = |to: &mut Writer<'_>, field: &Field, value: &dyn fmt::Debug| match field.name() {
            "message" => Plain::write(to, format_args!("{value:?}")),
            name => Plain::write(to, format_args!("{name}={value:?}")),
        };
        debug_fn(field).delimited(" ").format_fields(writer, fields)
    }
}

/// See the module.
#[derive(Debug, Clone, Copy)]
pub(super) struct Form;

impl<S: Subscriber + for<'a> LookupSpan<'a>> FormatEvent<S, PlainFields> for Form {
    fn format_event(
        &self,
        context: &FmtContext<'_, S, PlainFields>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        SystemTime.format_time(&mut writer)?;
        let (level, target) = (event.metadata().level(), part(event.metadata().target()));
        if writer.has_ansi_escapes() {
            write!(writer, " \u{1b}[{}m{level:>5}\u{1b}[0m {target}: ", colour(*level))?;
        } else {
            write!(writer, " {level:>5} {target}: ")?;
        }
        write_text(&mut writer, event, context.event_scope())?;
        writeln!(writer)
    }
}

/// Writes the message of an event, its fields, and those of its spans.
fn write_text<S: for<'a> LookupSpan<'a>>(
    to: &mut Writer<'_>,
    event: &Event<'_>,
    scope: Option<Scope<'_, S>>,
) -> fmt::Result {
    PlainFields.format_fields(to.by_ref(), event)?;
    for span in scope.into_iter().flat_map(Scope::from_root) {
        if let Some(fields) = span.extensions().get::<FormattedFields<PlainFields>>() {
            write!(to, " {fields}")?;
        }
    }
    Ok(())
}

/// The part of framegate that a module belongs to: `framegate::control::redis::health` is `redis`.
fn part(target: &str) -> &str {
    let inside = target.strip_prefix("framegate::").unwrap_or(target);
    let inside = inside.strip_prefix("control::").unwrap_or(inside);
    inside.split("::").next().unwrap_or(inside)
}

/// The colour of a level: red, yellow, green, blue.
fn colour(level: Level) -> u8 {
    match level {
        Level::ERROR => 31,
        Level::WARN => 33,
        Level::INFO => 32,
        Level::DEBUG | Level::TRACE => 34,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_is_known_by_its_part() {
        assert_eq!(part("framegate::control::redis::health"), "redis");
        assert_eq!(part("framegate::source::token"), "source");
        assert_eq!(part("framegate"), "framegate");
        assert_eq!(part("hyper::client"), "hyper");
    }
}
