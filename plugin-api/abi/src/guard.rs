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
    catch::{self, catch},
    codes::{ErrorKind, LogLevel, Outcome, Progress},
    error::{ErrorBuffer, SourceError},
    hook,
    host::{HostHandle, HostServices, HostTable},
    status::{StatusForm, StatusWriter},
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
    /// Whether the plugin is asked for events by [`PluginTable::trigger`] instead of [`PluginTable::next`].
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
    /// Keeps the run's connections alive while the host has no room.
    fn held_back(&mut self);
    /// Drops the run, if one is open.
    fn close(&mut self);
    /// Describes the run-time parameters, in JSON.
    fn parameters(&self) -> String;
    /// Sets a parameter.
    ///
    /// # Errors
    /// When the value cannot be used.
    fn set_parameter(&mut self, name: &str, value: &[u8]) -> Result<(), SourceError>;
    /// Fills in what the run tells about itself. Called while a run is open.
    fn status(&self, form: &mut StatusWriter<'_>);
    /// Called in a loaded plugin before each `create`. A file has its own copies of its libraries: this prepares those
    /// that log. `log` works on any thread; `level` is the most detailed one that the host's log takes.
    fn set_up(level: LogLevel, log: fn(LogLevel, &str)) {
        let _ = (level, log);
    }
}

/// The functions of a plugin that is linked into the program.
#[must_use]
pub const fn linked<P: Plugin>() -> &'static PluginTable {
    &Tables::<P>::LINKED
}

/// The functions of a plugin in a file of its own. They differ in `create`: a file has its own copy of the standard
/// library, with its own panic hook.
#[must_use]
pub const fn exported<P: Plugin>() -> &'static PluginTable {
    &Tables::<P>::EXPORTED
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
    const LINKED: PluginTable = PluginTable {
        size: size_of::<PluginTable>() as u32,
        abi_major: ABI_VERSION.0,
        abi_minor: ABI_VERSION.1,
        flags: if P::EXCLUSIVE { EXCLUSIVE } else { 0 },
        create: create::<P>,
        destroy: destroy::<P>,
        open: open::<P>,
        close: close::<P>,
        next: if P::ON_DEMAND { None } else { Some(next::<P>) },
        trigger: if P::ON_DEMAND { Some(trigger::<P>) } else { None },
        held_back: if P::ON_DEMAND { None } else { Some(held_back::<P>) },
        status: Some(status::<P>),
        parameters: Some(parameters::<P>),
        set_parameter: Some(set_parameter::<P>),
        get_extension: None,
    };
    const EXPORTED: PluginTable = PluginTable { create: create_in_file::<P>, ..Self::LINKED };
}

/// # Safety
/// - As for [`create`].
unsafe extern "C" fn create_in_file<P: Plugin>(
    host: *const HostTable,
    stream: Text,
    settings: Text,
    instance: *mut *mut c_void,
    error: *mut ErrorBuffer,
) -> i32 {
    catch::quietly(hook::install);
    // SAFETY: the caller promises what `create` asks for.
    unsafe { create::<P>(host, stream, settings, instance, error) }
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
        if hook::report_to(&host) {
            P::set_up(host.log_level(), hook::log);
        }
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
/// - The rules of [`PluginTable::trigger`] hold; `instance` came from `create`, `batch` is valid and unshared during
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
/// - The rules of [`PluginTable::held_back`] hold; `instance` came from `create`.
unsafe extern "C" fn held_back<P: Plugin>(instance: *mut c_void, error: *mut ErrorBuffer) -> i32 {
    let kept = |plugin: &mut P| {
        plugin.held_back();
        Ok(())
    };
    // SAFETY: the caller promises what `call` asks for.
    unsafe { call::<P>(instance, error, kept) }
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
/// - The rules of [`PluginTable::status`] hold; `instance` came from `create`, `form` is valid and unshared during the
///   call.
unsafe extern "C" fn status<P: Plugin>(instance: *mut c_void, form: *mut StatusForm, error: *mut ErrorBuffer) -> i32 {
    let filled_in = |plugin: &mut P| {
        // SAFETY: valid and unshared during the call, as the caller promises.
        let form = unsafe { &mut *form };
        // SAFETY: this is the call that got the form, and its thread.
        plugin.status(&mut unsafe { StatusWriter::new(form) });
        Ok(())
    };
    // SAFETY: the caller promises what `call` asks for.
    unsafe { call::<P>(instance, error, filled_in) }
}

/// # Safety
/// - The rules of [`PluginTable::parameters`] hold; `instance` came from `create`, `out` is valid during the call.
unsafe extern "C" fn parameters<P: Plugin>(instance: *mut c_void, out: *const Sink, error: *mut ErrorBuffer) -> i32 {
    let described = |plugin: &mut P| {
        let text = plugin.parameters();
        // SAFETY: valid during the call.
        let out = unsafe { &*out };
        // SAFETY: as above, and this is its thread.
        unsafe { out.give(&text) }
        Ok(())
    };
    // SAFETY: the caller promises what `call` asks for.
    unsafe { call::<P>(instance, error, described) }
}

/// # Safety
/// - The rules of [`PluginTable::set_parameter`] hold; `instance` came from `create`.
unsafe extern "C" fn set_parameter<P: Plugin>(
    instance: *mut c_void,
    name: Text,
    value: Text,
    error: *mut ErrorBuffer,
) -> i32 {
    let taken = |plugin: &mut P| {
        // SAFETY: the host keeps the text during the call.
        let name = unsafe { name.as_str() }.map_err(not_text)?;
        // SAFETY: as above.
        plugin.set_parameter(name, unsafe { value.as_bytes() })
    };
    // SAFETY: the caller promises what `call` asks for.
    unsafe { call::<P>(instance, error, taken) }
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
