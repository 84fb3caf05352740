//! Turns panics into values.

use std::{
    any::Any,
    mem,
    panic::{AssertUnwindSafe, catch_unwind},
};

use crate::{
    error::SourceError,
    hook::{self, said},
};

/// Calls; returns a panic as its message and place.
pub(crate) fn catch<T>(call: impl FnOnce() -> Result<T, SourceError>) -> Result<Result<T, SourceError>, String> {
    hook::guarded(|| catch_unwind(AssertUnwindSafe(call))).map_err(|payload| {
        let message = message(payload);
        match hook::place() {
            Some(place) => format!("{message} (at {place})"),
            None => message,
        }
    })
}

/// Calls; returns `None` after a panic.
pub(crate) fn quietly<T>(call: impl FnOnce() -> T) -> Option<T> {
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(answer) => Some(answer),
        Err(payload) => {
            message(payload);
            None
        }
    }
}

/// The message of a panic. The payload's own drop may panic too; that second payload is forgotten.
fn message(payload: Box<dyn Any + Send>) -> String {
    let message = said(&*payload).to_owned();
    if let Err(second) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
        mem::forget(second);
    }
    message
}
