//! Shared values whose memory is used again: an event costs no allocation once there have been as many as are on their way at a time.
//!
//! A [`Pool`] belongs to one thread, the only one that takes from it; the values are shared and let go on any thread.
//! Whoever is the last to let go of one empties it and gives it back. A pool that is gone, or full, takes nothing back: then the memory is freed as ever.

use std::{
    fmt,
    ops::Deref,
    sync::{
        Arc,
        mpsc::{Receiver, SyncSender, sync_channel},
    },
};

/// What a pool keeps.
pub(crate) trait Recycle: Default {
    /// Lets go of all that it holds, but for memory that the next one can use. Must not panic. [any thread]
    fn empty(&mut self);
}

/// See the module.
pub(crate) struct Pool<T> {
    /// Given back on the pool's own thread.
    spares: Vec<Arc<Slot<T>>>,
    /// Given back on any. It is bounded, so nothing is allocated for it, and nobody waits.
    returned: Receiver<Arc<Slot<T>>>,
    home: SyncSender<Arc<Slot<T>>>,
}

/// A value that several share, and that is emptied and given back by the last of them. [any thread]
pub(crate) struct Pooled<T: Recycle>(Option<Arc<Slot<T>>>);

/// A value, and the way back to its pool.
#[derive(Debug)]
pub(crate) struct Slot<T> {
    value: T,
    home: SyncSender<Arc<Slot<T>>>,
}

/// So many come back at once, usually; as many wait on either way to be used again.
const MOST_SPARES: usize = 1024;

impl<T: Recycle> Pool<T> {
    pub(crate) fn new() -> Self {
        let (home, returned) = sync_channel(MOST_SPARES);
        Self { spares: Vec::new(), returned, home }
    }

    /// A value that `fill` has filled; it gets it empty.
    pub(crate) fn take(&mut self, fill: impl FnOnce(&mut T)) -> Pooled<T> {
        if self.spares.is_empty() {
            self.spares.extend(self.returned.try_iter());
        }
        let new = || Arc::new(Slot { value: T::default(), home: self.home.clone() });
        // The last one that came back: it is in the processor's cache, if any is.
        let mut slot = self.spares.pop().unwrap_or_else(new);
        fill(&mut Arc::get_mut(&mut slot).expect("what was given back has no other owner").value);
        Pooled(Some(slot))
    }

    /// Lets go of a value. On the pool's own thread this is the shorter way.
    pub(crate) fn give_back(&mut self, mut value: Pooled<T>) {
        if self.spares.len() < MOST_SPARES
            && let Some(mut slot) = value.0.take()
        {
            match Arc::get_mut(&mut slot) {
                Some(Slot { value, .. }) => {
                    value.empty();
                    self.spares.push(slot);
                }
                None => drop(Pooled(Some(slot))),
            }
        }
    }
}

const FULL: &str = "it is taken out only when its owner ends";

#[cfg(test)]
impl<T: Recycle> Pooled<T> {
    /// How many share it.
    pub(crate) fn owners(&self) -> usize {
        self.0.as_ref().map_or(0, Arc::strong_count)
    }
}

impl<T: Recycle> Drop for Pooled<T> {
    fn drop(&mut self) {
        let Some(mut slot) = self.0.take() else { return };
        // Two who let go of it in the same moment both find that they are not the last. Then it is freed, which is as good, and rare.
        if let Some(Slot { value, home }) = Arc::get_mut(&mut slot) {
            value.empty();
            let home = home.clone();
            // What comes back in the error has no place, and is freed here.
            let _ = home.try_send(slot);
        }
    }
}

impl<T: Recycle> Clone for Pooled<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T: Recycle> Deref for Pooled<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0.as_ref().expect(FULL).value
    }
}

impl<T: Recycle + fmt::Debug> fmt::Debug for Pooled<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl<T> fmt::Debug for Pool<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("spares", &self.spares.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    /// Says of what it holds whether that is still held.
    #[derive(Debug, Default)]
    struct Holder {
        held: Option<Arc<()>>,
        own: Vec<u8>,
    }

    impl Recycle for Holder {
        fn empty(&mut self) {
            self.held = None;
            self.own.clear();
        }
    }

    fn holder(pool: &mut Pool<Holder>, held: &Arc<()>) -> Pooled<Holder> {
        pool.take(|holder| {
            assert!(holder.held.is_none() && holder.own.is_empty());
            holder.held = Some(held.clone());
            holder.own.extend([1; 100]);
        })
    }

    #[test]
    fn the_last_to_let_go_empties_it_and_its_memory_is_used_again_whoever_it_is() {
        let (mut pool, held) = (Pool::new(), Arc::new(()));
        let mut places = Vec::new();
        for own_thread in [true, false, true] {
            let first = holder(&mut pool, &held);
            places.push((&raw const *first, first.own.as_ptr()));
            let other = first.clone();
            drop(first);
            assert_eq!((other.own.len(), Arc::strong_count(&held)), (100, 2));
            if own_thread {
                pool.give_back(other);
            } else {
                thread::spawn(move || drop(other)).join().unwrap();
            }
            assert_eq!(Arc::strong_count(&held), 1);
        }
        assert_eq!(places, [places[0]; 3]);
    }

    #[test]
    fn a_pool_that_is_full_or_gone_takes_nothing_back() {
        let (mut pool, held) = (Pool::new(), Arc::new(()));
        let many: Vec<_> = (0..3 * MOST_SPARES).map(|_| holder(&mut pool, &held)).collect();
        let last = holder(&mut pool, &held);
        for (number, one) in many.into_iter().enumerate() {
            if number % 2 == 0 { drop(one) } else { pool.give_back(one) }
        }
        assert_eq!((pool.spares.len(), pool.returned.try_iter().count()), (MOST_SPARES, MOST_SPARES));
        drop(pool);
        drop(last);
        assert_eq!(Arc::strong_count(&held), 1);
    }
}
