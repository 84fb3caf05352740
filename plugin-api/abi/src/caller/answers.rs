//! Callbacks for texts and counts: a plugin's function calls them during a call of the host.
//!
//! Called on the instance's thread. Limits apply here, so that a plugin cannot fill the host's memory.
#![allow(unsafe_code)]

use std::{ffi::c_void, time::Duration};

use crate::{
    catch,
    codes::Connected,
    status::StatusForm,
    text::{Sink, Text},
};

/// What a run told about itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RunStatus {
    /// What the run has received, in counters that the source defines.
    pub counters: Vec<(String, u64)>,
    /// Messages that gave no event, counted by reason.
    pub skipped: Vec<(String, u64)>,
    /// Why the last invalid message was invalid; empty if there was none.
    pub last_invalid: String,
    /// Bytes that the source has received and not yet delivered.
    pub bytes_waiting: u64,
    /// Whether a detector is connected, and for how long that has been so; `None` if the source cannot tell.
    pub connected: Option<(bool, Duration)>,
    /// The detector's address; empty if the source does not tell.
    pub peer: String,
}

/// A sink into a `String`.
pub(super) fn text_sink(text: &mut String) -> Sink {
    Sink { context: (&raw mut *text).cast(), take: take_text }
}

/// A form whose callbacks write into `status`.
pub(super) fn form(status: &mut RunStatus) -> StatusForm {
    StatusForm {
        context: (&raw mut *status).cast(),
        counter: take_counter,
        skipped: take_skipped,
        last_invalid: take_last_invalid,
        peer: take_peer,
        bytes_waiting: 0,
        connected_for_ns: 0,
        connected: Connected::Unknown.code(),
    }
}

impl RunStatus {
    /// The same, within the limits for what a plugin tells.
    #[must_use]
    pub fn limited(mut self) -> Self {
        let short = |text: &mut String, most: usize| text.truncate(fitting(text, most));
        for counts in [&mut self.counters, &mut self.skipped] {
            counts.truncate(MOST_COUNTS);
            counts.iter_mut().for_each(|(name, _)| short(name, MOST_NAME));
        }
        short(&mut self.last_invalid, MOST_LINE);
        short(&mut self.peer, MOST_NAME);
        self
    }

    /// Takes over the numbers of a form that was filled in.
    pub(super) fn complete(&mut self, form: &StatusForm) -> Result<(), String> {
        let lasted = Duration::from_nanos(form.connected_for_ns);
        self.bytes_waiting = form.bytes_waiting;
        self.connected = match Connected::from_code(form.connected) {
            Some(Connected::Unknown) => None,
            Some(Connected::No) => Some((false, lasted)),
            Some(Connected::Yes) => Some((true, lasted)),
            None => return Err(format!("connected {}", form.connected)),
        };
        Ok(())
    }
}

/// # Safety
/// - `context` points to a `String` that nobody else uses during the call; `text` is valid during the call.
unsafe extern "C" fn take_text(context: *mut c_void, text: Text) {
    // SAFETY: as the caller promises.
    let out = unsafe { &mut *context.cast::<String>() };
    // SAFETY: valid during the call.
    append(out, unsafe { text.as_bytes() }, MOST_TEXT);
}

/// # Safety
/// - `context` points to a [`RunStatus`] that nobody else uses during the call; `name` is valid during the call.
unsafe extern "C" fn take_counter(context: *mut c_void, name: Text, count: u64) {
    // SAFETY: as the caller promises.
    let status = unsafe { &mut *context.cast::<RunStatus>() };
    // SAFETY: valid during the call.
    add(&mut status.counters, unsafe { name.as_bytes() }, count);
}

/// # Safety
/// - As for [`take_counter`].
unsafe extern "C" fn take_skipped(context: *mut c_void, reason: Text, count: u64) {
    // SAFETY: as the caller promises.
    let status = unsafe { &mut *context.cast::<RunStatus>() };
    // SAFETY: valid during the call.
    add(&mut status.skipped, unsafe { reason.as_bytes() }, count);
}

/// # Safety
/// - As for [`take_counter`].
unsafe extern "C" fn take_last_invalid(context: *mut c_void, reason: Text) {
    // SAFETY: as the caller promises.
    let status = unsafe { &mut *context.cast::<RunStatus>() };
    // SAFETY: valid during the call.
    append(&mut status.last_invalid, unsafe { reason.as_bytes() }, MOST_LINE);
}

/// # Safety
/// - As for [`take_counter`].
unsafe extern "C" fn take_peer(context: *mut c_void, address: Text) {
    // SAFETY: as the caller promises.
    let status = unsafe { &mut *context.cast::<RunStatus>() };
    // SAFETY: valid during the call.
    append(&mut status.peer, unsafe { address.as_bytes() }, MOST_NAME);
}

/// Appends text, up to `most` bytes in total.
fn append(out: &mut String, bytes: &[u8], most: usize) {
    catch::quietly(|| {
        let room = most.saturating_sub(out.len());
        let text = String::from_utf8_lossy(&bytes[..bytes.len().min(room)]);
        // Replacing invalid UTF-8 makes the text longer.
        out.push_str(&text[..fitting(&text, room)]);
    });
}

/// The length of the longest beginning of a text that has at most `most` bytes.
fn fitting(text: &str, most: usize) -> usize {
    (0..=text.len().min(most)).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0)
}

fn add(counts: &mut Vec<(String, u64)>, bytes: &[u8], count: u64) {
    catch::quietly(|| {
        if counts.len() < MOST_COUNTS {
            let mut name = String::new();
            append(&mut name, bytes, MOST_NAME);
            counts.push((name, count));
        }
    });
}

/// Maximum total size of a text in bytes, over all its pieces.
const MOST_TEXT: usize = 1 << 20;
/// Maximum of a reason that is one line for people, in bytes.
const MOST_LINE: usize = 1000;
/// Maximum of a counter's name, a reason that is counted, and an address, in bytes.
const MOST_NAME: usize = 256;
/// Maximum number of counters and of reasons; a protocol has only a few.
const MOST_COUNTS: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_plugin_gives_is_limited_in_total_and_not_for_each_piece() {
        let (mut text, mut status) = (String::new(), RunStatus::default());
        let sink = text_sink(&mut text);
        for piece in [&[b'x'; 700_000][..], &[0xff; 700_000], "ü".repeat(700_000).as_bytes()] {
            // SAFETY: nobody else uses the string; the piece is valid during the call.
            unsafe { (sink.take)(sink.context, Text::bytes(piece)) };
        }
        assert!(text.len() <= MOST_TEXT && text.len() > MOST_TEXT - 4, "{}", text.len());
        let form = form(&mut status);
        for count in 0..1000 {
            for take in [form.counter, form.skipped] {
                // SAFETY: nobody else uses the status; the text is valid during the call.
                unsafe { take(form.context, Text::bytes(&[b'x'; 1000]), count) };
            }
            // SAFETY: as above.
            unsafe { (form.last_invalid)(form.context, Text::bytes(&[b'x'; 999])) };
            // SAFETY: as above.
            unsafe { (form.peer)(form.context, Text::new("üüü")) };
        }
        assert_eq!((status.counters.len(), status.counters[63].0.len()), (MOST_COUNTS, MOST_NAME));
        assert_eq!((status.skipped.len(), status.skipped[63].0.len()), (MOST_COUNTS, MOST_NAME));
        assert_eq!((status.last_invalid.len(), status.peer.len()), (MOST_LINE, MOST_NAME));
    }
}
