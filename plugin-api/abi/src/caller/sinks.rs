//! Where a plugin puts texts and counts that it gives: its functions call back into these during a call of the host.
//!
//! On the instance's thread. What a plugin gives is limited here, so that it cannot fill the host's memory.
#![allow(unsafe_code)]

use std::ffi::c_void;

use crate::{guard, text::Text};

/// A [`Sink`](crate::text::Sink) into a `String`.
///
/// # Safety
/// - `context` points to a `String` that nobody else uses during the call; `text` is lent for it.
pub(super) unsafe extern "C" fn take_text(context: *mut c_void, text: Text, _: u64) {
    // SAFETY: lent for the call.
    let bytes = unsafe { text.as_bytes() };
    // SAFETY: as the caller promises.
    let out = unsafe { &mut *context.cast::<String>() };
    guard::quietly(|| out.push_str(&String::from_utf8_lossy(&bytes[..bytes.len().min(MOST_TEXT)])));
}

/// A [`Sink`](crate::text::Sink) into a list of counts.
///
/// # Safety
/// - `context` points to such a list that nobody else uses during the call; `text` is lent for it.
pub(super) unsafe extern "C" fn take_count(context: *mut c_void, text: Text, count: u64) {
    // SAFETY: lent for the call.
    let bytes = unsafe { text.as_bytes() };
    // SAFETY: as the caller promises.
    let out = unsafe { &mut *context.cast::<Vec<(String, u64)>>() };
    guard::quietly(|| {
        if out.len() < MOST_REASONS {
            out.push((String::from_utf8_lossy(&bytes[..bytes.len().min(256)]).into_owned(), count));
        }
    });
}

/// Descriptions of parameters are read up to this many bytes.
const MOST_TEXT: usize = 1 << 20;
/// Reasons why messages gave no event; a protocol has a handful.
const MOST_REASONS: usize = 64;
