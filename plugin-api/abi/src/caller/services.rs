//! The host's functions that a plugin can call.
//!
//! Called on any thread of the plugin. Each instance has its own context, which the plugin releases once. A context is
//! never freed (some 64 bytes for each instance): a plugin that uses it after the release, or releases it twice, does
//! no harm, and the host logs it. The release drops the services behind the context, with their descriptor.

use std::{
    ffi::c_void,
    mem,
    os::fd::AsRawFd as _,
    sync::{Arc, Mutex, PoisonError},
};

use crate::{
    catch,
    codes::LogLevel,
    ext::Extension,
    host::{HostServices, HostTable, StrayCalls},
    text::Text,
};

/// What a table's context points to.
struct Context(Mutex<State>);

enum State {
    /// The plugin has it.
    Lent(Arc<dyn HostServices>),
    /// The plugin has released it; the callback reports later calls.
    GivenBack(Option<StrayCalls>),
}

/// Creates a table for one instance. The caller of `release` owns its context.
pub(super) fn table(services: Arc<dyn HostServices>) -> HostTable {
    let context: &'static Context = Box::leak(Box::new(Context(Mutex::new(State::Lent(services)))));
    KEPT.lock().unwrap_or_else(PoisonError::into_inner).push(context);
    HostTable {
        context: (&raw const *context).cast_mut().cast(),
        log,
        log_level,
        stop_requested,
        stop_descriptor,
        get_extension,
        release,
    }
}

impl Context {
    /// # Safety
    /// - `context` came from [`table`].
    unsafe fn at(context: *mut c_void) -> &'static Self {
        // SAFETY: `table` leaked it, and only its own lock changes it.
        unsafe { &*context.cast::<Self>() }
    }

    /// The services; `None`, with a report, if they were released.
    fn services(&self, call: &'static str) -> Option<Arc<dyn HostServices>> {
        let told = match &*self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            State::Lent(services) => return Some(services.clone()),
            State::GivenBack(told) => told.clone(),
        };
        // Called without the lock: the callback may block.
        told.inspect(|told| told(call));
        None
    }

    fn give_back(&self) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let State::Lent(services) = &*state else {
            drop(state);
            self.services("release");
            return;
        };
        let told = services.stray_calls();
        let before = mem::replace(&mut *state, State::GivenBack(told));
        drop(state);
        drop(before);
    }
}

/// All contexts, so that leak checkers do not report them as leaks of a plugin.
static KEPT: Mutex<Vec<&'static Context>> = Mutex::new(Vec::new());

/// Longer lines are cut.
const LONGEST_LINE: usize = 8192;

/// # Safety
/// - `context` came from [`table`]; `message` is valid during the call.
unsafe extern "C" fn log(context: *mut c_void, level: i32, message: Text) {
    // SAFETY: as the caller promises.
    let context = unsafe { Context::at(context) };
    // SAFETY: valid during the call.
    let message = unsafe { message.as_bytes() };
    catch::quietly(|| {
        let Some(services) = context.services("log") else { return };
        let message = String::from_utf8_lossy(&message[..message.len().min(LONGEST_LINE)]);
        services.log(LogLevel::from_code(level).unwrap_or(LogLevel::Warn), &message);
    });
}

/// # Safety
/// - `context` came from [`table`].
unsafe extern "C" fn log_level(context: *mut c_void) -> i32 {
    // SAFETY: as the caller promises.
    let context = unsafe { Context::at(context) };
    let given = || context.services("log_level").map(|services| services.log_level());
    catch::quietly(given).flatten().unwrap_or(LogLevel::Error).code()
}

/// # Safety
/// - `context` came from [`table`].
unsafe extern "C" fn stop_requested(context: *mut c_void) -> i32 {
    // SAFETY: as the caller promises.
    let context = unsafe { Context::at(context) };
    let asked = || context.services("stop_requested").is_none_or(|services| services.stop_requested());
    catch::quietly(asked).unwrap_or(true).into()
}

/// # Safety
/// - `context` came from [`table`].
unsafe extern "C" fn stop_descriptor(context: *mut c_void) -> i32 {
    // SAFETY: as the caller promises.
    let context = unsafe { Context::at(context) };
    let given = || context.services("stop_descriptor").map_or(-1, |services| services.stop_descriptor().as_raw_fd());
    catch::quietly(given).unwrap_or(-1)
}

/// There are no extensions yet.
unsafe extern "C" fn get_extension(_: *mut c_void, _: Text) -> Extension {
    Extension::NONE
}

/// # Safety
/// - `context` came from [`table`].
unsafe extern "C" fn release(context: *mut c_void) {
    // SAFETY: as the caller promises.
    let context = unsafe { Context::at(context) };
    catch::quietly(|| context.give_back());
}

#[cfg(test)]
mod tests {
    use std::{
        io::{PipeReader, pipe},
        os::fd::{AsFd as _, BorrowedFd},
    };

    use super::*;

    /// Keeps the names of stray calls; the pipe is its stop descriptor.
    struct Told(Arc<Mutex<Vec<String>>>, PipeReader);

    impl HostServices for Told {
        fn log(&self, _: LogLevel, message: &str) {
            self.0.lock().unwrap().push(message.to_owned());
        }
        fn stop_requested(&self) -> bool {
            false
        }
        fn stop_descriptor(&self) -> BorrowedFd<'_> {
            self.1.as_fd()
        }
        fn stray_calls(&self) -> Option<StrayCalls> {
            let told = self.0.clone();
            Some(Arc::new(move |call| told.lock().unwrap().push(format!("stray {call}"))))
        }
    }

    #[test]
    fn calls_after_the_context_was_given_back_are_told_and_harmless() {
        let services = Arc::new(Told(Arc::default(), pipe().unwrap().0));
        let told = services.0.clone();
        let table = table(services.clone());
        // SAFETY: the context is that of `table`, here and below; the text is static.
        unsafe { log(table.context, 3, Text::new("before")) }
        // SAFETY: as above.
        assert_eq!(unsafe { (table.stop_descriptor)(table.context) }, services.1.as_raw_fd());
        // SAFETY: as above.
        assert_eq!(unsafe { (table.log_level)(table.context) }, LogLevel::Debug.code());
        // SAFETY: as above.
        unsafe { (table.release)(table.context) }
        assert_eq!(Arc::strong_count(&services), 1, "what the context led to goes with it");
        // SAFETY: as above.
        unsafe { log(table.context, 3, Text::new("after")) }
        // SAFETY: as above.
        assert_eq!(unsafe { (table.log_level)(table.context) }, LogLevel::Error.code());
        // SAFETY: as above.
        assert_eq!(unsafe { (table.stop_requested)(table.context) }, 1);
        // SAFETY: as above.
        assert_eq!(unsafe { (table.stop_descriptor)(table.context) }, -1);
        // SAFETY: as above.
        unsafe { (table.release)(table.context) }
        let stray =
            ["log", "log_level", "stop_requested", "stop_descriptor", "release"].map(|call| format!("stray {call}"));
        assert_eq!(*told.lock().unwrap(), [["before".to_owned()].as_slice(), &stray].concat());
    }
}
