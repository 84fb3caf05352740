//! The host's side of the tables, as safe calls: every answer is checked, and a plugin that broke a rule is not called
//! again.
//!
//! An [`Instance`] stays on the thread that created it. It owns what the plugin fills: the arrays of a batch, the
//! buffer for errors. It knows nothing of files: the loader has checked the file before it creates a [`Plugin`] from
//! it.
#![allow(unsafe_code)]

mod answers;
mod events;
mod services;
mod typs;

use std::{ffi::c_void, fmt, ptr, sync::Arc, time::Duration};

pub use answers::RunStatus;
pub use events::Frames;
pub use typs::Types;

use crate::{
    codes::{ErrorKind, EventKind, Outcome, Progress},
    error::{ErrorBuffer, SourceError},
    frame::Ledger,
    guard,
    host::HostServices,
    text::Text,
    vtable::{EXCLUSIVE, PluginTable},
};
use events::BatchBuffer;

/// The functions of one plugin.
#[derive(Debug, Clone, Copy)]
pub struct Plugin {
    table: &'static PluginTable,
    ledger: &'static Ledger,
}

/// Why a call failed. A fault ends the stream's part in the scan; other streams continue.
#[derive(Debug, Clone)]
pub enum Fault {
    /// The source reported an error.
    Source(SourceError),
    /// The source's code panicked; the instance is never called again.
    Panicked {
        /// `create`, `open`, `next`, …
        call: &'static str,
        /// The panic's message, with its place if known.
        message: String,
    },
    /// The source broke a rule of the interface; the instance is never called again.
    Garbage {
        /// `create`, `open`, `next`, …
        call: &'static str,
        /// The invalid answer.
        answer: String,
    },
    /// The source's process has died, broken a rule, or did not answer; the instance is never called again.
    Lost(String),
    /// The instance panicked or answered garbage earlier and is no longer called.
    Poisoned(String),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Source(error) => error.fmt(f),
            Self::Panicked { call, message } => write!(f, "{call} panicked: {message}"),
            Self::Garbage { call, answer } => write!(f, "{call} answered {answer}, which the interface does not allow"),
            Self::Lost(why) => f.write_str(why),
            Self::Poisoned(earlier) => write!(f, "it is not called any more, because earlier {earlier}"),
        }
    }
}

impl std::error::Error for Fault {}

impl Plugin {
    /// The plugin behind a table.
    ///
    /// # Safety
    /// - The table's functions are those of a plugin that keeps the rules of [`vtable`](crate::vtable), and stay loaded for ever.
    ///
    /// # Errors
    /// The table has both `next` and `trigger`, or neither.
    pub unsafe fn new(table: &'static PluginTable, ledger: &'static Ledger) -> Result<Self, Fault> {
        let answer = match (table.next, table.trigger) {
            (Some(_), Some(_)) => "both next and trigger",
            (None, None) => "neither next nor trigger",
            _ => return Ok(Self { table, ledger }),
        };
        Err(Fault::Garbage { call: "the table", answer: answer.to_owned() })
    }

    /// A source that is linked into the program.
    ///
    /// # Errors
    /// Never: `guard` gives one of the two functions that [`Plugin::new`] looks at.
    pub fn linked<P: guard::Plugin>(ledger: &'static Ledger) -> Result<Self, Fault> {
        // SAFETY: `guard` creates the table, and its functions keep the rules for every `P`; linked code stays loaded.
        unsafe { Self::new(guard::linked::<P>(), ledger) }
    }

    /// The same plugin; its new instances count their frames in this ledger.
    #[must_use]
    pub fn with_ledger(self, ledger: &'static Ledger) -> Self {
        Self { ledger, ..self }
    }

    /// Whether its instances answer [`Instance::trigger`] instead of [`Instance::next`].
    #[must_use]
    pub fn on_demand(&self) -> bool {
        self.table.trigger.is_some()
    }

    /// Whether only one instance can hold what the source holds.
    #[must_use]
    pub fn is_exclusive(&self) -> bool {
        self.table.flags & EXCLUSIVE != 0
    }

    /// Creates an instance, on the thread that will run it.
    ///
    /// # Errors
    /// The source's own error, or any other fault of the source.
    pub fn create(&self, stream: &str, settings: &str, host: Arc<dyn HostServices>) -> Result<Instance, Fault> {
        let mut error = ErrorRoom::new();
        let mut raw = ptr::null_mut();
        let host = services::table(host);
        let mut buffer = error.lend();
        // SAFETY: all pointers are valid during the call; the context behind `host` passes to the plugin.
        let code = unsafe {
            (self.table.create)(&raw const host, Text::new(stream), Text::new(settings), &raw mut raw, &raw mut buffer)
        };
        error.check("create", code, &buffer)?;
        if raw.is_null() {
            return Err(Fault::Garbage { call: "create", answer: "no instance".to_owned() });
        }
        let batch = BatchBuffer::new(ptr::from_ref(self.table).addr());
        Ok(Instance { plugin: *self, raw, batch, error, poison: None, open: false })
    }
}

