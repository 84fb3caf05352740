//! What was measured, as people and programs read it.

pub(crate) mod json;
pub(crate) mod plot;
pub(crate) mod table;
