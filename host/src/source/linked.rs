//! A source that is compiled into the program: the same interface as a plugin file, without any boundary.
//!
//! Runs on the reader thread. A panic of the source ends here, as it would at the boundary, and the instance is not called
//! again.

use std::{
    any::Any,
    fmt,
    marker::PhantomData,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use framegate_plugin_api::{
    Deadline, Event, EventSink, HostContext, HostServices, Parameter, Progress, Source, SourceRun,
};
use serde_json::Value;

use super::{BATCH_BYTES, BATCH_EVENTS, Factory, Fault, Instance};

/// The factory of a linked source.
pub(crate) fn linked<S: Source>() -> Arc<dyn Factory> {
    Arc::new(LinkedFactory::<S>(PhantomData))
}

struct LinkedFactory<S>(PhantomData<fn() -> S>);

struct LinkedInstance<S: Source> {
    source: S,
    run: Option<S::Run>,
    /// The panic after which the source is not called any more.
    poisoned: Option<String>,
}

impl<S: Source> Factory for LinkedFactory<S> {
    fn create(
        &self,
        stream: &str,
        settings: &Value,
        services: Arc<dyn HostServices>,
    ) -> Result<Box<dyn Instance>, Fault> {
        let settings: S::Settings =
            serde_path_to_error::deserialize(settings).map_err(|problem| Fault::Settings(bad_settings(&problem)))?;
        let host = HostContext::new(stream, services);
        match catch_unwind(AssertUnwindSafe(|| S::create(settings, host))) {
            Ok(Ok(source)) => Ok(Box::new(LinkedInstance { source, run: None, poisoned: None })),
            Ok(Err(error)) => Err(Fault::Source(error)),
            Err(payload) => Err(Fault::Panicked { call: "create", message: panic_message(payload) }),
        }
    }

    fn describe(&self) -> String {
        format!("{} (linked)", S::PROTOCOL)
    }
}

/// `field: what is wrong`, or what is wrong alone for the settings as a whole.
fn bad_settings(problem: &serde_path_to_error::Error<serde_json::Error>) -> String {
    match problem.path().to_string().as_str() {
        "." => format!("settings: {}", problem.inner()),
        path => format!("settings.{path}: {}", problem.inner()),
    }
}

impl<S: Source> LinkedInstance<S> {
    /// Calls the source, unless it has panicked; catches a panic.
    fn guarded<T>(
        &mut self,
        call: &'static str,
        what: impl FnOnce(&mut S, &mut Option<S::Run>) -> Result<T, framegate_plugin_api::SourceError>,
    ) -> Result<T, Fault> {
        if let Some(panic) = &self.poisoned {
            return Err(Fault::Poisoned(panic.clone()));
        }
        match catch_unwind(AssertUnwindSafe(|| what(&mut self.source, &mut self.run))) {
            Ok(answer) => answer.map_err(Fault::Source),
            Err(payload) => {
                let message = panic_message(payload);
                self.poisoned = Some(message.clone());
                Err(Fault::Panicked { call, message })
            }
        }
    }
}

impl<S: Source> Instance for LinkedInstance<S> {
    fn on_demand(&self) -> bool {
        S::ON_DEMAND
    }

    fn parameters(&mut self) -> Result<Vec<Parameter>, Fault> {
        self.guarded("parameters", |source, _| Ok(source.parameters()))
    }

    fn set_parameter(&mut self, name: &str, value: &[u8]) -> Result<(), Fault> {
        self.guarded("set_parameter", |source, _| source.set_parameter(name, value))
    }

    fn open(&mut self) -> Result<(), Fault> {
        self.close();
        self.guarded("open", |source, run| {
            *run = Some(source.open()?);
            Ok(())
        })
    }

    fn next(&mut self, out: &mut Vec<Event>, deadline: Deadline) -> Result<Progress, Fault> {
        self.guarded("next", |_, run| {
            let Some(run) = run else { return Ok(Progress::End) };
            let mut push = |event| out.push(event);
            run.next(&mut EventSink::new(&mut push, BATCH_EVENTS, BATCH_BYTES), deadline)
        })
    }

    fn trigger(&mut self, event_number: u64, out: &mut Vec<Event>) -> Result<(), Fault> {
        self.guarded("trigger", |_, run| {
            let Some(run) = run else { return Ok(()) };
            let mut push = |event| out.push(event);
            run.trigger(event_number, &mut EventSink::new(&mut push, BATCH_EVENTS, BATCH_BYTES))
        })
    }

    fn skipped(&mut self) -> Vec<(String, u64)> {
        let skipped = self.guarded("skipped", |_, run| Ok(run.as_ref().map(SourceRun::skipped).unwrap_or_default()));
        skipped.unwrap_or_default().into_iter().map(|(reason, count)| (reason.to_owned(), count)).collect()
    }

    fn close(&mut self) {
        if self.poisoned.is_some() {
            // A run that panicked may panic again in its drop, or wait for what will not come.
            std::mem::forget(self.run.take());
            return;
        }
        let closed = self.guarded("close", |_, run| {
            drop(run.take());
            Ok(())
        });
        if let Err(fault) = closed {
            tracing::error!("closing a run: {fault}");
        }
    }
}

impl<S> fmt::Debug for LinkedFactory<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LinkedFactory")
    }
}

/// What a panic said.
fn panic_message(payload: Box<dyn Any + Send>) -> String {
    let message = match payload.downcast_ref::<&str>() {
        Some(message) => (*message).to_owned(),
        None => payload.downcast_ref::<String>().cloned().unwrap_or_else(|| "no message".to_owned()),
    };
    // A payload may panic in its drop.
    std::mem::forget(payload);
    message
}
