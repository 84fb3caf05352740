//! Code that is not ours: finding plugin files, checking them, loading them. Knows nothing of scans or sockets.
//!
//! ```text
//!  "stins"  ──locate──▶ a file ──inspect──▶ Inspected ──generation──▶ Generation ──load──▶ its functions
//!  (a name              (gate 1: owner, hash;          (one copy for             (gate 3: private copy,
//!   or path)             gate 2: version)               one stream)               layout)
//! ```
//!
//! Gate 4, `create` with the real settings, is done by the reader. A plugin that fails a gate is refused with a
//! [`refusal`]; none of its code has run before gate 3.

pub(crate) mod child;
mod copy;
pub(crate) mod generation;
pub(crate) mod identity;
pub(crate) mod inspect;
mod layout;
pub(crate) mod load;
pub(crate) mod locate;
pub(crate) mod open;
pub(crate) mod probe;
pub(crate) mod refusal;
mod talk;
mod writable;
