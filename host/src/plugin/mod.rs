//! Plugin files: finding them, checking them, loading them.
//!
//! A [`Host`](crate::Host) does all of this for the streams of its settings. These functions are for programs that show or
//! test plugins, as `framegate plugin` does. They need the feature `plugins`; the types of a refusal and of an identity do
//! not.
//!
//! ```text
//!  "stins"  ──locate──▶ a file ──inspect──▶ Inspected ──generation──▶ Generation ──load──▶ its functions
//!  (a name              (gate 1: owner, hash;          (one copy for             (gate 3: private copy,
//!   or path)             gate 2: version)               one stream)               layout)
//! ```
//!
//! Gate 4, `create` with the real settings, is done by the reader. A plugin that fails a gate is refused with a
//! [`Refusal`]; none of its code has run before gate 3.

#[cfg(feature = "plugins")]
pub mod child;
#[cfg(feature = "plugins")]
mod copy;
#[cfg(feature = "plugins")]
pub(crate) mod generation;
pub(crate) mod identity;
#[cfg(feature = "plugins")]
pub(crate) mod inspect;
#[cfg(feature = "plugins")]
mod layout;
#[cfg(feature = "plugins")]
mod load;
#[cfg(feature = "plugins")]
mod locate;
#[cfg(feature = "plugins")]
mod open;
#[cfg(feature = "plugins")]
pub mod probe;
pub(crate) mod refusal;
pub(crate) mod report;
#[cfg(feature = "plugins")]
pub mod serve;
#[cfg(feature = "plugins")]
mod talk;
#[cfg(feature = "plugins")]
mod writable;

pub use self::{
    identity::SourceIdentity,
    refusal::{Code, Refusal},
};
#[cfg(feature = "plugins")]
pub use self::{
    inspect::{Description, Inspected, Note, Trust, describe, inspect},
    load::load,
    locate::{find, places, plugins_in},
};
