//! The host's queue, wake-up and accounts in every order in which threads can run, with loom.
//!
//! The host's own files are compiled here a second time, with `sync` as loom has it instead of the host's. So the host is built as
//! always, and what is proven is its code and no copy. Loom also takes apart what processors may reorder: a `Relaxed` that has
//! to be more is found, too.
//!
//! Each function below is one model: a few threads, a few steps. It panics when an order is found in which a wake-up is lost
//! (all threads stand still), an event is lost, doubled or out of order, or bytes do not come back exactly once.
#![allow(dead_code, clippy::unwrap_used, reason = "the host's files have more than the models use; a model is a test")]

mod atomic;
#[path = "../../../host/src/batch.rs"]
mod batch;
#[path = "../../../host/src/budget.rs"]
mod budget;
#[path = "../../../host/src/names.rs"]
pub mod names;
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
    pub(crate) struct Counts;
}

mod models;
mod sync;

pub use models::*;
