//! What a pickle has built so far: numbers and positions in the message.
//!
//! Pure data. Nothing here owns bytes of a message, so the buffers can be reused from message to message.

use crate::pickle::{
    Field, MAX_DEPTH, MAX_VALUES, MEMO_BEYOND, READ_AGAIN, Refusal, cursor::Span, names::Known, numpy::Object,
    octets::Octets,
};

/// A value on the stack. Values that no rule inspects are [`Item::Other`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Item {
    /// An empty entry of the memo.
    Unset,
    None,
    Bool(bool),
    Int(i64),
    /// Little-endian two's complement, more than eight bytes.
    BigInt(Span),
    Float(f64),
    /// UTF-8.
    Text(Span),
    /// UTF-8 with lone surrogates, as Python writes a text that cannot be encoded.
    Surrogates(Span),
    Octets(Octets),
    Decimal(Span),
    Tuple(Elements),
    List,
    /// The first dictionary of the pickle. If the outermost value is a dictionary, this is it: Python creates a
    /// container before its contents.
    Outermost,
    Dict,
    Set,
    /// A name from the list in `names.rs`; never called.
    Known(Known),
    /// An index of `Heap::objects`.
    Object(u32),
    /// A class, a function, or the result of calling one: unknown.
    Opaque,
    Other,
}

/// The elements of a tuple, in `Heap::elements`. Tuples longer than any relevant one are not kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Elements {
    Kept { at: u32, length: u8 },
    Many,
}

/// All buffers.
#[derive(Debug, Default)]
pub(super) struct Heap {
    pub(super) stack: Vec<Item>,
    /// Stack lengths at which marks were set. Invariant: ascending, the last at most the stack's length.
    pub(super) marks: Vec<u32>,
    memo: Vec<Item>,
    /// Entries of the memo that are set.
    memoized: usize,
    elements: Vec<Item>,
    objects: Vec<Object>,
    /// Fields of the outermost dictionary.
    pub(super) fields: [Option<Item>; Field::COUNT],
    /// Whether the outermost dictionary has a key that is not a text, or a text that cannot be encoded.
    pub(super) odd_key: bool,
    /// Whether a dictionary was seen.
    has_outermost: bool,
    /// Maximum number of memo entries, so that their cost stays proportional to the message.
    most_memo: usize,
    /// How many bytes of values may still be read: a long value of the memo could be used for ever.
    left_to_read: usize,
}

impl Heap {
    /// Starts a pickle of `bytes` bytes.
    pub(super) fn clear(&mut self, bytes: usize) {
        self.stack.clear();
        self.marks.clear();
        self.memo.clear();
        self.elements.clear();
        self.objects.clear();
        if self.memory() > KEEP {
            *self = Self::default();
        }
        self.memoized = 0;
        self.fields = [None; Field::COUNT];
        self.odd_key = false;
        self.has_outermost = false;
        self.most_memo = bytes.saturating_add(MEMO_BEYOND).min(MAX_VALUES);
        self.left_to_read = bytes.saturating_mul(READ_AGAIN);
    }

    pub(super) fn memory(&self) -> usize {
        (self.stack.capacity() + self.memo.capacity() + self.elements.capacity()) * size_of::<Item>()
            + self.marks.capacity() * size_of::<u32>()
            + self.objects.capacity() * size_of::<Object>()
    }

    pub(super) fn push(&mut self, item: Item) -> Result<(), Refusal> {
        if self.stack.len() == MAX_VALUES {
            return Err(Refusal("more than a million values at once"));
        }
        self.stack.push(item);
        Ok(())
    }

    pub(super) fn pop(&mut self) -> Result<Item, Refusal> {
        if self.stack.len() <= self.fence() {
            return Err(UNDERFLOW);
        }
        self.stack.pop().ok_or(UNDERFLOW)
    }

    pub(super) fn top(&self) -> Result<Item, Refusal> {
        if self.stack.len() <= self.fence() {
            return Err(UNDERFLOW);
        }
        self.stack.last().copied().ok_or(UNDERFLOW)
    }

    /// Stack index of the last mark; `pop` and `top` cannot go below it.
    pub(super) fn fence(&self) -> usize {
        self.marks.last().map_or(0, |mark| *mark as usize)
    }

