//! The binary interface between framegate and its source plugins.
//!
//! Everything that crosses the boundary is defined here and nowhere else; the version of this crate is the version of
//! the ABI. Authors of plugins use `framegate-plugin-api`, which re-exports the parts that they need; it needs no
//! `unsafe`.
//!
//! ```text
//!  plugin's code ── guard ── vtable ─────────── caller ── host
//!  (trait Plugin)  (catches   (tables of C       (checks every answer,
//!                   panics)    functions)         keeps the poison)
//! ```
//!
//! **Threads.** `[instance thread]`: the host's thread that called `create`; it makes every call to the instance, up to
//! `destroy`. `[any thread]`: may be called on any thread, also on several at once.
//!
//! **States.** An instance is *closed* after `create`; `open` makes it *open*, `close` makes it closed again. A panic
//! in a call makes it *poisoned*: it is never called again, not even to destroy it.
//!
//! **Ownership.** Text and bytes are borrowed for the call. The holder of a [`raw::RawFrame`] owns the frame and
//! calls `release` once. The arrays of a batch and the error buffer belong to the host; the plugin fills them. A plugin
//! is never unloaded, so its statics live as long as the process.
//!
//! **Versions.** Until the first release of 1.0 the version is 0.N: N increases with every change of the layout, and a
//! host takes plugins of its own N only ([`fits`]). Within a later major version nothing changes its layout or name, and
//! additions come through `get_extension` (see [`ext`]), in both directions, optional on both sides.

pub mod batch;
#[cfg(feature = "host")]
pub mod caller;
mod catch;
pub mod codes;
pub mod error;
#[cfg(feature = "layout")]
mod export;
pub mod ext;
pub mod frame;
pub mod guard;
mod hook;
pub mod host;
#[cfg(test)]
mod layout;
pub mod note;
pub mod raw;
mod small;
pub mod status;
pub mod text;
pub mod vtable;

/// Major and minor version of the ABI that this crate describes.
pub const ABI_VERSION: (u32, u32) = (0, 1);

/// Whether a plugin of this version of the ABI fits a host of [`ABI_VERSION`]: before 1.0 the versions must be equal;
/// from 1.0 on the major versions.
#[must_use]
pub const fn fits(major: u32, minor: u32) -> bool {
    major == ABI_VERSION.0 && (major > 0 || minor == ABI_VERSION.1)
}
