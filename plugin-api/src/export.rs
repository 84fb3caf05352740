//! Turns a [`Source`] into what a plugin file exports.
//!
//! [`export_source!`](crate::export_source) writes three statics into the plugin's crate: the note, which is read before
//! any code runs, the table of functions, and the description of the table's layout. [`Exported`] is the glue between the
//! author's traits and the binary interface; a linked source goes through the same glue.

use std::{sync::Arc, time::Duration};

use framegate_plugin_abi::{batch::BatchWriter, guard::Plugin, status::StatusWriter};

use crate::{Deadline, EventSink, HostContext, HostServices, Progress, Run as _, Source, SourceError, settings};

/// A source and its run, as the binary interface calls them. For the host and for `export_source!`; authors do not need it.
#[derive(Debug)]
pub struct Exported<S: Source> {
    /// Dropped before the source: it may use resources of the source.
    run: Option<S::Run>,
    source: S,
}

impl<S: Source> Plugin for Exported<S> {
    const PROTOCOL: &'static str = S::PROTOCOL;
    const EXCLUSIVE: bool = S::EXCLUSIVE;
    const ON_DEMAND: bool = <S::Run as crate::Run>::ON_DEMAND;

    fn create(stream: &str, settings: &str, host: Arc<dyn HostServices>) -> Result<Self, SourceError> {
        let settings = settings::from_json(settings)?;
        Ok(Self { run: None, source: S::create(settings, HostContext::new(stream, host))? })
    }

    fn open(&mut self) -> Result<(), SourceError> {
        self.close();
        self.run = Some(self.source.open()?);
        Ok(())
    }

    fn next(&mut self, out: &mut BatchWriter, left: Duration) -> Result<Progress, SourceError> {
        let Some(run) = &mut self.run else { return Ok(Progress::End) };
        run.next(&mut EventSink::into_batch(out), Deadline::after(left))
    }

    fn trigger(&mut self, event_number: u64, out: &mut BatchWriter) -> Result<(), SourceError> {
        let Some(run) = &mut self.run else { return Ok(()) };
        run.trigger(event_number, &mut EventSink::into_batch(out))
    }

    fn held_back(&mut self) {
        if let Some(run) = &mut self.run {
            run.held_back();
        }
    }

    fn close(&mut self) {
        self.run = None;
    }

    fn parameters(&self) -> String {
        serde_json::to_string(&self.source.parameters()).expect("names, texts and JSON values always have a JSON form")
    }

    fn set_parameter(&mut self, name: &str, value: &[u8]) -> Result<(), SourceError> {
        self.source.set_parameter(name, value)
    }

    fn status(&self, form: &mut StatusWriter<'_>) {
        if let Some(run) = &self.run {
            run.status().write(form);
        }
    }

    #[cfg(feature = "export")]
    fn set_up(level: crate::LogLevel, log: fn(crate::LogLevel, &str)) {
        crate::log::set_up(level, log);
    }
}

#[cfg(feature = "export")]
pub use framegate_plugin_abi::export_plugin;

/// Makes the crate a source plugin: one line, once in a crate, with the type that implements [`Source`].
///
/// The crate needs `crate-type = ["cdylib"]`; with `["cdylib", "rlib"]` the same source can also be linked into a
/// program that embeds the host. The macro works in a crate with `#![forbid(unsafe_code)]`.
///
/// A plugin built with `panic = "abort"` would crash the host with its first panic, so it does not compile.
#[cfg(feature = "export")]
#[macro_export]
macro_rules! export_source {
    ($source:ty $(,)?) => {
        $crate::export::export_plugin!($crate::export::Exported<$source>);
    };
}
