//! What people and other programs see of a host.
pub(crate) mod logs;
