//! How many bytes and messages libzmq holds for each worker.
//!
//! Runs on the forwarder thread, except [`Receipt`], whose drop happens on libzmq's I/O thread. Owns the counts; owns
//! neither socket nor queue. It never sends, never waits and decides nothing: that is `ingester::credit`, which gets the
//! numbers as values.
//!
//! Why it exists: what libzmq has taken can be neither withdrawn at the end of a scan nor bounded by bytes. So little is
//! given to it; the rest waits in our own queue, where a new scan can drop it.

use std::{collections::HashMap, sync::Arc};

use crate::{
    budget::{Account as Memory, Charge, Held},
    names::WorkerName,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    wake::Wake,
};

/// The accounts of all workers that were ever sent to.
#[derive(Debug)]
pub(crate) struct InFlight {
    /// Keyed by name, not by service uuid: a worker that restarts under its name inherits the account, because what its
    /// predecessor never fetched stays in libzmq until it is released.
    accounts: HashMap<WorkerName, Arc<Account>>,
    /// All workers' bytes.
    total: Arc<Count>,
    /// Rings the forwarder when bytes come back that it waits for.
    wake: Wake,
}

/// One worker's bytes.
#[derive(Debug)]
pub(crate) struct Account {
    own: Count,
    total: Arc<Count>,
    wake: Wake,
}

#[derive(Debug, Default)]
struct Count {
    /// Bytes handed over and not yet released. Up on the forwarder thread, down in `Receipt::drop`.
    /// Invariant: the sum of `bytes` of all living receipts of this account.
    bytes: AtomicU64,
    /// The same of messages.
    messages: AtomicU64,
    /// The forwarder wants to be rung when bytes come back.
    waited_for: AtomicBool,
    /// And no more than so many are left. Read only by whoever has seen `waited_for`.
    low: AtomicU64,
}

/// Proof that `bytes` were handed over; lives inside the message, and its drop gives them back. [any thread]
#[must_use]
#[derive(Debug)]
pub(crate) struct Receipt {
    held: Held,
    account: Arc<Account>,
    /// Of bytes that libzmq has copies of. Those that it only borrows are charged to their message.
    _copies: Option<Charge>,
}

/// What goes to one worker in one go. A receipt costs more than a small message, so several share one: the network takes
/// messages in order, so the last one's receipt speaks for those before it.
#[derive(Debug)]
pub(crate) struct Lane {
    account: Arc<Account>,
    /// What was handed over, and whose receipt a later message carries.
    open: Held,
}

/// Small messages share a receipt up to this many bytes: little against what a worker may have in flight.
const RECEIPT_EVERY: u64 = 16 << 10;

impl InFlight {
    pub(crate) fn new(wake: Wake) -> Self {
        Self { accounts: HashMap::new(), total: Arc::default(), wake }
    }

    /// Begins to hand messages to a worker.
    pub(crate) fn lane(&mut self, worker: &WorkerName) -> Lane {
        let account = match self.accounts.get(worker) {
            Some(account) => account.clone(),
            None => {
                let account = Account { own: Count::default(), total: self.total.clone(), wake: self.wake.clone() };
                self.accounts.entry(worker.clone()).or_insert(Arc::new(account)).clone()
            }
        };
        Lane { account, open: Held::default() }
    }

    /// Bytes that libzmq holds for this worker.
    pub(crate) fn bytes_of(&self, worker: &WorkerName) -> u64 {
        self.accounts.get(worker).map_or(0, |account| account.own.bytes())
    }

    /// What libzmq holds for this worker.
    pub(crate) fn held_for(&self, worker: &WorkerName) -> Held {
        self.accounts.get(worker).map_or_else(Held::default, |account| account.own.held())
    }

    /// What libzmq holds for anybody.
    pub(crate) fn total(&self) -> Held {
        self.total.held()
    }

    /// Asks for a ring when any bytes come back.
    pub(crate) fn wait_for_any(&self) {
        self.total.wait_for(u64::MAX);
    }

    /// Forgets accounts that are empty: workers come and go for months.
    pub(crate) fn forget_empty(&mut self) {
        self.accounts.retain(|_, account| account.own.bytes() > 0);
    }
}

impl Lane {
    /// Bytes that libzmq holds for the worker.
    pub(crate) fn bytes(&self) -> u64 {
        self.account.own.bytes() + self.open.bytes
    }

    /// Messages that libzmq holds for the worker.
    pub(crate) fn messages(&self) -> u64 {
        self.account.own.held().messages + self.open.messages
    }

    /// Asks for a ring when no more than `low` bytes of this worker are left. Returns whether to wait for it.
    pub(crate) fn wait_for_bytes(&self, low: u64) -> bool {
        self.account.own.wait_for(low);
        let waits = self.bytes() > low;
        if !waits {
            self.account.own.waited_for.store(false, Ordering::SeqCst);
        }
        waits
    }

    /// Whether that ring has still to come.
    pub(crate) fn waits(&self) -> bool {
        self.account.own.waited_for.load(Ordering::SeqCst)
    }

    /// A message is about to be handed over. Returns its receipt, unless a later message's will do. `copied`: libzmq gets bytes of
    /// its own, which `memory` has to know of. `more`: another message follows for certain.
    pub(crate) fn receipt(&mut self, bytes: u64, copied: bool, more: bool, memory: &Arc<Memory>) -> Option<Receipt> {
        let open = self.open;
        let held = Held { bytes: open.bytes + bytes, messages: open.messages + 1 };
        if copied && more && held.bytes < RECEIPT_EVERY {
            self.open = held;
            return None;
        }
        let copies = if copied { held.bytes } else { open.bytes };
        self.open = Held::default();
        for count in [&self.account.own, &self.account.total] {
            count.bytes.fetch_add(held.bytes, Ordering::SeqCst);
            count.messages.fetch_add(held.messages, Ordering::Relaxed); // only ever shown
        }
        Some(Receipt { held, account: self.account.clone(), _copies: (copies > 0).then(|| memory.take(copies)) })
    }
}

