//! The bare relay: a PULL or SUB socket, a ROUTER socket and one loop between them; libzmq with its defaults.
//!
//! It does only what every forwarder must do: no checks, no limits, no statistics. It needs `zmq_msg_copy`, which
//! shares a frame between messages and which the `zmq` crate does not have; hence the unsafe calls.
#![allow(unsafe_code)]

use std::{collections::BTreeSet, ffi::c_int, mem::MaybeUninit};

use anyhow::bail;

/// Prints `ready` when its workers are connected, and forwards for ever: every message to the next worker, or to all.
pub(crate) fn run(
    pattern: zmq::SocketType,
    upstreams: &[&str],
    port: &str,
    workers: usize,
    broadcast: bool,
) -> anyhow::Result<()> {
    let context = zmq::Context::new();
    let mut router = context.socket(zmq::ROUTER)?;
    router.set_router_mandatory(true)?;
    router.bind(&format!("tcp://*:{port}"))?;
    let mut names = BTreeSet::new();
    while names.len() < workers {
        names.insert(router.recv_multipart(0)?.swap_remove(0));
    }
    let names: Vec<_> = names.into_iter().collect();

    let mut pull = context.socket(pattern)?;
    if pattern == zmq::SUB {
        pull.set_subscribe(b"")?;
    }
    for upstream in upstreams {
        pull.connect(upstream)?;
    }
    println!("ready");
    let mut parts: Vec<Msg> = Vec::new();
    for number in 0usize.. {
        parts.clear();
        loop {
            let part = Msg::receive(&mut pull)?;
            let more = part.more();
            parts.push(part);
            if !more {
                break;
            }
        }
        // The header and the end of a run are single parts; every worker gets them.
        let all = broadcast || parts.len() == 1;
        let to = if all { &names[..] } else { &names[number % workers..][..1] };
        for name in to {
            router.send(&name[..], zmq::SNDMORE)?;
            router.send(HEADER, zmq::SNDMORE)?;
            for (index, part) in parts.iter().enumerate() {
                part.copy()?.send(&mut router, index + 1 < parts.len())?;
            }
        }
    }
    Ok(())
}

/// The header part of every message.
pub(crate) const HEADER: &str = r#"{"event_number":1000000,"streams":{"bench":{"typ":"STINS","length":2}},"created_at":"2026-01-01T00:00:00.000000Z"}"#;

/// A message part of libzmq.
struct Msg(Box<zmq_sys::zmq_msg_t>);

impl Msg {
    fn empty() -> Self {
        let mut msg = Box::new(MaybeUninit::uninit());
        // SAFETY: zmq_msg_init takes uninitialised memory of the type's size, and cannot fail.
        unsafe { zmq_sys::zmq_msg_init(msg.as_mut_ptr()) };
        // SAFETY: zmq_msg_init has initialised it one line up.
        Self(unsafe { msg.assume_init() })
    }

    fn receive(socket: &mut zmq::Socket) -> anyhow::Result<Self> {
        let mut part = Self::empty();
        // SAFETY: the socket lives during the call and is used by this thread alone; `part` was initialised.
        check(unsafe { zmq_sys::zmq_msg_recv(&mut *part.0, socket.as_mut_ptr(), 0) })?;
        Ok(part)
    }

    fn more(&self) -> bool {
        // SAFETY: `self` was initialised and the call only reads.
        unsafe { zmq_sys::zmq_msg_more(std::ptr::from_ref(&*self.0).cast_mut()) != 0 }
    }

    /// A second message that shares the same bytes.
    fn copy(&self) -> anyhow::Result<Self> {
        let mut copy = Self::empty();
        // SAFETY: both messages were initialised. libzmq changes the source's reference count, which only this thread
        // accesses through `self`.
        check(unsafe { zmq_sys::zmq_msg_copy(&mut *copy.0, std::ptr::from_ref(&*self.0).cast_mut()) })?;
        Ok(copy)
    }

    fn send(mut self, socket: &mut zmq::Socket, more: bool) -> anyhow::Result<()> {
        let flags = if more { zmq::SNDMORE } else { 0 };
        // SAFETY: as in `receive`; a sent message is left empty and may be closed.
        check(unsafe { zmq_sys::zmq_msg_send(&mut *self.0, socket.as_mut_ptr(), flags) })
    }
}

impl Drop for Msg {
    fn drop(&mut self) {
        // SAFETY: it was initialised in `empty` and is closed once.
        unsafe { zmq_sys::zmq_msg_close(&mut *self.0) };
    }
}

fn check(code: c_int) -> anyhow::Result<()> {
    if code < 0 {
        bail!("libzmq: {}", std::io::Error::last_os_error());
    }
    Ok(())
}
