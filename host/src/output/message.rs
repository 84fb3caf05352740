//! Frames as ZeroMQ message parts, without copying them; and the socket options that the `zmq` crate does not know.
//!
//! Runs on the forwarder thread; [`release`] on libzmq's I/O thread. All calls of `zmq-sys` are here.
#![allow(unsafe_code)]

use std::{
    ffi::{c_int, c_void},
    mem::{MaybeUninit, size_of},
    sync::Arc,
};

use zmq_sys::{
    zmq_errno, zmq_msg_close, zmq_msg_data, zmq_msg_init_data, zmq_msg_init_size, zmq_msg_send, zmq_msg_t,
    zmq_setsockopt,
};

use super::in_flight::Receipt;
use crate::{
    budget::COPY_BELOW,
    ingester::message::Message,
    recycle::{Pool, Pooled, Recycle, Slot},
};

/// What keeps the bytes of one message to one worker alive while libzmq holds them. When it is emptied, the receipt is given back after the bytes.
#[derive(Debug, Default)]
pub(crate) struct Owner {
    message: Option<Pooled<Message>>,
    receipt: Option<Receipt>,
}

impl Recycle for Owner {
    fn empty(&mut self) {
        self.message = None;
        self.receipt = None;
    }
}

/// How many bytes libzmq handles at once: draft options of libzmq 4.3, with their numbers (`zmq_draft.h`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BatchSize {
    /// Reads.
    In = 101,
    /// Writes.
    Out = 102,
}

/// What became of a send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sent {
    /// The network has it.
    Handed,
    /// No such worker is connected.
    Unreachable,
    /// Not now.
    Busy,
}

/// Sends `identity`, header and frames of a message. All or nothing: once libzmq took the identity, it takes the rest.
///
/// Without a receipt all of it is copied.
pub(crate) fn send(
    socket: &mut zmq::Socket,
    identity: &str,
    message: &Pooled<Message>,
    receipt: Option<Receipt>,
    owners: &mut Pool<Owner>,
) -> Sent {
    match socket.send(identity, zmq::SNDMORE | zmq::DONTWAIT) {
        Ok(()) => {}
        Err(zmq::Error::EHOSTUNREACH) => return Sent::Unreachable,
        Err(zmq::Error::EAGAIN) => return Sent::Busy,
        Err(error) => {
            tracing::error!(worker = identity, "the network refuses a message: {error}");
            return Sent::Busy;
        }
    }
    let mut owner = receipt.map(|receipt| {
        owners.take(|owner| {
            owner.message = Some(message.clone());
            owner.receipt = Some(receipt);
        })
    });
    let parts = message.parts();
    let mut left = parts.len();
    for bytes in parts {
        left -= 1;
        // The last part carries the receipt, so it is not copied: copied parts tell nobody when they are done.
        let whose = match &owner {
            _ if left == 0 => owner.take(),
            Some(owner) if bytes.len() >= COPY_BELOW => Some(owner.clone()),
            _ => None,
        };
        let mut part = whose.map_or_else(|| copied(bytes), |owner| shared(bytes, owner));
        #[cfg(test)]
        note(&mut part);
        let flags = if left > 0 { zmq_sys::ZMQ_SNDMORE } else { 0 } | zmq_sys::ZMQ_DONTWAIT;
        // SAFETY: `part` is an initialised message; the socket is open for as long as it is borrowed. On success libzmq
        // owns the content and `part` is empty.
        let sent = unsafe { zmq_msg_send(&mut part, socket.as_mut_ptr(), flags as c_int) };
        if sent < 0 {
            // SAFETY: reads the thread's errno.
            let errno = unsafe { zmq_errno() };
            // SAFETY: `part` was not taken, is initialised, and is closed once.
            unsafe { zmq_msg_close(&mut part) };
            tracing::error!(worker = identity, errno, "the network took half a message and refuses the rest");
            break;
        }
    }
    Sent::Handed
}

/// A part with bytes of its own.
fn copied(bytes: &[u8]) -> zmq_msg_t {
    let mut part = MaybeUninit::<zmq_msg_t>::uninit();
    // SAFETY: `part` is memory for one message; the call initialises it.
    let outcome = unsafe { zmq_msg_init_size(part.as_mut_ptr(), bytes.len()) };
    assert_eq!(outcome, 0, "out of memory for {} bytes", bytes.len());
    // SAFETY: the call above initialised it.
    let mut part = unsafe { part.assume_init() };
    // SAFETY: `part` is initialised.
    let data = unsafe { zmq_msg_data(&mut part) };
    // SAFETY: `data` has room for `bytes.len()` bytes, as was asked for, and is new memory, so it does not overlap.
    unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), data.cast::<u8>(), bytes.len()) };
    part
}

/// A part that points into the owner's bytes.
fn shared(bytes: &[u8], owner: Pooled<Owner>) -> zmq_msg_t {
    let mut part = MaybeUninit::<zmq_msg_t>::uninit();
    let hint = Arc::into_raw(owner.into_arc()).cast_mut().cast::<c_void>();
    let data = bytes.as_ptr().cast_mut().cast::<c_void>();
    // SAFETY: `bytes` belongs to `owner`, of which `hint` holds one count until `release`; libzmq only reads it.
    let outcome = unsafe { zmq_msg_init_data(part.as_mut_ptr(), data, bytes.len(), Some(release), hint) };
    assert_eq!(outcome, 0, "out of memory for a message part");
    // SAFETY: the call above initialised it.
    unsafe { part.assume_init() }
}

/// Called by libzmq, once for each part, on its I/O thread, when no peer needs the bytes any more.
///
/// # Safety
/// - `hint` came from `Arc::into_raw` of an `Arc<Slot<Owner>>` in [`shared`];
/// - it has not been passed here before for this part.
unsafe extern "C" fn release(_data: *mut c_void, hint: *mut c_void) {
    // SAFETY: libzmq passes the `hint` of `zmq_msg_init_data` unchanged and calls back once for each message
    // (zmq_msg_init_data(3)); `shared` left one count to this part.
    let owner = unsafe { Arc::from_raw(hint.cast::<Slot<Owner>>()) };
    // This cannot unwind: frames catch their owners' panics; receipts, charges and pools do not panic.
    drop(Pooled::from_arc(owner));
}

/// Sets how many bytes libzmq reads or writes at once. Returns whether this build of libzmq has the option.
pub(crate) fn set_batch_size(socket: &mut zmq::Socket, which: BatchSize, bytes: c_int) -> bool {
    let value = std::ptr::from_ref(&bytes).cast::<c_void>();
    // SAFETY: the socket is open for as long as it is borrowed; `value` points to an int of the length given.
    unsafe { zmq_setsockopt(socket.as_mut_ptr(), which as c_int, value, size_of::<c_int>()) == 0 }
}

/// Address and length of every part that was handed over: for the test that follows a frame.
#[cfg(test)]
pub(crate) static HANDED: std::sync::Mutex<Vec<(usize, usize)>> = std::sync::Mutex::new(Vec::new());

#[cfg(test)]
fn note(part: &mut zmq_msg_t) {
    // SAFETY: `part` is initialised, and its bytes are not touched.
    let data = unsafe { zmq_msg_data(part) };
    // SAFETY: as above.
    let len = unsafe { zmq_sys::zmq_msg_size(part) };
    HANDED.lock().unwrap().push((data as usize, len));
}
