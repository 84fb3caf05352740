//! The binary interface between framegate and its source plugins.
//!
//! Everything that crosses the boundary is defined here and nowhere else; the version of this crate is the version of
//! the ABI. Authors of plugins use `framegate-plugin-api`, which re-exports what they need; it needs no `unsafe`.
//!
//! ```text
//!  plugin's code ── guard ── vtable ─────────── caller ── host
//!  (trait Plugin)  (catches   (tables of C       (checks every answer,
//!                   panics)    functions)         keeps the poison)
//! ```
//!
//! **Threads.** `[instance thread]`: the one thread of the host that called `create`; it makes every call to the instance, down to
//! `destroy`. `[any thread]`: may be called on any thread, also on several at once.
//!
//! **States.** An instance is *closed* after `create`; `open` makes it *open*, `close` makes it closed again. A call that panicked makes
//! it *poisoned*: it is never called again, nor destroyed.
//!
//! **Ownership.** Text and bytes are borrowed for the call. A frame belongs to whoever holds its [`frame::RawFrame`], who calls `release`
//! once. The arrays of a batch and the buffer of an error belong to the host, which the plugin fills. A plugin is never unloaded, so
//! what is static in it lives as long as the process.
//!
//! **Versions.** Nothing here changes its layout or name within a major version: structs are frozen, and what is new
//! comes through `get_extension` (see [`ext`]), in both directions, optional on both sides.

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

/// Major and minor version of the ABI that this crate describes: equal majors fit together, whatever the minors are.
pub const ABI_VERSION: (u32, u32) = (1, 1);
