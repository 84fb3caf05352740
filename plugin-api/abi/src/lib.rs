//! The binary interface between framegate and its source plugins.
//!
//! Everything that crosses the boundary is defined here and nowhere else; the version of this crate is the version of
//! the ABI. Authors of plugins use `framegate-plugin-api`, which re-exports what they need.

pub mod frame;

/// Major and minor version of the ABI that this crate describes.
pub const ABI_VERSION: (u32, u32) = (1, 0);
