//! A panic hook that finds out where a plugin panics.
//!
//! A loaded plugin has its own standard library, so the host's panic hook does not see its panics; this one does. For a
//! panic in a guarded call, the hook stores the place, and the guard reports it; a panic on another thread of the
//! plugin goes to the host's log. Installed only in a loaded plugin: a linked source shares the program's own hook.

use std::{
    any::Any,
    cell::{Cell, RefCell},
    panic::{self, PanicHookInfo},
    sync::{Arc, Mutex, Once, OnceLock, PoisonError, Weak},
    thread,
};

use crate::{
    codes::LogLevel,
    host::{HostHandle, HostServices},
};

thread_local! {
    /// Whether a guarded call is running on this thread.
    static GUARDED: Cell<bool> = const { Cell::new(false) };
    /// The place of the last panic in a guarded call on this thread.
    static PLACE: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// The host that logs panics of other threads: the host of the newest instance. A loaded copy serves one stream.
static HOST: OnceLock<Mutex<Weak<HostHandle>>> = OnceLock::new();

/// Installs the hook, once.
pub(crate) fn install() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        HOST.get_or_init(Mutex::default);
        let default = panic::take_hook();
        panic::set_hook(Box::new(move |panic| {
            if GUARDED.try_with(Cell::get).unwrap_or(false) {
                let place = panic.location().map(ToString::to_string);
                let _ = PLACE.try_with(|last| *last.borrow_mut() = place);
            } else if !report(panic) {
                default(panic);
            }
        }));
    });
}

/// Sets the host that logs panics of other threads; does nothing in a linked source. Returns whether this is a loaded
/// plugin.
pub(crate) fn report_to(host: &Arc<HostHandle>) -> bool {
    let last = HOST.get().map(|last| last.lock().unwrap_or_else(PoisonError::into_inner));
    last.map(|mut last| *last = Arc::downgrade(host)).is_some()
}

/// Runs a guarded call.
pub(crate) fn guarded<T>(call: impl FnOnce() -> T) -> T {
    let before = GUARDED.with(|guarded| guarded.replace(true));
    let answer = call();
    GUARDED.with(|guarded| guarded.set(before));
    answer
}

/// The place of the last panic in a guarded call, if the hook is installed.
pub(crate) fn place() -> Option<String> {
    PLACE.with(|last| last.borrow_mut().take())
}

/// Reports a panic on a thread that the plugin started to the host.
fn report(panic: &PanicHookInfo<'_>) -> bool {
    let Some(host) = host() else { return false };
    let thread = thread::current();
    let name = thread.name().unwrap_or("without a name");
    let place = panic.location().map(|place| format!(" (at {place})")).unwrap_or_default();
    let message = said(panic.payload());
    host.log(LogLevel::Error, &format!("a thread of the plugin ({name}) panicked: {message}{place}"));
    true
}

/// Writes a line to the host's log from any thread of a loaded plugin, if an instance lives.
pub(crate) fn log(level: LogLevel, message: &str) {
    if let Some(host) = host() {
        host.log(level, message);
    }
}

fn host() -> Option<Arc<HostHandle>> {
    HOST.get()?.lock().unwrap_or_else(PoisonError::into_inner).upgrade()
}

/// The text of a panic's payload.
pub(crate) fn said(payload: &(dyn Any + Send)) -> &str {
    match (payload.downcast_ref::<&str>(), payload.downcast_ref::<String>()) {
        (Some(text), _) => text,
        (_, Some(text)) => text,
        _ => "no message",
    }
}
