//! What a run tells about itself: counters, skipped messages, and its connection to the detector.
//!
//! The host asks a few times a second, on the instance's thread, and shows the answers in its status and metrics.
#![allow(unsafe_code)]

use std::ffi::c_void;

#[cfg(feature = "layout")]
use abi_stable::StableAbi;

use crate::{codes::Connected, text::Text};

/// The form to fill in. The host owns it; it is valid during the call.
#[repr(C)]
#[cfg_attr(feature = "layout", derive(StableAbi))]
#[derive(Debug)]
pub struct StatusForm {
    /// Passed to the functions unchanged.
    pub context: *mut c_void,
    /// `[instance thread, inside the call]` Takes a counter of this run: its name, one or two words with underscores,
    /// because it becomes a label of metrics, and its count, which only goes up.
    pub counter: unsafe extern "C" fn(context: *mut c_void, name: Text, count: u64),
    /// `[instance thread, inside the call]` Takes a reason, a few words for people, and the number of messages in this
    /// run that gave no event for this reason.
    pub skipped: unsafe extern "C" fn(context: *mut c_void, reason: Text, count: u64),
    /// `[instance thread, inside the call]` Takes the reason why the last invalid message was invalid: one line.
    pub last_invalid: unsafe extern "C" fn(context: *mut c_void, reason: Text),
    /// `[instance thread, inside the call]` Takes the address of the detector.
    pub peer: unsafe extern "C" fn(context: *mut c_void, address: Text),
    /// Number of bytes that the source has received and not yet delivered. The plugin sets it; at first 0.
    pub bytes_waiting: u64,
    /// For how many nanoseconds `connected` has had its value. The plugin sets it; at first 0.
    pub connected_for_ns: u64,
    /// A [`Connected`]'s code: whether a detector is connected. The plugin sets it; at first unknown.
    pub connected: i32,
}

/// The plugin's side of a form, for one call.
#[derive(Debug)]
pub struct StatusWriter<'a>(&'a mut StatusForm);

impl<'a> StatusWriter<'a> {
    /// Fills in a form.
    ///
    /// # Safety
    /// - The call that got the form is running during `'a`, on this thread.
    #[must_use]
    pub unsafe fn new(form: &'a mut StatusForm) -> Self {
        Self(form)
    }

    /// A counter of this run.
    pub fn counter(&mut self, name: &str, count: u64) {
        // SAFETY: the form is valid while the writer lives; the text lives during the call.
        unsafe { (self.0.counter)(self.0.context, Text::new(name), count) }
    }

    /// Messages that gave no event for a reason.
    pub fn skipped(&mut self, reason: &str, count: u64) {
        // SAFETY: the form is valid while the writer lives; the text lives during the call.
        unsafe { (self.0.skipped)(self.0.context, Text::new(reason), count) }
    }

    /// Why the last invalid message was invalid.
    pub fn last_invalid(&mut self, reason: &str) {
        // SAFETY: the form is valid while the writer lives; the text lives during the call.
        unsafe { (self.0.last_invalid)(self.0.context, Text::new(reason)) }
    }

    /// Bytes received and not yet delivered.
    pub fn bytes_waiting(&mut self, bytes: u64) {
        self.0.bytes_waiting = bytes;
    }

    /// Whether a detector is connected, and for how long this has been so.
    pub fn connected(&mut self, connected: Connected, lasted: std::time::Duration, peer: Option<&str>) {
        self.0.connected = connected.code();
        self.0.connected_for_ns = u64::try_from(lasted.as_nanos()).unwrap_or(u64::MAX);
        if let Some(peer) = peer {
            // SAFETY: the form is valid while the writer lives; the text lives during the call.
            unsafe { (self.0.peer)(self.0.context, Text::new(peer)) }
        }
    }
}