/// One instance of a source. `[instance thread, all of it]`: not `Send`, because of the pointer in it.
pub struct Instance {
    plugin: Plugin,
    raw: *mut c_void,
    batch: Box<BatchBuffer>,
    error: ErrorRoom,
    /// The fault after which the source is no longer called.
    poison: Option<String>,
    open: bool,
}

impl Instance {
    /// The panic or garbage after which the source is no longer called.
    #[must_use]
    pub fn poison(&self) -> Option<&str> {
        self.poison.as_deref()
    }

    /// The ledger that counts the instance's frames.
    #[must_use]
    pub fn ledger(&self) -> &'static Ledger {
        self.plugin.ledger
    }

    /// Whether the source answers [`Instance::trigger`] instead of [`Instance::next`].
    #[must_use]
    pub fn on_demand(&self) -> bool {
        self.plugin.on_demand()
    }

    /// The source's run-time parameters, in JSON; `None` if the plugin does not offer them.
    ///
    /// # Errors
    /// Any fault of the source.
    pub fn parameters(&mut self) -> Result<Option<String>, Fault> {
        let Some(describe) = self.plugin.table.parameters else { return Ok(None) };
        let mut text = String::new();
        let sink = answers::text_sink(&mut text);
        // SAFETY: the instance lives and is not poisoned; the sink and its text are valid during the call.
        self.call("parameters", |raw, _, error| unsafe { describe(raw, &raw const sink, error) })?;
        Ok(Some(text))
    }

    /// Gives the source a new value of a parameter.
    ///
    /// # Errors
    /// The source's own error, or any other fault of the source.
    pub fn set_parameter(&mut self, name: &str, value: &[u8]) -> Result<(), Fault> {
        let Some(set) = self.plugin.table.set_parameter else {
            return Err(Fault::Source(SourceError::settings("the source has no parameters")));
        };
        let (name, value) = (Text::new(name), Text::bytes(value));
        // SAFETY: the instance lives and is not poisoned; name and value live during the call.
        self.call("set_parameter", |raw, _, error| unsafe { set(raw, name, value, error) })
    }

    /// What the run tells about itself; empty if no run is open or the plugin tells nothing.
    ///
    /// # Errors
    /// Any fault of the source.
    pub fn status(&mut self) -> Result<RunStatus, Fault> {
        let mut status = RunStatus::default();
        let (Some(tell), true) = (self.plugin.table.status, self.open) else { return Ok(status) };
        let mut form = answers::form(&mut status);
        // SAFETY: the instance lives, is open and not poisoned; the form and the status are valid during the call.
        self.call("status", |raw, _, error| unsafe { tell(raw, &raw mut form, error) })?;
        match status.complete(&form) {
            Ok(()) => Ok(status),
            Err(answer) => Err(self.garbage("status", answer)),
        }
    }

    /// Opens the run of a scan; an earlier one is closed first.
    ///
    /// # Errors
    /// The source's own error, or any other fault of the source.
    pub fn open(&mut self) -> Result<(), Fault> {
        self.close()?;
        let table = self.plugin.table;
        // SAFETY: the instance lives, is closed and not poisoned.
        self.call("open", |raw, _, error| unsafe { (table.open)(raw, error) })?;
        self.open = true;
        Ok(())
    }

    /// Pulls events; events that were taken stay valid if an error follows.
    ///
    /// # Errors
    /// The source's own error, or any other fault of the source.
    pub fn next(
        &mut self,
        limits: Limits,
        left: Duration,
        take: impl FnMut(&'static str, EventKind, Frames<'_>),
    ) -> Result<Progress, Fault> {
        let (Some(next), true) = (self.plugin.table.next, self.open) else { return Ok(Progress::End) };
        let left = u64::try_from(left.as_nanos()).unwrap_or(u64::MAX);
        self.batch.begin(limits);
        // SAFETY: the instance lives, is open and not poisoned; the batch is valid during the call.
        let called = self.call("next", |raw, batch, error| unsafe { next(raw, batch.raw(), left, error) });
        self.take("next", take)?;
        called?;
        match Progress::from_code(self.batch.progress()) {
            Some(progress) => Ok(progress),
            None => Err(self.garbage("next", format!("progress {}", self.batch.progress()))),
        }
    }

    /// Asks for the event with this number.
    ///
    /// # Errors
    /// The source's own error, or any other fault of the source.
    pub fn trigger(
        &mut self,
        event_number: u64,
        limits: Limits,
        take: impl FnMut(&'static str, EventKind, Frames<'_>),
    ) -> Result<(), Fault> {
        let (Some(trigger), true) = (self.plugin.table.trigger, self.open) else { return Ok(()) };
        self.batch.begin(limits);
        // SAFETY: the instance lives, is open and not poisoned; the batch is valid during the call.
        let called =
            self.call("trigger", |raw, batch, error| unsafe { trigger(raw, event_number, batch.raw(), error) });
        self.take("trigger", take)?;
        called
    }

    /// Lets the run keep its connections alive while there is no room for its events, if it has any.
    ///
    /// # Errors
    /// Any fault of the source.
    pub fn held_back(&mut self) -> Result<(), Fault> {
        let (Some(keep), true) = (self.plugin.table.held_back, self.open) else { return Ok(()) };
        // SAFETY: the instance lives, is open and not poisoned.
        self.call("held_back", |raw, _, error| unsafe { keep(raw, error) })
    }

    /// Closes the run, if one is open.
    ///
    /// # Errors
    /// Any fault of the source.
    pub fn close(&mut self) -> Result<(), Fault> {
        if !std::mem::take(&mut self.open) {
            return Ok(());
        }
        let table = self.plugin.table;
        // SAFETY: the instance lives, is open and not poisoned.
        self.call("close", |raw, _, error| unsafe { (table.close)(raw, error) })
    }

    /// Makes one call, unless the instance is poisoned, and checks its outcome.
    fn call(
        &mut self,
        call: &'static str,
        what: impl FnOnce(*mut c_void, &mut BatchBuffer, *mut ErrorBuffer) -> i32,
    ) -> Result<(), Fault> {
        if let Some(earlier) = &self.poison {
            return Err(Fault::Poisoned(earlier.clone()));
        }
        let mut buffer = self.error.lend();
        let code = what(self.raw, &mut self.batch, &raw mut buffer);
        let outcome = self.error.check(call, code, &buffer);
        if let Err(fault @ (Fault::Panicked { .. } | Fault::Garbage { .. })) = &outcome {
            self.poison = Some(fault.to_string());
        }
        outcome
    }

    /// Hands over the events in the batch.
    fn take(&mut self, call: &'static str, take: impl FnMut(&'static str, EventKind, Frames<'_>)) -> Result<(), Fault> {
        self.batch.take(self.plugin.ledger, take).map_err(|refused| match refused {
            Refused::Garbage(answer) => self.garbage(call, answer),
            Refused::TooMuch(what) => Fault::Source(SourceError::protocol(format!("{call} gave {what}"))),
        })
    }

    fn garbage(&mut self, call: &'static str, answer: String) -> Fault {
        let fault = Fault::Garbage { call, answer };
        self.poison = Some(fault.to_string());
        fault
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        let _ = self.close();
        let table = self.plugin.table;
        // SAFETY: the instance lives, is closed and not poisoned; this is the last call.
        let _ = self.call("destroy", |raw, _, error| unsafe { (table.destroy)(raw, error) });
    }
}

