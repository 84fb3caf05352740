//! The synchronisation types that the host's threads use, in one place: `tests/races` compiles the files that use them
//! a second time, with those of a model checker instead, and tries every order in which the threads can run.

pub(crate) use std::sync::{Condvar, Mutex, MutexGuard, atomic};

pub(crate) use nix::sys::eventfd::{EfdFlags, EventFd};
