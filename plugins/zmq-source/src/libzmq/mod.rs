//! Receives through libzmq: for what our own protocol does not speak, such as security with CURVE.
//!
//! ```text
//!   links ──> link: context, socket, handshake (what its monitor tells), read_ahead
//!   wait      closing: in the background, if libzmq waits for a name server
//! ```

mod closing;
mod handshake;
mod link;
mod links;
mod read_ahead;

pub(crate) use links::Links;
