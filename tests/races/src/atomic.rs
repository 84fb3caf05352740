//! Loom's atomics, with the order that `SeqCst` promises: loom treats it as `AcqRel`, and keeps the promise for fences
//! only.

pub(crate) use std::sync::atomic::Ordering;

use loom::sync::atomic::{self, fence};

#[derive(Debug, Default)]
pub(crate) struct AtomicBool(atomic::AtomicBool);

#[derive(Debug, Default)]
pub(crate) struct AtomicU64(atomic::AtomicU64);

fn ordered<T>(order: Ordering, access: impl FnOnce() -> T) -> T {
    let fence_if_promised = || (order == Ordering::SeqCst).then(|| fence(order));
    fence_if_promised();
    let result = access();
    fence_if_promised();
    result
}

impl AtomicBool {
    pub(crate) fn new(value: bool) -> Self {
        Self(atomic::AtomicBool::new(value))
    }

    pub(crate) fn load(&self, order: Ordering) -> bool {
        ordered(order, || self.0.load(order))
    }

    pub(crate) fn store(&self, value: bool, order: Ordering) {
        ordered(order, || self.0.store(value, order));
    }

    pub(crate) fn swap(&self, value: bool, order: Ordering) -> bool {
        ordered(order, || self.0.swap(value, order))
    }
}

impl AtomicU64 {
    pub(crate) fn new(value: u64) -> Self {
        Self(atomic::AtomicU64::new(value))
    }

    pub(crate) fn load(&self, order: Ordering) -> u64 {
        ordered(order, || self.0.load(order))
    }

    pub(crate) fn store(&self, value: u64, order: Ordering) {
        ordered(order, || self.0.store(value, order));
    }

    pub(crate) fn swap(&self, value: u64, order: Ordering) -> u64 {
        ordered(order, || self.0.swap(value, order))
    }

    pub(crate) fn fetch_add(&self, value: u64, order: Ordering) -> u64 {
        ordered(order, || self.0.fetch_add(value, order))
    }

    pub(crate) fn fetch_sub(&self, value: u64, order: Ordering) -> u64 {
        ordered(order, || self.0.fetch_sub(value, order))
    }

    pub(crate) fn fetch_update(
        &self,
        set: Ordering,
        fetch: Ordering,
        change: impl FnMut(u64) -> Option<u64>,
    ) -> Result<u64, u64> {
        ordered(set, || self.0.fetch_update(set, fetch, change))
    }
}
