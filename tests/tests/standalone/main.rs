//! Framegate without a controller, as the real program.

#![allow(clippy::unwrap_used, reason = "these are tests, helpers included")]

mod addresses;
mod closed;
mod dealing;
mod limits;
mod tools;
