//! What threads of the host share, from one place: `tests/races` compiles the files that use it a second time, with a model
//! checker's in its stead, and tries every order in which the threads can run.

pub(crate) use std::sync::{Condvar, Mutex, MutexGuard, atomic};

pub(crate) use nix::sys::eventfd::{EfdFlags, EventFd};
