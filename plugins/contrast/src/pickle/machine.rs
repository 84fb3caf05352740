//! Follows the opcodes of one pickle.
//!
//! Pure. Works on the heap's stack and memo as Python's reader does, with the same errors for missing values. Stores
//! only the kind and position of each value. Looks calls up in `known.rs` and never makes them.

use crate::pickle::{
    Field, Refusal,
    cursor::Cursor,
    heap::{Heap, Item, UNDERFLOW},
    known, lax, names,
    octets::Octets,
};

/// The stack machine for one pickle.
#[derive(Debug)]
pub(super) struct Machine<'a, 'h> {
    cursor: Cursor<'a>,
    heap: &'h mut Heap,
}

impl<'a, 'h> Machine<'a, 'h> {
    pub(super) fn new(bytes: &'a [u8], heap: &'h mut Heap) -> Result<Self, Refusal> {
        Ok(Self { cursor: Cursor::new(bytes)?, heap })
    }

    /// Runs to the end of the pickle; the outermost dictionary must then be on the stack.
    pub(super) fn run(mut self) -> Result<(), Refusal> {
        if self.cursor.byte()? != PROTO {
            return Err(Refusal("no pickle of protocol 2 to 5 (0 and 1 are not read; write at least 2)"));
        }
        self.protocol()?;
        loop {
            let opcode = self.cursor.byte()?;
            if opcode == b'.' {
                return match self.heap.pop()? {
                    Item::Outermost => Ok(()),
                    _ => Err(Refusal("the pickle is no dictionary")),
                };
            }
            self.step(opcode)?;
        }
    }

    fn protocol(&mut self) -> Result<(), Refusal> {
        match self.cursor.byte()? {
            2..=5 => Ok(()),
            0 | 1 => Err(Refusal("a pickle of protocol 0 or 1; write at least 2")),
            _ => Err(Refusal("a pickle of a protocol above 5")),
        }
    }

    fn step(&mut self, opcode: u8) -> Result<(), Refusal> {
        match opcode {
            // Scalars.
            b'N' => self.heap.push(Item::None),
            0x88 => self.heap.push(Item::Bool(true)),
            0x89 => self.heap.push(Item::Bool(false)),
            b'J' => self.cursor.array().and_then(|bytes| self.int(i64::from(i32::from_le_bytes(bytes)))),
            b'K' => self.cursor.byte().and_then(|byte| self.int(i64::from(byte))),
            b'M' => self.cursor.array().and_then(|bytes| self.int(i64::from(u16::from_le_bytes(bytes)))),
            0x8a => self.cursor.byte().and_then(|length| self.long(usize::from(length))),
            0x8b => self.cursor.length4().and_then(|length| self.long(length)),
            b'G' => self.cursor.array().and_then(|bytes| self.heap.push(Item::Float(f64::from_be_bytes(bytes)))),

            // Texts and bytes; 'U' and 'T' are from Python 2, and Python 3 reads them as ASCII texts.
            0x8c => self.cursor.byte().and_then(|length| self.text(usize::from(length))),
            b'X' => self.cursor.length4().and_then(|length| self.text(length)),
            0x8d => self.cursor.length8().and_then(|length| self.text(length)),
            b'U' => self.cursor.byte().and_then(|length| self.ascii(usize::from(length))),
            b'T' => self.cursor.length4().and_then(|length| self.ascii(length)),
            b'C' => self.cursor.byte().and_then(|length| self.octets(usize::from(length), false)),
            b'B' => self.cursor.length4().and_then(|length| self.octets(length, false)),
            0x8e => self.cursor.length8().and_then(|length| self.octets(length, false)),
            0x96 => self.cursor.length8().and_then(|length| self.octets(length, true)),

            // Containers.
            b')' => self.heap.tuple(self.heap.stack.len()),
            0x85 => self.tuple(1),
            0x86 => self.tuple(2),
            0x87 => self.tuple(3),
            b't' => self.heap.unmark().and_then(|from| self.heap.tuple(from)),
            b']' => self.heap.push(Item::List),
            b'a' => self.heap.pop().and_then(|_| self.extendable()),
            b'e' => self.drop_to_mark().and_then(|()| self.extendable()),
            b'}' => self.dictionary(),
            b's' => self.set_item(),
            b'u' => self.set_items(),
            0x8f => self.heap.push(Item::Set),
            0x90 => self.drop_to_mark().and_then(|()| self.extendable()),
            0x91 => self.drop_to_mark().and_then(|()| self.heap.push(Item::Other)),

            // Stack and memo.
            b'(' => self.heap.mark(),
            b'0' => self.pop(),
            b'1' => self.drop_to_mark(),
            b'2' => self.heap.top().and_then(|item| self.heap.push(item)),
            b'q' => self.cursor.byte().and_then(|index| self.heap.put(usize::from(index))),
            b'r' => self.cursor.length4().and_then(|index| self.heap.put(index)),
            0x94 => self.heap.memoize(),
            b'h' => self.cursor.byte().and_then(|index| self.heap.get(usize::from(index))),
            b'j' => self.cursor.length4().and_then(|index| self.heap.get(index)),

            // Names and calls.
            b'c' => self.global(),
            0x93 => self.stack_global(),
            b'R' => self.call(),
            b'b' => self.build(),
            0x81 => self.new_object(2),
            0x92 => self.new_object(3),

            PROTO => self.protocol(),
            0x95 => self.cursor.length8().and_then(|length| self.cursor.expect(length)),
            0x97 | 0x98 => Err(Refusal("a pickle with buffers out of band")),
            b'P' | b'Q' => Err(Refusal("a persistent object, which only the program that wrote it can load")),
            0x82..=0x84 => Err(Refusal("an entry of the registry of extensions, which Python keeps empty")),
            b'S' | b'V' | b'I' | b'L' | b'F' | b'd' | b'l' | b'g' | b'p' => Err(Refusal("an opcode of protocol 0")),
            b'i' | b'o' => Err(Refusal("an opcode of protocol 1 that makes an object")),
            _ => Err(Refusal("an unknown opcode")),
        }
    }

