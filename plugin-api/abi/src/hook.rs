//! Knows where a plugin panics.
//!
//! A loaded plugin has a standard library of its own, so the host's panic hook does not see its panics; this one does.
//! A panic in a guarded call is remembered for the guard, which reports it; one on another thread of the plugin goes to
//! the host's log. Installed only in a loaded plugin: a linked source shares the program's own hook.

use std::{
    cell::{Cell, RefCell},
    panic::{self, PanicHookInfo},
    sync::{Arc, Mutex, Once, OnceLock, PoisonError, Weak},
    thread,
};

use crate::{
    catch,
    codes::LogLevel,
    host::{HostHandle, HostServices},
};

thread_local! {
    /// Whether a guarded call is under way on this thread.
    static GUARDED: Cell<bool> = const { Cell::new(false) };
    /// Where the last panic of a guarded call on this thread happened.
    static PLACE: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Where panics of other threads are reported: the host of the newest instance. A loaded copy serves one stream.
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

/// Remembers where to report panics of other threads; does nothing in a linked source.
pub(crate) fn report_to(host: &Arc<HostHandle>) {
    if let Some(last) = HOST.get() {
        *last.lock().unwrap_or_else(PoisonError::into_inner) = Arc::downgrade(host);
    }
}

/// Runs a guarded call.
pub(crate) fn guarded<T>(call: impl FnOnce() -> T) -> T {
    let before = GUARDED.with(|guarded| guarded.replace(true));
    let answer = call();
    GUARDED.with(|guarded| guarded.set(before));
    answer
}

/// Where the last panic of a guarded call happened, if the hook is installed.
pub(crate) fn place() -> Option<String> {
    PLACE.with(|last| last.borrow_mut().take())
}

/// Tells the host of a panic on a thread of the plugin's own.
fn report(panic: &PanicHookInfo<'_>) -> bool {
    let Some(last) = HOST.get() else { return false };
    // Taken out of the lock first: the host's log is not called under it.
    let host = last.lock().unwrap_or_else(PoisonError::into_inner).upgrade();
    let Some(host) = host else { return false };
    let thread = thread::current();
    let name = thread.name().unwrap_or("without a name");
    let place = panic.location().map(|place| format!(" (at {place})")).unwrap_or_default();
    let message = catch::said(panic.payload());
    host.log(LogLevel::Error, &format!("a thread of the plugin ({name}) panicked: {message}{place}"));
    true
}
