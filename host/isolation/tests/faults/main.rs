//! The host's side against real children: good, faulty and hostile ones.
#![allow(clippy::unwrap_used, reason = "these are tests, helpers included")]

#[path = "../common/mod.rs"]
mod common;

mod deaths;
mod good;
mod nonsense;
mod silence;

#[test]
#[ignore = "the entry of the children"]
fn child() {
    common::play();
}