    fn int(&mut self, int: i64) -> Result<(), Refusal> {
        self.heap.push(Item::Int(int))
    }

    /// An integer of `length` bytes.
    fn long(&mut self, length: usize) -> Result<(), Refusal> {
        let span = self.cursor.take(length)?;
        let bytes = span.of(self.cursor.bytes());
        if bytes.len() > 8 {
            return self.heap.push(Item::BigInt(span));
        }
        let sign = if bytes.last().is_some_and(|byte| *byte >= 0x80) { 0xff } else { 0 };
        let mut whole = [sign; 8];
        whole[..bytes.len()].copy_from_slice(bytes);
        self.int(i64::from_le_bytes(whole))
    }

    fn text(&mut self, length: usize) -> Result<(), Refusal> {
        let span = self.cursor.take(length)?;
        let bytes = span.of(self.cursor.bytes());
        if std::str::from_utf8(bytes).is_ok() {
            self.heap.push(Item::Text(span))
        } else if lax::is_utf8_with_surrogates(bytes) {
            self.heap.push(Item::Surrogates(span))
        } else {
            Err(Refusal("a text that is not UTF-8"))
        }
    }

    fn ascii(&mut self, length: usize) -> Result<(), Refusal> {
        let span = self.cursor.take(length)?;
        if span.of(self.cursor.bytes()).is_ascii() {
            self.heap.push(Item::Text(span))
        } else {
            Err(Refusal("a text of Python 2 that is not ASCII"))
        }
    }

    fn octets(&mut self, length: usize, is_array: bool) -> Result<(), Refusal> {
        let span = self.cursor.take(length)?;
        self.heap.push(Item::Octets(Octets { span, as_text: false, is_array }))
    }

    fn tuple(&mut self, length: usize) -> Result<(), Refusal> {
        let from = self.heap.stack.len().checked_sub(length).filter(|from| *from >= self.heap.fence());
        self.heap.tuple(from.ok_or(UNDERFLOW)?)
    }

    fn drop_to_mark(&mut self) -> Result<(), Refusal> {
        let from = self.heap.unmark()?;
        self.heap.stack.truncate(from);
        Ok(())
    }

    /// Removes a value, or a mark if no value is above it, as Python does.
    fn pop(&mut self) -> Result<(), Refusal> {
        if !self.heap.marks.is_empty() && self.heap.fence() == self.heap.stack.len() {
            return self.heap.unmark().map(|_| ());
        }
        self.heap.pop().map(|_| ())
    }

    /// Checks that the top value can be extended. Its elements are not tracked.
    fn extendable(&self) -> Result<(), Refusal> {
        match self.heap.top()? {
            Item::List | Item::Set | Item::Opaque | Item::Other => Ok(()),
            _ => Err(Refusal("elements are added to what has none")),
        }
    }

    fn dictionary(&mut self) -> Result<(), Refusal> {
        let item = self.heap.dict();
        self.heap.push(item)
    }

