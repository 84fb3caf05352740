//! `tracing` and `log` inside a loaded plugin: their events become lines of the host's log, with the stream's name.
//!
//! A plugin file has its own copy of these libraries, so the host's subscriber does not see its events. A linked source
//! shares the program's own.

use std::{
    io::{self, Write},
    sync::Once,
};

use framegate_plugin_abi::codes::LogLevel;
use tracing_subscriber::{filter::LevelFilter, fmt::MakeWriter, util::SubscriberInitExt as _};

/// Sends the plugin's events to `log`, up to `level`; once for each loaded copy.
pub(crate) fn set_up(level: LogLevel, log: fn(LogLevel, &str)) {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let most = match level {
            LogLevel::Error => LevelFilter::ERROR,
            LogLevel::Warn => LevelFilter::WARN,
            LogLevel::Info => LevelFilter::INFO,
            LogLevel::Debug => LevelFilter::DEBUG,
        };
        // The host writes time and level.
        let plain = tracing_subscriber::fmt().without_time().with_level(false).with_target(false).with_ansi(false);
        let subscriber = plain.with_max_level(most).with_writer(ToHost(log)).finish();
        // Fails if a library of the plugin has set one before; that one stays.
        let _ = subscriber.try_init();
    });
}

struct ToHost(fn(LogLevel, &str));

impl<'a> MakeWriter<'a> for ToHost {
    type Writer = Line;

    fn make_writer(&'a self) -> Line {
        Line { log: self.0, level: LogLevel::Info }
    }

    fn make_writer_for(&'a self, event: &tracing_core::Metadata<'_>) -> Line {
        let level = match *event.level() {
            tracing_core::Level::ERROR => LogLevel::Error,
            tracing_core::Level::WARN => LogLevel::Warn,
            tracing_core::Level::INFO => LogLevel::Info,
            _ => LogLevel::Debug,
        };
        Line { log: self.0, level }
    }
}

/// The writer of one event, which comes in one piece.
struct Line {
    log: fn(LogLevel, &str),
    level: LogLevel,
}

impl Write for Line {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        (self.log)(self.level, String::from_utf8_lossy(text).trim_end());
        Ok(text.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
