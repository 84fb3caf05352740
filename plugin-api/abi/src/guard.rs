//! The plugin's side of the tables: safe Rust inside, C functions outside, and no panic gets through.
//!
//! A panic that left an `extern "C"` function would abort the host. So every function here catches it, writes its
//! message and place into the error buffer, and drops the source. Its resources (connections, a port) are then free for
//! the next instance. The instance is not called again.
#![allow(unsafe_code)]

use std::{ffi::c_void, marker::PhantomData, sync::Arc, time::Duration};

use crate::{
    ABI_VERSION,
    batch::{Batch, BatchWriter},
    catch::catch,
    codes::{ErrorKind, Outcome, Progress},
    error::{ErrorBuffer, SourceError},
    ext::{
        Extension, Table as _, counters::CountersTable, parameters::ParametersTable, present::PresentTable,
        skipped::SkippedTable, trigger::TriggerTable,
    },
    hook,
    host::{HostHandle, HostServices, HostTable},
    text::{Sink, Text},
    vtable::{EXCLUSIVE, PluginTable},
};

/// The trait behind the tables; `framegate-plugin-api` implements it for every source. Everything is called on the
/// instance's thread.
pub trait Plugin: Sized + 'static {
    /// The protocol's name, for the note.
    const PROTOCOL: &'static str;
    /// See [`EXCLUSIVE`].
    const EXCLUSIVE: bool;
    /// Whether the plugin offers [`TriggerTable`].
    const ON_DEMAND: bool;

    /// Creates an instance from settings in JSON.
    ///
    /// # Errors
    /// Settings that cannot work, and anything else that makes the source impossible.
    fn create(stream: &str, settings: &str, host: Arc<dyn HostServices>) -> Result<Self, SourceError>;
    /// Opens the run of a scan; an earlier one is dropped first.
    ///
    /// # Errors
    /// The reason why the run is impossible.
    fn open(&mut self) -> Result<(), SourceError>;
    /// Gives the next events.
    ///
    /// # Errors
    /// The error that ends the run.
    fn next(&mut self, out: &mut BatchWriter, left: Duration) -> Result<Progress, SourceError>;
    /// Gives the event with this number.
    ///
    /// # Errors
    /// The error that ends the run.
    fn trigger(&mut self, event_number: u64, out: &mut BatchWriter) -> Result<(), SourceError>;
    /// Drops the run, if one is open.
    fn close(&mut self);
    /// Describes the run-time parameters, in JSON.
    fn parameters(&self) -> String;
    /// Sets a parameter.
    ///
    /// # Errors
    /// When the value cannot be used.
    fn set_parameter(&mut self, name: &str, value: &[u8]) -> Result<(), SourceError>;
    /// Reports the messages of this run that gave no event, counted by reason.
    fn skipped(&self, tell: &mut dyn FnMut(&str, u64));
    /// Reports what this run has received, in counters that the source defines.
    fn counters(&self, tell: &mut dyn FnMut(&str, u64)) {
        let _ = tell;
    }
    /// Bytes received in this run and not yet delivered.
    fn bytes_waiting(&self) -> u64 {
        0
    }
    /// Reports why the last invalid message of this run was invalid, if there was one.
    fn last_invalid(&self, tell: &mut dyn FnMut(&str)) {
        let _ = tell;
    }
}

/// The plugin's functions.
#[must_use]
pub const fn table<P: Plugin>() -> &'static PluginTable {
    &Tables::<P>::PLUGIN
}

/// The target of an instance's address.
struct Guarded<P> {
    /// `None`: the source has panicked.
    living: Option<Living<P>>,
}

struct Living<P> {
    plugin: P,
    /// Kept even if the plugin drops its own handle: panics on the plugin's threads are reported there. Dropped after
    /// the plugin.
    _host: Arc<HostHandle>,
}

struct Tables<P>(PhantomData<P>);

