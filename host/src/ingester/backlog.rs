//! The assignments that wait for their events, in order, and their size in bytes.
//!
//! Counted in bytes, because one assignment may name two workers or two thousand. The forwarder enforces the limit:
//! assignments beyond it wait in Redis.

use std::collections::VecDeque;

use super::command::Assignment;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Backlog {
    waiting: VecDeque<Assignment>,
    /// Invariant: the sum of `cost` over `waiting`.
    bytes: usize,
}

impl Backlog {
    pub(crate) fn push(&mut self, assigned: Assignment) {
        self.bytes += cost(&assigned);
        self.waiting.push_back(assigned);
    }

    pub(crate) fn front(&self) -> Option<&Assignment> {
        self.waiting.front()
    }

    pub(crate) fn pop(&mut self) -> Option<Assignment> {
        let assigned = self.waiting.pop_front()?;
        self.bytes -= cost(&assigned);
        Some(assigned)
    }

    /// Drops all. Returns their number.
    pub(crate) fn clear(&mut self) -> u64 {
        let waited = self.waiting.len() as u64;
        *self = Self::default();
        waited
    }

    pub(crate) fn len(&self) -> usize {
        self.waiting.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }
}

/// The size of an assignment, including heap memory of its lists.
fn cost(assigned: &Assignment) -> usize {
    let streams = &assigned.streams;
    let lists = if streams.spilled() { streams.capacity() * size_of_val(&streams[0]) } else { 0 };
    let workers = streams.iter().map(|(_, workers)| workers).filter(|workers| workers.spilled());
    size_of::<Assignment>() + lists + workers.map(|workers| workers.capacity() * size_of::<usize>()).sum::<usize>()
}

#[cfg(test)]
mod tests {
    use smallvec::SmallVec;

    use super::*;

    fn assigned(streams: usize, workers: usize) -> Assignment {
        Assignment { number: 0, streams: (0..streams).map(|stream| (stream, (0..workers).collect())).collect() }
    }

    #[test]
    fn many_workers_count_more_than_one() {
        let mut backlog = Backlog::default();
        backlog.push(assigned(1, 1));
        let one = backlog.bytes();
        assert!(one < 64);
        backlog.push(assigned(1, 1000));
        backlog.push(assigned(100, 3));
        backlog.push(Assignment { number: 0, streams: SmallVec::new() });
        assert!(backlog.bytes() > one + 8000 + 100 * (8 + 3 * 8));
        while backlog.pop().is_some() {}
        assert_eq!((backlog.bytes(), backlog.len()), (0, 0));
        backlog.push(assigned(3, 3));
        assert_eq!((backlog.clear(), backlog.bytes()), (1, 0));
    }
}
