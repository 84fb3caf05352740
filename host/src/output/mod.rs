//! Events out: to workers through the ROUTER, and into a capture file.

pub(crate) mod connection;
pub(crate) mod dump;
pub(crate) mod places;
mod port;
pub(crate) mod router;
mod unconfirmed;