    pub(super) fn mark(&mut self) -> Result<(), Refusal> {
        if self.marks.len() == MAX_DEPTH {
            return Err(Refusal("nested more than 4096 deep"));
        }
        // At most `MAX_VALUES`.
        self.marks.push(self.stack.len() as u32);
        Ok(())
    }

    /// Removes the last mark and returns its position.
    pub(super) fn unmark(&mut self) -> Result<usize, Refusal> {
        self.marks.pop().map(|mark| mark as usize).ok_or(Refusal("a mark is missing"))
    }

    pub(super) fn put(&mut self, index: usize) -> Result<(), Refusal> {
        let item = self.top()?;
        if index >= self.most_memo {
            return Err(Refusal("a memo of more than a million entries, or beyond the message's length"));
        }
        if index >= self.memo.len() {
            self.memo.resize(index + 1, Item::Unset);
        }
        self.memoized += usize::from(self.memo[index] == Item::Unset);
        self.memo[index] = item;
        Ok(())
    }

    pub(super) fn memoize(&mut self) -> Result<(), Refusal> {
        self.put(self.memoized)
    }

    pub(super) fn get(&mut self, index: usize) -> Result<(), Refusal> {
        match self.memo.get(index) {
            Some(Item::Unset) | None => Err(Refusal("the memo has no such entry")),
            Some(item) => self.push(*item),
        }
    }

    /// Replaces the stack's values from `from` on by one tuple of them.
    pub(super) fn tuple(&mut self, from: usize) -> Result<(), Refusal> {
        let items = self.stack.get(from..).ok_or(UNDERFLOW)?;
        let elements = if items.len() > KEPT_ELEMENTS || self.elements.len() + items.len() > MAX_VALUES {
            Elements::Many
        } else {
            let at = self.elements.len() as u32;
            self.elements.extend_from_slice(items);
            Elements::Kept { at, length: items.len() as u8 }
        };
        self.stack.truncate(from);
        self.push(Item::Tuple(elements))
    }

    /// The elements of a short tuple; `None` for anything else.
    pub(super) fn elements(&self, item: Item) -> Option<&[Item]> {
        let Item::Tuple(Elements::Kept { at, length }) = item else { return None };
        self.elements.get(at as usize..)?.get(..usize::from(length))
    }

    /// Charges a value whose bytes are read.
    pub(super) fn reads(&mut self, item: Item) -> Result<(), Refusal> {
        self.charge(self.size(item))
    }

    /// Charges the elements of a tuple.
    pub(super) fn reads_elements(&mut self, tuple: Item) -> Result<(), Refusal> {
        self.charge(self.elements(tuple).into_iter().flatten().map(|item| self.size(*item)).sum())
    }

    fn charge(&mut self, bytes: usize) -> Result<(), Refusal> {
        self.left_to_read =
            self.left_to_read.checked_sub(bytes).ok_or(Refusal("a long value that is used again and again"))?;
        Ok(())
    }

    /// How many bytes of the message a value has.
    fn size(&self, item: Item) -> usize {
        match item {
            Item::Text(span) => span.size(),
            Item::Octets(octets) => octets.span.size(),
            Item::Object(_) => match self.object(item) {
                Some(Object::Scalar(scalar)) => scalar.size(),
                _ => 0,
            },
            _ => 0,
        }
    }

    /// A new dictionary.
    pub(super) fn dict(&mut self) -> Item {
        if self.has_outermost {
            return Item::Dict;
        }
        self.has_outermost = true;
        Item::Outermost
    }

    /// Adds an object; above the maximum number of objects the result is an unknown value.
    pub(super) fn add_object(&mut self, object: Object) -> Item {
        if self.objects.len() == MAX_VALUES / 4 {
            return Item::Opaque;
        }
        self.objects.push(object);
        Item::Object(self.objects.len() as u32 - 1)
    }

    pub(super) fn object(&self, item: Item) -> Option<&Object> {
        let Item::Object(index) = item else { return None };
        self.objects.get(index as usize)
    }

    pub(super) fn object_mut(&mut self, item: Item) -> Option<&mut Object> {
        let Item::Object(index) = item else { return None };
        self.objects.get_mut(index as usize)
    }
}

pub(super) const UNDERFLOW: Refusal = Refusal("the pickle takes what is not there");

/// Buffers that have grown larger than this are freed.
const KEEP: usize = 1 << 20;

/// The longest relevant tuple is the state of a numpy dtype.
const KEPT_ELEMENTS: usize = 9;
