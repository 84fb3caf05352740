//! `memory_limit`: reserves and releases bytes.
//!
//! One half is for assembled messages that wait for workers; the streams of the scan share the other half equally, for their queues.
//! Each has its own account, so that none can starve another: with one account for all streams, the fast streams fill it, and the
//! stream that all others wait for gets in event by event. Each account grants one item above its limit when it would otherwise stand
//! still (the first event of a stream, the first message), so an event larger than the limit passes alone and nothing deadlocks.

use std::{fmt, sync::Arc};

use crate::sync::atomic::{AtomicU64, Ordering};

/// Events with fewer bytes are copied whole, and so are smaller parts of larger events: a small frame that waits for a
/// stalled worker would pin the whole buffer it was received in.
pub(crate) const COPY_BELOW: usize = 2048;

/// Bytes held under one limit. Shared by all threads of an ingester.
pub(crate) struct Account {
    limit: u64,
    /// Invariant: the sum of `bytes` of all living charges of this account.
    used: AtomicU64,
    /// A waiter sleeps until at most this many bytes are held; 0: no waiter. The waiter sets it, the thread that rings clears it.
    waited_for: AtomicU64,
    /// Wakes the waiter. Called on any thread, so it must not block.
    ring: Box<dyn Fn() + Send + Sync>,
}

/// Reserved bytes; dropping it releases them. [any thread]
#[must_use]
pub(crate) struct Charge {
    bytes: u64,
    account: Arc<Account>,
}

impl Account {
    pub(crate) fn new(limit: u64, ring: impl Fn() + Send + Sync + 'static) -> Arc<Self> {
        let used = AtomicU64::new(0);
        Arc::new(Self { limit, used, waited_for: AtomicU64::new(0), ring: Box::new(ring) })
    }

    /// Takes bytes regardless of the limit: for items that must pass so that nothing stalls.
    pub(crate) fn take(self: &Arc<Self>, bytes: u64) -> Charge {
        self.used.fetch_add(bytes, Ordering::SeqCst);
        Charge { bytes, account: self.clone() }
    }

    /// Takes bytes if they fit.
    pub(crate) fn try_take(self: &Arc<Self>, bytes: u64) -> Option<Charge> {
        let fits = |used: u64| used.checked_add(bytes).filter(|sum| *sum <= self.limit);
        self.used.fetch_update(Ordering::SeqCst, Ordering::SeqCst, fits).ok()?;
        Some(Charge { bytes, account: self.clone() })
    }

    /// Whether the limit is reached. If so, the account rings when there is room again. An account that holds nothing
    /// is never full, regardless of its limit: one item always passes.
    pub(crate) fn is_full(&self) -> bool {
        let is_full = || self.used() >= self.limit.max(1);
        if !is_full() {
            return false;
        }
        self.wait_for_bytes();
        // Checked again, because bytes may have been released before the flag was seen.
        is_full()
    }

    /// Requests a ring when a quarter of the limit is free again. Check once more after this before sleeping.
    pub(crate) fn wait_for_bytes(&self) {
        // Not on the first released byte: a ring for each small release would cost a thread switch each time.
        self.wait_for_at_most(self.limit / 4 * 3);
    }

    /// Requests a ring when at most `bytes` are held. Check once more after this before sleeping.
    pub(crate) fn wait_for_at_most(&self, bytes: u64) {
        self.waited_for.store(bytes.max(1), Ordering::SeqCst);
    }

    pub(crate) fn used(&self) -> u64 {
        // SeqCst with `waited_for`: either the waiter sees the released bytes, or the releasing thread sees the waiter.
        self.used.load(Ordering::SeqCst)
    }

    fn give_back(&self, bytes: u64) {
        if bytes == 0 {
            return;
        }
        let left = self.used.fetch_sub(bytes, Ordering::SeqCst) - bytes;
        let wanted = self.waited_for.load(Ordering::SeqCst);
        if left <= wanted && self.waited_for.swap(0, Ordering::SeqCst) != 0 {
            (self.ring)();
        }
    }
}

impl Charge {
    /// Merges another charge of the same account.
    pub(crate) fn add(&mut self, mut other: Self) {
        debug_assert!(Arc::ptr_eq(&self.account, &other.account));
        self.bytes += std::mem::take(&mut other.bytes);
    }

    /// Releases some of its bytes, or the rest of them.
    pub(crate) fn give_back(&mut self, bytes: u64) {
        let bytes = bytes.min(self.bytes);
        self.bytes -= bytes;
        self.account.give_back(bytes);
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.give_back(self.bytes);
    }
}

impl fmt::Debug for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Account({} of {} bytes)", self.used(), self.limit)
    }
}

impl fmt::Debug for Charge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Charge({} bytes)", self.bytes)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;

    #[test]
    fn what_does_not_fit_is_refused_until_bytes_come_back() {
        let account = Account::new(100, || ());
        let first = account.try_take(60).unwrap();
        assert!(account.try_take(60).is_none());
        drop(first);
        assert!(account.try_take(60).is_some());
        assert_eq!(account.used(), 0);
    }

    #[test]
    fn whatever_the_limit_one_item_passes_and_whoever_waits_for_its_end_is_rung() {
        for limit in [0, 1, 2, 3] {
            let rings = Arc::new(AtomicUsize::new(0));
            let counted = rings.clone();
            let account = Account::new(limit, move || {
                counted.fetch_add(1, Ordering::SeqCst);
            });
            assert!(!account.is_full(), "{limit}: nothing is held");
            let item = account.take(1000);
            assert!(account.is_full(), "{limit}");
            drop(item);
            assert_eq!((account.is_full(), rings.load(Ordering::SeqCst)), (false, 1), "{limit}");
        }
    }

    #[test]
    fn the_waiter_is_rung_once_and_when_a_quarter_is_free() {
        let rings = Arc::new(AtomicUsize::new(0));
        let counted = rings.clone();
        let account = Account::new(40, move || {
            counted.fetch_add(1, Ordering::SeqCst);
        });
        let mut charges: Vec<_> = (0..5).map(|_| account.take(10)).collect();
        assert!(account.is_full());
        charges.truncate(4);
        assert_eq!(rings.load(Ordering::SeqCst), 0);
        drop(charges);
        assert_eq!(rings.load(Ordering::SeqCst), 1);
        assert!(!account.is_full());
    }
}
