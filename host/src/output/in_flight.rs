//! How many bytes libzmq holds for each worker.
//!
//! Runs on the forwarder thread, except [`Receipt`], whose drop happens on libzmq's I/O thread. Owns the counts; owns
//! neither socket nor queue. It never sends, never waits and decides nothing: that is `ingester::credit`, which gets the
//! numbers as values.
//!
//! Why it exists: what libzmq has taken can be neither withdrawn at the end of a scan nor bounded by bytes. So little is
//! given to it; the rest waits in our own queue, where a new scan can drop it.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use crate::{names::WorkerName, wake::Wake};

/// The accounts of all workers that were ever sent to.
#[derive(Debug)]
pub(crate) struct InFlight {
    /// Keyed by name, not by service uuid: a worker that restarts under its name inherits the account, because what its
    /// predecessor never fetched stays in libzmq until it is released.
    accounts: HashMap<WorkerName, Arc<Account>>,
    /// All workers' bytes.
    total: Arc<Account>,
    /// Rings the forwarder when bytes come back that it waits for.
    wake: Wake,
}

#[derive(Debug, Default)]
struct Account {
    /// Bytes handed over and not yet released. Up on the forwarder thread, down in `Receipt::drop`.
    /// Invariant: the sum of `bytes` of all living receipts of this account.
    bytes: AtomicU64,
    /// The forwarder wants to be rung when bytes come back.
    waited_for: AtomicBool,
}

/// Proof that `bytes` were handed over; lives inside the message, and its drop gives them back. [any thread]
#[must_use]
#[derive(Debug)]
pub(crate) struct Receipt {
    bytes: u64,
    account: Arc<Account>,
    total: Arc<Account>,
    wake: Wake,
}

impl InFlight {
    pub(crate) fn new(wake: Wake) -> Self {
        Self { accounts: HashMap::new(), total: Arc::default(), wake }
    }

    pub(crate) fn hand_over(&mut self, worker: &WorkerName, bytes: u64) -> Receipt {
        let account = match self.accounts.get(worker) {
            Some(account) => account.clone(),
            None => self.accounts.entry(worker.clone()).or_default().clone(),
        };
        account.bytes.fetch_add(bytes, Ordering::SeqCst);
        self.total.bytes.fetch_add(bytes, Ordering::SeqCst);
        Receipt { bytes, account, total: self.total.clone(), wake: self.wake.clone() }
    }

    /// Bytes that libzmq holds for this worker.
    pub(crate) fn bytes_of(&self, worker: &WorkerName) -> u64 {
        self.accounts.get(worker).map_or(0, |account| account.bytes.load(Ordering::SeqCst))
    }

    /// Asks for a ring when bytes of this worker come back. Look at `bytes_of` once more before sleeping.
    pub(crate) fn wait_for(&self, worker: &WorkerName) {
        if let Some(account) = self.accounts.get(worker) {
            account.waited_for.store(true, Ordering::SeqCst);
        }
    }

    /// Bytes that libzmq holds for anybody.
    pub(crate) fn total(&self) -> u64 {
        self.total.bytes.load(Ordering::SeqCst)
    }

    /// Asks for a ring when any bytes come back.
    pub(crate) fn wait_for_any(&self) {
        self.total.waited_for.store(true, Ordering::SeqCst);
    }

    /// Forgets accounts that are empty: workers come and go for months.
    pub(crate) fn forget_empty(&mut self) {
        self.accounts.retain(|_, account| account.bytes.load(Ordering::SeqCst) > 0);
    }
}

impl Drop for Receipt {
    fn drop(&mut self) {
        for account in [&self.account, &self.total] {
            // PAIR waited_for: SeqCst with `wait_for` and the look that follows it. Either the forwarder sees the bytes
            // come back, or this sees that it waits.
            account.bytes.fetch_sub(self.bytes, Ordering::SeqCst);
            if account.waited_for.load(Ordering::SeqCst) && account.waited_for.swap(false, Ordering::SeqCst) {
                self.wake.ring();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(name: &str) -> WorkerName {
        WorkerName::new(name).unwrap()
    }

    #[test]
    fn bytes_come_back_when_the_last_receipt_is_dropped_on_another_thread() {
        let wake = Wake::new().unwrap();
        let mut in_flight = InFlight::new(wake.clone());
        let receipt = in_flight.hand_over(&name("w1"), 100);
        assert_eq!((in_flight.bytes_of(&name("w1")), in_flight.total()), (100, 100));
        in_flight.wait_for(&name("w1"));
        std::thread::spawn(move || drop(receipt)).join().unwrap();
        assert_eq!((in_flight.bytes_of(&name("w1")), in_flight.total()), (0, 0));
        assert!(wake.is_rung());
    }

    #[test]
    fn a_restarted_worker_inherits_what_its_predecessor_never_fetched() {
        let mut in_flight = InFlight::new(Wake::new().unwrap());
        let old = in_flight.hand_over(&name("w1"), 10);
        in_flight.forget_empty();
        let new = in_flight.hand_over(&name("w1"), 5);
        assert_eq!(in_flight.bytes_of(&name("w1")), 15);
        drop((old, new));
    }

    #[test]
    fn a_receipt_that_outlives_its_account_is_harmless() {
        let mut in_flight = InFlight::new(Wake::new().unwrap());
        let receipt = in_flight.hand_over(&name("w1"), 10);
        drop(in_flight);
        drop(receipt);
    }
}