impl<P: Plugin> Tables<P> {
    const PLUGIN: PluginTable = PluginTable {
        size: size_of::<PluginTable>() as u32,
        abi_major: ABI_VERSION.0,
        abi_minor: ABI_VERSION.1,
        flags: if P::EXCLUSIVE { EXCLUSIVE } else { 0 },
        create: create::<P>,
        destroy: destroy::<P>,
        open: open::<P>,
        next: next::<P>,
        close: close::<P>,
        get_extension: get_extension::<P>,
    };
    const COUNTERS: &'static CountersTable = &CountersTable { counters: counters::<P> };
    const PARAMETERS: &'static ParametersTable = &ParametersTable { describe: describe::<P>, set: set::<P> };
    const PRESENT: &'static PresentTable =
        &PresentTable { bytes_waiting: bytes_waiting::<P>, last_invalid: last_invalid::<P> };
    const SKIPPED: &'static SkippedTable = &SkippedTable { skipped: skipped::<P> };
    const TRIGGER: &'static TriggerTable = &TriggerTable { trigger: trigger::<P> };
}

/// # Safety
/// - The rules of [`PluginTable::create`] hold; `instance` is valid for a write.
unsafe extern "C" fn create<P: Plugin>(
    host: *const HostTable,
    stream: Text,
    settings: Text,
    instance: *mut *mut c_void,
    error: *mut ErrorBuffer,
) -> i32 {
    let made = catch(|| {
        // SAFETY: the host gives a valid table.
        let table = unsafe { *host };
        // SAFETY: from here on this handle owns the table's context.
        let host = Arc::new(unsafe { HostHandle::new(table) });
        hook::report_to(&host);
        // SAFETY: the host keeps the text during the call.
        let stream = unsafe { stream.as_str() }.map_err(not_text)?;
        // SAFETY: as above.
        let settings = unsafe { settings.as_str() }.map_err(not_text)?;
        let plugin = P::create(stream, settings, host.clone())?;
        Ok(Box::new(Guarded { living: Some(Living { plugin, _host: host }) }))
    });
    let made = made.map(|made| {
        made.map(|guarded| {
            // SAFETY: valid for a write, as the host promises.
            unsafe { instance.write(Box::into_raw(guarded).cast()) }
        })
    });
    // SAFETY: the host's buffer, valid during this call.
    unsafe { answer(made, error) }
}

/// # Safety
/// - The rules of [`PluginTable::destroy`] hold; `instance` came from `create` and is not used again.
unsafe extern "C" fn destroy<P: Plugin>(instance: *mut c_void, error: *mut ErrorBuffer) -> i32 {
    // SAFETY: `create` created it from a box, and the host passes it here once.
    let guarded = unsafe { Box::from_raw(instance.cast::<Guarded<P>>()) };
    if guarded.living.is_none() {
        return Outcome::Poisoned.code();
    }
    let dropped = catch(move || {
        drop(guarded);
        Ok(())
    });
    // SAFETY: the host's buffer, valid during this call.
    unsafe { answer(dropped, error) }
}

/// # Safety
/// - The rules of [`PluginTable::open`] hold; `instance` came from `create`.
unsafe extern "C" fn open<P: Plugin>(instance: *mut c_void, error: *mut ErrorBuffer) -> i32 {
    // SAFETY: the caller promises what `call` asks for.
    unsafe { call::<P>(instance, error, |plugin| plugin.open()) }
}

/// # Safety
/// - The rules of [`PluginTable::next`] hold; `instance` came from `create`, `batch` is valid and unshared during the
///   call.
unsafe extern "C" fn next<P: Plugin>(
    instance: *mut c_void,
    batch: *mut Batch,
    left_ns: u64,
    error: *mut ErrorBuffer,
) -> i32 {
    let given = |plugin: &mut P| {
        // SAFETY: valid and unshared during the call, as the caller promises.
        let mut out = unsafe { BatchWriter::new(batch) };
        let progress = plugin.next(&mut out, Duration::from_nanos(left_ns))?;
        out.finish(progress)
    };
    // SAFETY: the caller promises what `call` asks for.
    unsafe { call::<P>(instance, error, given) }
}

