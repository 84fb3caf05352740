//! Which blocks of the shared memory a child may fill. Pure: the counts of releases come from its caller.
//!
//! A block is free when as many frames were released as were given in it. The lowest free blocks are taken first, so that
//! the memory in use stays small, and in the caches.
#![forbid(unsafe_code)]

use crate::wire::{BLOCK, WireFrame};

/// The child's account of the blocks.
#[derive(Debug)]
pub struct Blocks {
    /// Number of frames that were given in each block, modulo 2³².
    given: Vec<u32>,
    /// Number of blocks that were taken together, at the first of them; 0 for all others.
    taken: Vec<u32>,
}

/// The place for the next small frames of a message.
#[derive(Debug, Default, Clone, Copy)]
pub struct Rest {
    block: u32,
    used: usize,
    is_there: bool,
}

/// Frames begin at multiples of this.
const ALIGNMENT: usize = 16;

impl Blocks {
    /// An account of this many free blocks.
    #[must_use]
    pub fn new(blocks: u32) -> Self {
        let none = vec![0; blocks as usize];
        Self { given: none.clone(), taken: none }
    }

    /// There are this many blocks from now on.
    pub fn grow(&mut self, blocks: u32) {
        let blocks = self.given.len().max(blocks as usize);
        self.given.resize(blocks, 0);
        self.taken.resize(blocks, 0);
    }

    /// Number of blocks.
    #[must_use]
    pub fn len(&self) -> u32 {
        self.given.len() as u32
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.given.is_empty()
    }

    /// Places for all frames of an event, with these lengths, appended to `out`; `false`, and nothing is taken, if there is
    /// no room now. Small ones come behind each other into the block of `rest`.
    pub fn place(
        &mut self,
        lengths: impl Iterator<Item = usize>,
        rest: &mut Rest,
        released: impl Fn(u32) -> u32,
        out: &mut Vec<WireFrame>,
    ) -> bool {
        let (before, first) = (*rest, out.len());
        for len in lengths {
            let Some(place) = self.place_one(len, rest, &released) else {
                *rest = before;
                for frame in out.drain(first..) {
                    self.given[frame.block as usize] = self.given[frame.block as usize].wrapping_sub(1);
                }
                return false;
            };
            out.push(place);
        }
        true
    }

    fn place_one(&mut self, len: usize, rest: &mut Rest, released: impl Fn(u32) -> u32) -> Option<WireFrame> {
        let wire_len = u32::try_from(len).ok()?;
        if !rest.is_there || BLOCK - rest.used < len {
            let blocks = u32::try_from(len.div_ceil(BLOCK).max(1)).ok()?;
            let block = self.free(blocks, released)?;
            self.taken[block as usize] = blocks;
            let place = Rest { block, used: 0, is_there: true };
            if blocks > 1 || len > BLOCK / 2 {
                // The block of small frames before it is used on.
                self.count(block);
                return Some(WireFrame { block, offset: 0, len: wire_len });
            }
            *rest = place;
        }
        let place = WireFrame { block: rest.block, offset: rest.used as u32, len: wire_len };
        self.count(rest.block);
        rest.used = (rest.used + len).next_multiple_of(ALIGNMENT).min(BLOCK - 1);
        Some(place)
    }

    fn count(&mut self, block: u32) {
        self.given[block as usize] = self.given[block as usize].wrapping_add(1);
    }

    /// The lowest place for this many neighbours.
    fn free(&mut self, blocks: u32, released: impl Fn(u32) -> u32) -> Option<u32> {
        let (mut at, mut free) = (0, 0);
        while (at as usize) < self.given.len() {
            let taken = self.taken[at as usize];
            if taken > 0 && released(at) == self.given[at as usize] {
                self.taken[at as usize] = 0;
            } else if taken > 0 {
                (at, free) = (at + taken, 0);
                continue;
            }
            (at, free) = (at + 1, free + 1);
            if free == blocks {
                return Some(at - blocks);
            }
        }
        None
    }

