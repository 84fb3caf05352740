//! Tests the host's queue, turns, wake-up and accounts with loom, in every order in which threads can run.
//!
//! The host's own files are compiled here a second time, with loom's `sync` instead of the host's. So the host's build
//! does not change, and its own code is tested, not a copy. Loom also tries the reorderings of processors: it finds a
//! `Relaxed` that must be stronger.
//!
//! Each function below is one model: a few threads, a few steps. It panics if in some order a wake-up is lost (all
//! threads block), an event is lost, duplicated or out of order, or bytes are not returned exactly once.
#![allow(dead_code, clippy::unwrap_used, reason = "the host's files have more than the models use; a model is a test")]

mod atomic;
#[path = "../../../host/src/batch.rs"]
mod batch;
#[path = "../../../host/src/budget.rs"]
mod budget;
#[path = "../../../host/src/event.rs"]
mod event;
#[path = "../../../host/src/names.rs"]
pub mod names;
#[path = "../../../host/src/turns.rs"]
mod turns;
#[path = "../../../host/src/wake.rs"]
mod wake;

mod settings {
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub(crate) enum WhenFull {
        Block,
        Drop,
    }
}

#[path = "."]
mod source {
    #[path = "../../../host/src/source/orders.rs"]
    pub(crate) mod orders;
    #[path = "../../../host/src/source/queue.rs"]
    pub(crate) mod queue;

    #[derive(Debug, Clone, Default)]
    pub(crate) struct RunStatus;
}

mod models;
mod sync;

pub use models::*;
