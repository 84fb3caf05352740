//! Event output: to workers through the ROUTER, and into a capture file.

mod audit;
pub(crate) mod connection;
#[cfg(feature = "capture")]
pub(crate) mod dump;
#[cfg(not(feature = "capture"))]
#[path = "no_dump.rs"]
pub(crate) mod dump;
pub(crate) mod limits;
#[cfg(test)]
#[cfg(feature = "capture")]
#[allow(dead_code, reason = "for its own tests")]
mod no_dump;
mod port;
mod rivals;
pub(crate) mod router;
mod unconfirmed;
pub(crate) mod watch;
