//! Callbacks for texts and counts: a plugin's function calls them during a call of the host.
//!
//! Called on the instance's thread. Limits apply here, so that a plugin cannot fill the host's memory.
#![allow(unsafe_code)]

use std::ffi::c_void;

use crate::{catch, text::Text};

/// A [`Sink`](crate::text::Sink) into a `String`.
///
/// # Safety
/// - `context` points to a `String` that nobody else uses during the call; `text` is valid during the call.
pub(super) unsafe extern "C" fn take_text(context: *mut c_void, text: Text, _: u64) {
    // SAFETY: valid during the call.
    let bytes = unsafe { text.as_bytes() };
    // SAFETY: as the caller promises.
    let out = unsafe { &mut *context.cast::<String>() };
    catch::quietly(|| {
        let room = MOST_TEXT.saturating_sub(out.len());
        let text = String::from_utf8_lossy(&bytes[..bytes.len().min(room)]);
        // Replacing invalid UTF-8 makes the text longer.
        let end = (0..=text.len().min(room)).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0);
        out.push_str(&text[..end]);
    });
}

/// A [`Sink`](crate::text::Sink) into a list of counts.
///
/// # Safety
/// - `context` points to such a list, and nobody else uses it during the call; `text` is valid during the call.
pub(super) unsafe extern "C" fn take_count(context: *mut c_void, text: Text, count: u64) {
    // SAFETY: valid during the call.
    let bytes = unsafe { text.as_bytes() };
    // SAFETY: as the caller promises.
    let out = unsafe { &mut *context.cast::<Vec<(String, u64)>>() };
    catch::quietly(|| {
        if out.len() < MOST_REASONS {
            out.push((String::from_utf8_lossy(&bytes[..bytes.len().min(256)]).into_owned(), count));
        }
    });
}

/// Maximum total size of a text in bytes, over all its pieces.
const MOST_TEXT: usize = 1 << 20;
/// Maximum number of skip reasons; a protocol has only a few.
const MOST_REASONS: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_plugin_gives_is_limited_in_total_and_not_for_each_piece() {
        let (mut text, mut counts) = (String::new(), Vec::<(String, u64)>::new());
        for piece in [&[b'x'; 700_000][..], &[0xff; 700_000], "ü".repeat(700_000).as_bytes()] {
            // SAFETY: nobody else uses this string; the piece is valid during the call.
            unsafe { take_text((&raw mut text).cast(), Text::bytes(piece), 0) };
            assert!(text.len() <= MOST_TEXT);
        }
        assert!(text.len() > MOST_TEXT - 4, "{}", text.len());
        for count in 0..1000 {
            // SAFETY: nobody else uses this list; the text is valid during the call.
            unsafe { take_count((&raw mut counts).cast(), Text::bytes(&[b'x'; 1000]), count) };
        }
        assert_eq!((counts.len(), counts[63].0.len()), (MOST_REASONS, 256));
    }
}
