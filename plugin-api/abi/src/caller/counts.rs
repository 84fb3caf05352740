//! Counts and state that a source reports about its run.
//!
//! Called on the instance's thread. A plugin that lacks one of these extensions reports nothing.
#![allow(unsafe_code)]

use std::ffi::c_void;

use super::{
    Fault, Instance,
    sinks::{take_count, take_text},
};
use crate::{error::ErrorBuffer, text::Sink};

impl Instance {
    /// Messages of this run that gave no event, counted by reason.
    ///
    /// # Errors
    /// Any fault of the source.
    pub fn skipped(&mut self) -> Result<Vec<(String, u64)>, Fault> {
        self.counts("skipped", self.plugin.skipped.map(|table| table.skipped))
    }

    /// What this run has received, in counters that the source defines.
    ///
    /// # Errors
    /// Any fault of the source.
    pub fn counters(&mut self) -> Result<Vec<(String, u64)>, Fault> {
        self.counts("counters", self.plugin.counters.map(|table| table.counters))
    }

    /// Bytes that the source has received in this run and not yet delivered.
    ///
    /// # Errors
    /// Any fault of the source.
    pub fn bytes_waiting(&mut self) -> Result<u64, Fault> {
        let (Some(table), true) = (self.plugin.present, self.open) else { return Ok(0) };
        let mut bytes = 0u64;
        // SAFETY: the instance lives and is not poisoned; `bytes` is valid for a write during the call.
        self.call("bytes_waiting", |raw, _, error| unsafe { (table.bytes_waiting)(raw, &raw mut bytes, error) })?;
        Ok(bytes)
    }

    /// The reason why the last invalid message of this run was invalid; `None` if there was none.
    ///
    /// # Errors
    /// Any fault of the source.
    pub fn last_invalid(&mut self) -> Result<Option<String>, Fault> {
        let (Some(table), true) = (self.plugin.present, self.open) else { return Ok(None) };
        let mut reason = String::new();
        let sink = Sink { context: (&raw mut reason).cast(), take: take_text };
        // SAFETY: the instance lives and is not poisoned; the sink is valid during the call, and `take_text` fits its
        // context.
        self.call("last_invalid", |raw, _, error| unsafe { (table.last_invalid)(raw, &raw const sink, error) })?;
        if let Some((end, _)) = reason.char_indices().nth(MOST_CHARS) {
            reason.truncate(end);
        }
        Ok((!reason.is_empty()).then_some(reason))
    }

    fn counts(&mut self, call: &'static str, give: Option<Give>) -> Result<Vec<(String, u64)>, Fault> {
        let (Some(give), true) = (give, self.open) else { return Ok(Vec::new()) };
        let mut counts: Vec<(String, u64)> = Vec::new();
        let sink = Sink { context: (&raw mut counts).cast(), take: take_count };
        // SAFETY: the instance lives and is not poisoned; the sink is valid during the call, and `take_count` fits its
        // context.
        self.call(call, |raw, _, error| unsafe { give(raw, &raw const sink, error) })?;
        Ok(counts)
    }
}

/// A plugin's function that gives counts.
type Give = unsafe extern "C" fn(*mut c_void, *const Sink, *mut ErrorBuffer) -> i32;

/// A reason is a line for people.
const MOST_CHARS: usize = 500;