impl fmt::Debug for Instance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Instance").field("open", &self.open).field("poison", &self.poison).finish_non_exhaustive()
    }
}

/// Why the events of a batch are not used.
enum Refused {
    /// The batch breaks a rule.
    Garbage(String),
    /// The batch is valid, but exceeds a limit of the instance.
    TooMuch(String),
}

/// Limits of a batch: the plugin should return when it reaches one.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Events.
    pub events: usize,
    /// Bytes of frames.
    pub bytes: usize,
}

/// Room for an error's message; allocated once. Zeroed at first: a plugin that counts more bytes than it has written
/// then exposes only zeros.
struct ErrorRoom(Box<[u8]>);

/// Longer messages are cut. A message is a few lines for people.
const ERROR_ROOM: usize = 8192;

impl ErrorRoom {
    fn new() -> Self {
        Self(vec![0; ERROR_ROOM].into())
    }

    fn lend(&mut self) -> ErrorBuffer {
        ErrorBuffer { data: self.0.as_mut_ptr(), capacity: self.0.len(), len: 0, kind: 0 }
    }

    fn check(&self, call: &'static str, code: i32, buffer: &ErrorBuffer) -> Result<(), Fault> {
        let garbage = |answer| Err(Fault::Garbage { call, answer });
        let outcome = match Outcome::from_code(code) {
            Some(Outcome::Done) => return Ok(()),
            Some(outcome) => outcome,
            None => return garbage(format!("outcome {code}")),
        };
        let Some(message) = self.0.get(..buffer.len) else {
            return garbage(format!("an error of {} bytes in a buffer of {}", buffer.len, self.0.len()));
        };
        let written = message.split(|byte| *byte == 0).next().unwrap_or_default();
        let message = String::from_utf8_lossy(written).into_owned();
        match outcome {
            Outcome::Failed => match ErrorKind::from_code(buffer.kind) {
                Some(kind) => Err(Fault::Source(SourceError::new(kind, message))),
                None => garbage(format!("an error of kind {} ({message})", buffer.kind)),
            },
            Outcome::Panicked => Err(Fault::Panicked { call, message }),
            Outcome::Poisoned | Outcome::Done => Err(Fault::Poisoned("it panicked".to_owned())),
        }
    }
}

#[cfg(test)]
mod tests;