/// # Safety
/// - The rules of [`TriggerTable::trigger`] hold; `instance` came from `create`, `batch` is valid and unshared during
///   the call.
unsafe extern "C" fn trigger<P: Plugin>(
    instance: *mut c_void,
    event_number: u64,
    batch: *mut Batch,
    error: *mut ErrorBuffer,
) -> i32 {
    let given = |plugin: &mut P| {
        // SAFETY: valid and unshared during the call, as the caller promises.
        let mut out = unsafe { BatchWriter::new(batch) };
        plugin.trigger(event_number, &mut out)?;
        out.finish(Progress::More)
    };
    // SAFETY: the caller promises what `call` asks for.
    unsafe { call::<P>(instance, error, given) }
}

/// # Safety
/// - The rules of [`PluginTable::close`] hold; `instance` came from `create`.
unsafe extern "C" fn close<P: Plugin>(instance: *mut c_void, error: *mut ErrorBuffer) -> i32 {
    let closed = |plugin: &mut P| {
        plugin.close();
        Ok(())
    };
    // SAFETY: the caller promises what `call` asks for.
    unsafe { call::<P>(instance, error, closed) }
}

/// # Safety
/// - The rules of [`ParametersTable::describe`] hold; `instance` came from `create`, `out` is valid during the call.
unsafe extern "C" fn describe<P: Plugin>(instance: *mut c_void, out: *const Sink, error: *mut ErrorBuffer) -> i32 {
    // SAFETY: the caller promises what `tell` asks for.
    unsafe { tell::<P>(instance, out, error, |plugin, give| give(&plugin.parameters(), 0)) }
}

/// # Safety
/// - The rules of [`ParametersTable::set`] hold; `instance` came from `create`.
unsafe extern "C" fn set<P: Plugin>(instance: *mut c_void, name: Text, value: Text, error: *mut ErrorBuffer) -> i32 {
    let taken = |plugin: &mut P| {
        // SAFETY: the host keeps the text during the call.
        let name = unsafe { name.as_str() }.map_err(not_text)?;
        // SAFETY: as above.
        plugin.set_parameter(name, unsafe { value.as_bytes() })
    };
    // SAFETY: the caller promises what `call` asks for.
    unsafe { call::<P>(instance, error, taken) }
}

/// # Safety
/// - The rules of [`SkippedTable::skipped`] hold; `instance` came from `create`, `out` is valid during the call.
unsafe extern "C" fn skipped<P: Plugin>(instance: *mut c_void, out: *const Sink, error: *mut ErrorBuffer) -> i32 {
    // SAFETY: the caller promises what `tell` asks for.
    unsafe { tell::<P>(instance, out, error, P::skipped) }
}

/// # Safety
/// - The rules of [`CountersTable::counters`] hold; `instance` came from `create`, `out` is valid during the call.
unsafe extern "C" fn counters<P: Plugin>(instance: *mut c_void, out: *const Sink, error: *mut ErrorBuffer) -> i32 {
    // SAFETY: the caller promises what `tell` asks for.
    unsafe { tell::<P>(instance, out, error, P::counters) }
}

/// # Safety
/// - The rules of [`PresentTable::bytes_waiting`] hold; `instance` came from `create`, `bytes` is valid for a write.
unsafe extern "C" fn bytes_waiting<P: Plugin>(instance: *mut c_void, bytes: *mut u64, error: *mut ErrorBuffer) -> i32 {
    let told = |plugin: &mut P| {
        // SAFETY: valid for a write, as the host promises.
        unsafe { bytes.write(plugin.bytes_waiting()) }
        Ok(())
    };
    // SAFETY: the caller promises what `call` asks for.
    unsafe { call::<P>(instance, error, told) }
}

