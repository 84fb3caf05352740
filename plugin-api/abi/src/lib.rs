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
//! **Ownership.** Text and bytes are borrowed for the call. The holder of a [`frame::RawFrame`] owns the frame and
//! calls `release` once. The arrays of a batch and the error buffer belong to the host; the plugin fills them. A plugin
//! is never unloaded, so its statics live as long as the process.
//!
//! **Versions.** Nothing here changes its layout or name within a major version: structs are frozen. Additions come
//! through `get_extension` (see [`ext`]), in both directions, optional on both sides.

pub mod batch;
#[cfg(feature = "host")]
pub mod caller;
mod catch;
pub mod codes;
pub mod error;
mod export;
pub mod ext;
pub mod frame;
pub mod guard;
mod hook;
pub mod host;
#[cfg(test)]
mod layout;
pub mod note;
mod small;
pub mod text;
pub mod vtable;

/// Major and minor version of the ABI that this crate describes: versions with the same major number are compatible.
pub const ABI_VERSION: (u32, u32) = (1, 1);
