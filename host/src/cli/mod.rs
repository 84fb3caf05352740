//! The command.
pub(crate) mod listen;
pub(crate) mod replay;
