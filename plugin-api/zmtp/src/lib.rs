//! ZeroMQ's protocol on a connection, [ZMTP](https://zmtp.org): greeting, handshake, commands, and the heads of parts.
//!
//! Values in, values out: it knows no socket, keeps no bytes, and does not wait. The caller reads bytes, passes those that
//! are not used yet, and sends what it is given.
//!
//! ```text
//!   connection made ──> Handshake ──────> Peer ──> head, body, head, body, …
//!                       greeting, READY            a body is a part of a message, or a Command
//! ```
//!
//! | version | who speaks it | specification |
//! |---|---|---|
//! | 3.1 | libzmq since 4.3 | [37/ZMTP](https://rfc.zeromq.org/spec/37/) |
//! | 3.0 | libzmq 4.0 to 4.2, jeromq | [23/ZMTP](https://rfc.zeromq.org/spec/23/) |
//! | 2.0 | libzmq 3 | [15/ZMTP](https://rfc.zeromq.org/spec/15/) |
//! | 1.0 | libzmq 2 | [13/ZMTP](https://rfc.zeromq.org/spec/13/) |
//!
//! Security is not spoken: the only mechanism is NULL.
//!
//! ```
//! use std::time::Instant;
//!
//! use framegate_zmtp::{Handshake, Role, Version, read_head};
//!
//! # fn main() -> Result<(), framegate_zmtp::Fault> {
//! // A detector with a PUSH socket of libzmq 3: what it sends, and what is sent to it.
//! let received = b"\xff\0\0\0\0\0\0\0\x01\x7f\x01\x08\0\0\x01\x02ab\0\x01c";
//! let mut to_send = Vec::new();
//! let mut handshake = Handshake::begin(Role::Pull, Instant::now(), &mut to_send);
//! let (mut used, peer) = handshake.take(received, &mut to_send)?;
//! let peer = peer.expect("all of its handshake has come");
//! assert_eq!(peer.version, Version::V2);
//!
//! let mut message = Vec::new();
//! while let Some((head, length)) = read_head(peer.version, &received[used..])? {
//!     let body = used + length..used + length + head.length as usize;
//!     used = body.end;
//!     message.push(&received[body]);
//! }
//! assert_eq!(message, [&b"ab"[..], b"c"]);
//! # Ok(())
//! # }
//! ```
#![forbid(unsafe_code)]

mod command;
mod fault;
mod handshake;
mod head;
mod kind;

pub use crate::{
    command::{Command, LONGEST_COMMAND, Prefix, ping, pong, subscription},
    fault::{Fault, Words},
    handshake::{HANDSHAKE_LIMIT, Handshake, Peer},
    head::{Head, LONGEST_HEAD, Version, head, read_head},
    kind::{Role, SocketType},
};