/// # Safety
/// - The rules of [`PresentTable::last_invalid`] hold; `instance` came from `create`, `out` is valid during the call.
unsafe extern "C" fn last_invalid<P: Plugin>(instance: *mut c_void, out: *const Sink, error: *mut ErrorBuffer) -> i32 {
    // SAFETY: the caller promises what `tell` asks for.
    unsafe { tell::<P>(instance, out, error, |plugin, give| plugin.last_invalid(&mut |reason| give(reason, 0))) }
}

/// # Safety
/// - `id` is valid during the call.
unsafe extern "C" fn get_extension<P: Plugin>(id: Text) -> Extension {
    // SAFETY: valid during the call.
    match unsafe { id.as_str() } {
        Ok(CountersTable::ID) => Extension::new(Tables::<P>::COUNTERS),
        Ok(ParametersTable::ID) => Extension::new(Tables::<P>::PARAMETERS),
        Ok(PresentTable::ID) => Extension::new(Tables::<P>::PRESENT),
        Ok(SkippedTable::ID) => Extension::new(Tables::<P>::SKIPPED),
        Ok(TriggerTable::ID) if P::ON_DEMAND => Extension::new(Tables::<P>::TRIGGER),
        _ => Extension::NONE,
    }
}

/// Calls an instance to get texts and counts.
///
/// # Safety
/// - As for [`call`]; `out` is valid during this call.
unsafe fn tell<P: Plugin>(
    instance: *mut c_void,
    out: *const Sink,
    error: *mut ErrorBuffer,
    what: impl FnOnce(&P, &mut dyn FnMut(&str, u64)),
) -> i32 {
    let told = |plugin: &mut P| {
        // SAFETY: valid during the call.
        let out = unsafe { &*out };
        what(plugin, &mut |text, count| {
            // SAFETY: valid during this call, and this is its thread.
            unsafe { out.give(text, count) }
        });
        Ok(())
    };
    // SAFETY: the caller promises what `call` asks for.
    unsafe { call::<P>(instance, error, told) }
}

/// Calls an instance, unless it has panicked; after a panic, drops its source.
///
/// # Safety
/// - `instance` came from `create` of the same `P`, was not destroyed, and this is its thread;
/// - `error` is null or valid during this call.
unsafe fn call<P: Plugin>(
    instance: *mut c_void,
    error: *mut ErrorBuffer,
    what: impl FnOnce(&mut P) -> Result<(), SourceError>,
) -> i32 {
    // SAFETY: `create` created it, it lives, and only this thread uses it.
    let guarded = unsafe { &mut *instance.cast::<Guarded<P>>() };
    let Some(living) = &mut guarded.living else { return Outcome::Poisoned.code() };
    let called = catch(|| what(&mut living.plugin));
    if called.is_err() {
        let living = guarded.living.take();
        // Its drop may panic too: then the parts that were not yet dropped stay.
        let _ = catch(move || {
            drop(living);
            Ok(())
        });
    }
    // SAFETY: null or valid during this call.
    unsafe { answer(called, error) }
}

/// The code of a call's outcome; writes the error into the buffer.
///
/// # Safety
/// - `error` is null or valid during this call.
unsafe fn answer(called: Result<Result<(), SourceError>, String>, error: *mut ErrorBuffer) -> i32 {
    let (outcome, kind, message) = match &called {
        Ok(Ok(())) => return Outcome::Done.code(),
        Ok(Err(failed)) => (Outcome::Failed, failed.kind(), failed.message()),
        Err(panic) => (Outcome::Panicked, ErrorKind::Internal, panic.as_str()),
    };
    // SAFETY: null or valid during this call, as the caller promises.
    unsafe { ErrorBuffer::fill(error, kind, message) }
    outcome.code()
}

fn not_text(problem: std::str::Utf8Error) -> SourceError {
    SourceError::internal(format!("the host gave text that is not UTF-8: {problem}"))
}
