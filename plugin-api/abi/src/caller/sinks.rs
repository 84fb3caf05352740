//! Where a plugin puts texts and counts that it gives: its functions call back into these during a call of the host.
//!
//! On the instance's thread. What a plugin gives is limited here, so that it cannot fill the host's memory.
#![allow(unsafe_code)]

use std::ffi::c_void;

use crate::{catch, text::Text};

/// A [`Sink`](crate::text::Sink) into a `String`.
///
/// # Safety
/// - `context` points to a `String` that nobody else uses during the call; `text` is lent for it.
pub(super) unsafe extern "C" fn take_text(context: *mut c_void, text: Text, _: u64) {
    // SAFETY: lent for the call.
    let bytes = unsafe { text.as_bytes() };
    // SAFETY: as the caller promises.
    let out = unsafe { &mut *context.cast::<String>() };
    catch::quietly(|| {
        let room = MOST_TEXT.saturating_sub(out.len());
        let text = String::from_utf8_lossy(&bytes[..bytes.len().min(room)]);
        // What is not UTF-8 has become longer.
        let end = (0..=text.len().min(room)).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0);
        out.push_str(&text[..end]);
    });
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
    catch::quietly(|| {
        if out.len() < MOST_REASONS {
            out.push((String::from_utf8_lossy(&bytes[..bytes.len().min(256)]).into_owned(), count));
        }
    });
}

/// A text is read up to this many bytes, in however many pieces it comes.
const MOST_TEXT: usize = 1 << 20;
/// Reasons why messages gave no event; a protocol has a handful.
const MOST_REASONS: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_plugin_gives_is_limited_in_total_and_not_for_each_piece() {
        let (mut text, mut counts) = (String::new(), Vec::<(String, u64)>::new());
        for piece in [&[b'x'; 700_000][..], &[0xff; 700_000], "ü".repeat(700_000).as_bytes()] {
            // SAFETY: this string is nobody else's; the piece is lent.
            unsafe { take_text((&raw mut text).cast(), Text::bytes(piece), 0) };
            assert!(text.len() <= MOST_TEXT);
        }
        assert!(text.len() > MOST_TEXT - 4, "{}", text.len());
        for count in 0..1000 {
            // SAFETY: this list is nobody else's; the text is lent.
            unsafe { take_count((&raw mut counts).cast(), Text::bytes(&[b'x'; 1000]), count) };
        }
        assert_eq!((counts.len(), counts[63].0.len()), (MOST_REASONS, 256));
    }
}
