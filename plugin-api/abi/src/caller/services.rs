//! The host's functions, as a plugin gets them.
//!
//! Called on any thread of the plugin. Each instance has a context of its own, which the plugin gives back; a thread that
//! was left behind keeps it, and what it points to, alive.

use std::{ffi::c_void, sync::Arc};

use crate::{
    codes::LogLevel,
    ext::{Extension, Table as _, log::LogTable},
    guard,
    host::{HostServices, HostTable},
    text::Text,
};

type Context = Arc<dyn HostServices>;

/// A table for one instance. Its context passes to whoever calls `release`.
pub(super) fn table(services: Context) -> HostTable {
    HostTable {
        context: Box::into_raw(Box::new(services)).cast(),
        stop_requested,
        stop_descriptor,
        get_extension,
        release,
    }
}

static LOG: LogTable = LogTable { log };

/// Longer lines are cut.
const LONGEST_LINE: usize = 8192;

/// # Safety
/// - `context` came from [`table`] and was not released.
unsafe fn services<'a>(context: *mut c_void) -> &'a dyn HostServices {
    // SAFETY: `table` made it from a box, which lives until `release`.
    unsafe { &**context.cast::<Context>() }
}

/// # Safety
/// - `context` came from [`table`] and was not released; `message` is lent for the call.
unsafe extern "C" fn log(context: *mut c_void, level: i32, message: Text) {
    // SAFETY: as the caller promises.
    let services = unsafe { services(context) };
    // SAFETY: lent for the call.
    let message = unsafe { message.as_bytes() };
    guard::quietly(|| {
        let message = String::from_utf8_lossy(&message[..message.len().min(LONGEST_LINE)]);
        services.log(LogLevel::from_code(level).unwrap_or(LogLevel::Warn), &message);
    });
}

/// # Safety
/// - `context` came from [`table`] and was not released.
unsafe extern "C" fn stop_requested(context: *mut c_void) -> i32 {
    // SAFETY: as the caller promises.
    let services = unsafe { services(context) };
    guard::quietly(|| services.stop_requested()).unwrap_or(true).into()
}

/// # Safety
/// - `context` came from [`table`] and was not released.
unsafe extern "C" fn stop_descriptor(context: *mut c_void) -> i32 {
    // SAFETY: as the caller promises.
    let services = unsafe { services(context) };
    guard::quietly(|| services.stop_descriptor()).unwrap_or(-1)
}

/// # Safety
/// - `id` is lent for the call.
unsafe extern "C" fn get_extension(_: *mut c_void, id: Text) -> Extension {
    // SAFETY: lent for the call.
    match unsafe { id.as_str() } {
        Ok(LogTable::ID) => Extension::new(&LOG),
        _ => Extension::NONE,
    }
}

/// # Safety
/// - `context` came from [`table`] and is not used again.
unsafe extern "C" fn release(context: *mut c_void) {
    // SAFETY: `table` made it from a box, and its owner gives it back once.
    let services = unsafe { Box::from_raw(context.cast::<Context>()) };
    guard::quietly(|| drop(services));
}
