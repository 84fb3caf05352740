//! The command `framegate`.
#![forbid(unsafe_code)]

fn main() {}