    /// The sum of all releases, modulo 2³².
    #[must_use]
    pub fn sum(&self, released: impl Fn(u32) -> u32) -> u32 {
        (0..self.len()).map(released).fold(0, u32::wrapping_add)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn place(blocks: &mut Blocks, released: &[u32], lengths: &[usize], rest: &mut Rest) -> Option<Vec<WireFrame>> {
        let mut out = Vec::new();
        let placed = blocks.place(lengths.iter().copied(), rest, |block| released[block as usize], &mut out);
        placed.then_some(out)
    }

    #[test]
    fn the_lowest_free_blocks_are_taken_first_and_come_back_with_their_last_frame() {
        let (mut blocks, mut released) = (Blocks::new(4), vec![0; 4]);
        let at = |frames: Option<Vec<WireFrame>>| {
            frames.map(|frames| frames.iter().map(|frame| (frame.block, frame.offset)).collect::<Vec<_>>())
        };
        let mut rest = Rest::default();
        assert_eq!(at(place(&mut blocks, &released, &[10, 100], &mut rest)), Some(vec![(0, 0), (0, 16)]));
        assert_eq!(at(place(&mut blocks, &released, &[BLOCK + 1], &mut rest)), Some(vec![(1, 0)]));
        assert_eq!(at(place(&mut blocks, &released, &[5, BLOCK, BLOCK], &mut rest)), None, "nothing of it is taken");
        released[0] = 1;
        assert_eq!(at(place(&mut blocks, &released, &[BLOCK, BLOCK], &mut Rest::default())), None);
        released[0] = 2;
        assert_eq!(at(place(&mut blocks, &released, &[BLOCK, 1], &mut Rest::default())), Some(vec![(0, 0), (3, 0)]));
        released[1] = 1;
        assert_eq!(at(place(&mut blocks, &released, &[BLOCK + 1], &mut Rest::default())), Some(vec![(1, 0)]));
        assert_eq!(at(place(&mut blocks, &released, &[4 * BLOCK], &mut Rest::default())), None);
        blocks.grow(8);
        released.resize(8, 0);
        assert_eq!(at(place(&mut blocks, &released, &[4 * BLOCK], &mut Rest::default())), Some(vec![(4, 0)]));
    }

    proptest! {
        /// Whatever is given and released in whatever order: no two frames in use overlap, all are within the blocks, and
        /// when everything is released there is room for the largest frame.
        #[test]
        fn frames_in_use_never_overlap(
            steps in prop::collection::vec((prop::collection::vec(0..3 * BLOCK, 1..6), any::<prop::sample::Index>(), any::<bool>()), 1..60)
        ) {
            const BLOCKS: u32 = 16;
            let (mut blocks, mut released) = (Blocks::new(BLOCKS), vec![0_u32; BLOCKS as usize]);
            let mut used: BTreeMap<usize, WireFrame> = BTreeMap::new();
            let mut number = 0;
            for (lengths, which, releases) in steps {
                if let Some(frames) = place(&mut blocks, &released, &lengths, &mut Rest::default()) {
                    for frame in frames {
                        let range = |frame: &WireFrame| {
                            let start = frame.block as usize * BLOCK + frame.offset as usize;
                            start..start + frame.len as usize
                        };
                        let own = range(&frame);
                        prop_assert!(own.end <= BLOCKS as usize * BLOCK);
                        for other in used.values().map(range) {
                            prop_assert!(own.end <= other.start || other.end <= own.start || own.is_empty() || other.is_empty());
                        }
                        used.insert(number, frame);
                        number += 1;
                    }
                }
                if releases && !used.is_empty() {
                    let key = *used.keys().nth(which.index(used.len())).unwrap();
                    released[used.remove(&key).unwrap().block as usize] += 1;
                }
            }
            for frame in used.values() {
                released[frame.block as usize] += 1;
            }
            prop_assert!(place(&mut blocks, &released, &[BLOCKS as usize * BLOCK], &mut Rest::default()).is_some());
        }
    }
}