impl Count {
    fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::SeqCst)
    }

    fn wait_for(&self, low: u64) {
        self.low.store(low, Ordering::Relaxed); // the store that follows publishes it
        self.waited_for.store(true, Ordering::SeqCst);
    }

    fn held(&self) -> Held {
        Held { bytes: self.bytes(), messages: self.messages.load(Ordering::Relaxed) }
    }
}

impl Drop for Receipt {
    fn drop(&mut self) {
        for count in [&self.account.own, &self.account.total] {
            count.messages.fetch_sub(self.held.messages, Ordering::Relaxed); // only ever shown
            // PAIR waited_for: SeqCst with whoever sets it and the look that follows. Either the forwarder sees the bytes
            // come back, or this sees that it waits.
            let left = count.bytes.fetch_sub(self.held.bytes, Ordering::SeqCst) - self.held.bytes;
            if count.waited_for.load(Ordering::SeqCst)
                && left <= count.low.load(Ordering::Relaxed)
                && count.waited_for.swap(false, Ordering::SeqCst)
            {
                self.account.wake.ring();
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

    fn large(in_flight: &mut InFlight, worker: &str, bytes: u64) -> Receipt {
        let memory = Memory::new(u64::MAX, || ());
        in_flight.lane(&name(worker)).receipt(bytes, false, false, &memory).unwrap()
    }

    #[test]
    fn bytes_come_back_when_the_last_receipt_is_dropped_on_another_thread() {
        let wake = Wake::new().unwrap();
        let mut in_flight = InFlight::new(wake.clone());
        let receipt = large(&mut in_flight, "w1", 100);
        let held = Held { bytes: 100, messages: 1 };
        assert_eq!((in_flight.held_for(&name("w1")), in_flight.total()), (held, held));
        assert!(in_flight.lane(&name("w1")).wait_for_bytes(0));
        std::thread::spawn(move || drop(receipt)).join().unwrap();
        assert_eq!((in_flight.bytes_of(&name("w1")), in_flight.total()), (0, Held::default()));
        assert!(wake.is_rung());
    }

    #[test]
    fn whoever_waits_is_rung_when_little_is_left_and_not_before() {
        let wake = Wake::new().unwrap();
        let mut in_flight = InFlight::new(wake.clone());
        let receipts = [(); 3].map(|()| large(&mut in_flight, "w1", 100));
        let lane = in_flight.lane(&name("w1"));
        assert!(lane.wait_for_bytes(150) && lane.waits());
        let [first, second, third] = receipts;
        drop(first);
        assert!(lane.waits() && !wake.is_rung());
        drop(second);
        assert!(!lane.waits() && wake.is_rung());
        assert!(!lane.wait_for_bytes(150) && !lane.waits(), "no more are left already");
        drop(third);
    }

    #[test]
    fn small_messages_share_the_receipt_of_the_last() {
        let mut in_flight = InFlight::new(Wake::new().unwrap());
        let memory = Memory::new(u64::MAX, || ());
        let mut lane = in_flight.lane(&name("w1"));
        assert!(lane.receipt(10, true, true, &memory).is_none());
        assert!(lane.receipt(20, true, true, &memory).is_none());
        assert_eq!((lane.bytes(), lane.messages(), in_flight.total()), (30, 2, Held::default()));
        let last = lane.receipt(30, true, false, &memory).unwrap();
        let held = Held { bytes: 60, messages: 3 };
        assert_eq!((in_flight.held_for(&name("w1")), in_flight.total(), memory.used()), (held, held, 60));
        drop(last);
        assert_eq!((lane.bytes(), lane.messages(), in_flight.total(), memory.used()), (0, 0, Held::default(), 0));
    }

    #[test]
    fn a_large_message_has_a_receipt_that_speaks_for_small_ones_before_it() {
        let mut in_flight = InFlight::new(Wake::new().unwrap());
        let memory = Memory::new(u64::MAX, || ());
        let mut lane = in_flight.lane(&name("w1"));
        assert!(lane.receipt(10, true, true, &memory).is_none());
        let large = lane.receipt(1 << 20, false, true, &memory).unwrap();
        // What is only borrowed is charged to the message.
        assert_eq!((lane.bytes(), memory.used()), ((1 << 20) + 10, 10));
        drop(large);
    }

    #[test]
    fn many_small_messages_do_not_wait_for_the_last() {
        let mut in_flight = InFlight::new(Wake::new().unwrap());
        let memory = Memory::new(u64::MAX, || ());
        let mut lane = in_flight.lane(&name("w1"));
        assert!((0..=RECEIPT_EVERY / 1000).any(|_| lane.receipt(1000, true, true, &memory).is_some()));
    }

    #[test]
    fn a_restarted_worker_inherits_what_its_predecessor_never_fetched() {
        let mut in_flight = InFlight::new(Wake::new().unwrap());
        let old = large(&mut in_flight, "w1", 10);
        in_flight.forget_empty();
        let new = large(&mut in_flight, "w1", 5);
        assert_eq!(in_flight.bytes_of(&name("w1")), 15);
        drop((old, new));
    }

    #[test]
    fn a_receipt_that_outlives_its_account_is_harmless() {
        let mut in_flight = InFlight::new(Wake::new().unwrap());
        let receipt = large(&mut in_flight, "w1", 10);
        drop(in_flight);
        drop(receipt);
    }
}
