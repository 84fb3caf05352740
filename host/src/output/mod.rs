//! Event output: to workers through the ROUTER, and into a capture file.

mod audit;
pub(crate) mod connection;
pub(crate) mod dump;
pub(crate) mod limits;
mod port;
mod rivals;
pub(crate) mod router;
mod unconfirmed;