    fn set_item(&mut self) -> Result<(), Refusal> {
        let value = self.heap.pop()?;
        let key = self.heap.pop()?;
        match self.heap.top()? {
            Item::Outermost => self.take_field(key, value),
            Item::Dict | Item::Opaque => hashable(key),
            _ => Err(NO_DICTIONARY),
        }
    }

    fn set_items(&mut self) -> Result<(), Refusal> {
        let from = self.heap.unmark()?;
        let target = from.checked_sub(1).filter(|below| *below >= self.heap.fence()).ok_or(UNDERFLOW)?;
        let is_outermost = match self.heap.stack[target] {
            Item::Outermost => true,
            Item::Dict | Item::Opaque => false,
            _ => return Err(NO_DICTIONARY),
        };
        if !(self.heap.stack.len() - from).is_multiple_of(2) {
            return Err(Refusal("a key without a value"));
        }
        for place in (from..self.heap.stack.len()).step_by(2) {
            let (key, value) = (self.heap.stack[place], self.heap.stack[place + 1]);
            if is_outermost {
                self.take_field(key, value)?;
            } else {
                hashable(key)?;
            }
        }
        self.heap.stack.truncate(from);
        Ok(())
    }

    /// Records a field of the outermost dictionary.
    fn take_field(&mut self, key: Item, value: Item) -> Result<(), Refusal> {
        hashable(key)?;
        // The common case neither allocates nor reads the whole text.
        let field = match key {
            Item::Text(span) => Field::of(span.of(self.cursor.bytes())),
            _ => {
                self.heap.reads(key)?;
                match lax::Value::new(self.cursor.bytes(), self.heap, key).as_python_str() {
                    Some(text) => Field::of(text.as_bytes()),
                    None => {
                        self.heap.odd_key = true;
                        None
                    }
                }
            }
        };
        if let Some(field) = field {
            self.heap.fields[field as usize] = Some(value);
        }
        Ok(())
    }

    fn global(&mut self) -> Result<(), Refusal> {
        let module = self.cursor.line()?;
        let name = self.cursor.line()?;
        self.known(module, name)
    }

    fn stack_global(&mut self) -> Result<(), Refusal> {
        let (name, module) = (self.heap.pop()?, self.heap.pop()?);
        let (Item::Text(name), Item::Text(module)) = (name, module) else {
            return Err(Refusal("a name that is no text"));
        };
        let bytes = self.cursor.bytes();
        self.known(module.of(bytes), name.of(bytes))
    }

    fn known(&mut self, module: &[u8], name: &[u8]) -> Result<(), Refusal> {
        self.heap.push(names::look_up(module, name).map_or(Item::Opaque, Item::Known))
    }

    fn call(&mut self) -> Result<(), Refusal> {
        let (arguments, callable) = (self.heap.pop()?, self.heap.pop()?);
        if !matches!(arguments, Item::Tuple(_)) {
            return Err(Refusal("a call without a tuple of arguments"));
        }
        let result = match callable {
            Item::Known(known) => {
                self.heap.reads_elements(arguments)?;
                known.call(self.cursor.bytes(), self.heap, arguments)?
            }
            Item::Opaque => Item::Opaque,
            _ => return Err(Refusal("a call of what cannot be called")),
        };
        self.heap.push(result)
    }

    fn build(&mut self) -> Result<(), Refusal> {
        let state = self.heap.pop()?;
        let target = self.heap.top()?;
        match target {
            Item::Object(_) => {
                self.heap.reads_elements(state)?;
                let object = known::build(self.cursor.bytes(), self.heap, target, state)?;
                if let Some(place) = self.heap.object_mut(target) {
                    *place = object;
                }
                Ok(())
            }
            Item::Opaque | Item::Other => Ok(()),
            _ => Err(Refusal("a state for what has none")),
        }
    }

    /// An object of a class: all but one of the values are its arguments. Python 3 writes no known name in this way.
    fn new_object(&mut self, values: usize) -> Result<(), Refusal> {
        for _ in 1..values {
            self.heap.pop()?;
        }
        match self.heap.pop()? {
            Item::Known(_) | Item::Opaque => self.heap.push(Item::Opaque),
            _ => Err(Refusal("an object of what is no class")),
        }
    }
}

/// Python refuses a mutable key.
fn hashable(key: Item) -> Result<(), Refusal> {
    match key {
        Item::List | Item::Outermost | Item::Dict | Item::Set | Item::Octets(Octets { is_array: true, .. }) => {
            Err(Refusal("a key that cannot be one"))
        }
        _ => Ok(()),
    }
}

const PROTO: u8 = 0x80;

const NO_DICTIONARY: Refusal = Refusal("items are set in what is no dictionary");
