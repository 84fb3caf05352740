//! The real program without a controller.

#![allow(clippy::unwrap_used, reason = "these are tests, helpers included")]

mod addresses;
mod closed;
mod dealing;
mod limits;
mod tools;
