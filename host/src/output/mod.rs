//! Events out: to workers through the ROUTER socket, and into a capture file.

pub(crate) mod connections;
mod descriptor;
pub(crate) mod dump;
pub(crate) mod in_flight;
pub(crate) mod message;
pub(crate) mod router;
