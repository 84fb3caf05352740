//! Plugin files: finding them, checking them, loading them.
//!
//! A [`Host`](crate::Host) does all of this for the streams of its settings. These functions are for programs that show or
//! test plugins, as `framegate plugin` does.
//!
//! ```text
//!  "stins"  ──locate──▶ a file ──inspect──▶ Inspected ──generation──▶ Generation ──load──▶ its functions
//!  (a name              (gate 1: owner, hash;          (one copy for             (gate 3: private copy,
//!   or path)             gate 2: version)               one stream)               layout)
//! ```
//!
//! Gate 4, `create` with the real settings, is done by the reader. A plugin that fails a gate is refused with a
//! [`Refusal`]; none of its code has run before gate 3.

pub mod child;
mod copy;
pub(crate) mod generation;
pub(crate) mod identity;
pub(crate) mod inspect;
mod layout;
pub(crate) mod load;
pub(crate) mod locate;
pub(crate) mod open;
pub mod probe;
pub(crate) mod refusal;
mod talk;
mod writable;

pub use self::{
    identity::SourceIdentity,
    inspect::{Description, Inspected, Note, Trust, describe, inspect},
    load::load,
    locate::{find, places, plugins_in},
    refusal::{Code, Refusal},
};
