//! Receives over TCP and Unix sockets, with ZeroMQ's protocol of our own (`framegate-zmtp`).
//!
//! ```text
//!   links ──> link: dials an address, or listens ──> connection: handshake, then ──> message
//!   wait                                             socket, input                   parts, buffers
//! ```
//!
//! All on the reader thread, inside the host's calls. Nothing here blocks but the wait of [`Links`].

mod buffers;
mod connection;
mod dialer;
mod input;
mod link;
mod links;
mod listener;
mod message;
mod stream;

pub(crate) use links::Links;
