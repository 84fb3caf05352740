//! Reports of the measurements, for people and programs.

pub(crate) mod json;
pub(crate) mod plot;
pub(crate) mod table;
