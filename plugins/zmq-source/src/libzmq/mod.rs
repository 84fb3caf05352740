//! Receives through libzmq: for what our own protocol does not speak, such as security with CURVE.
//!
//! ```text
//!   links ──> link: context, socket, handshake (what its monitor tells), read_ahead
//!   wait      closing: in the background, if libzmq waits for a name server
//!             keys: of CURVE, for all links of a run
//! ```

mod closing;
mod handshake;
mod keys;
mod link;
mod links;
mod read_ahead;

pub(crate) use keys::has_curve;
pub(crate) use links::Links;
