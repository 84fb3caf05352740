//! The coercions of pydantic's `validate_python` in lax mode.
//!
//! Pure; allocates only where a value must be rewritten. The counterpart for JSON is `framegate_zmq_source::json`; its
//! rules for numbers in texts are the same and are reused here.

use std::{borrow::Cow, fmt};

use framegate_zmq_source::json;

use crate::pickle::{
    heap::{Heap, Item},
    numpy::Object,
    octets::Octets,
};

/// A value of the outermost dictionary.
#[derive(Clone, Copy)]
pub struct Value<'a> {
    bytes: &'a [u8],
    heap: &'a Heap,
    item: Item,
}

impl<'a> Value<'a> {
    pub(super) fn new(bytes: &'a [u8], heap: &'a Heap, item: Item) -> Self {
        Self { bytes, heap, item }
    }

    /// Whether a `Literal` of this text accepts the value.
    #[must_use]
    pub fn is_literal(self, text: &str) -> bool {
        self.as_python_str().is_some_and(|own| own == text)
    }

    /// Whether a `str` field accepts the value: texts (lone surrogates included), and bytes that are UTF-8.
    #[must_use]
    pub fn is_str(self) -> bool {
        match self.item {
            Item::Surrogates(_) => true,
            Item::Octets(octets) => std::str::from_utf8(&octets.decode(self.bytes)).is_ok(),
            _ => {
                self.as_python_str().is_some()
                    || self.numpy_octets().is_some_and(|octets| std::str::from_utf8(&octets).is_ok())
            }
        }
    }

    /// Whether an `int` field accepts the value: integers, floats without fraction (within 64 bits), texts and bytes of
    /// such numbers, booleans, decimals, and numpy's scalars of these kinds.
    #[must_use]
    pub fn is_int(self) -> bool {
        match self.item {
            Item::Int(_) | Item::BigInt(_) | Item::Bool(_) => true,
            Item::Float(float) => json::is_int_float(float),
            _ => match self.written() {
                Some(text) => json::is_int_text(&text),
                None => self.float().is_some_and(json::is_int_float),
            },
        }
    }

    /// Whether a `float` field accepts the value: numbers that fit into a float, texts and bytes of numbers, booleans,
    /// decimals, and numpy's scalars of these kinds.
    #[must_use]
    pub fn is_float(self) -> bool {
        match self.item {
            Item::Int(_) | Item::Bool(_) | Item::Float(_) => true,
            Item::BigInt(span) => fits_float(span.of(self.bytes)),
            _ => match self.written() {
                Some(text) => json::is_float_text(&text),
                None => self.float().is_some(),
            },
        }
    }

    /// The text of a Python `str` or of a subclass (numpy's), if it can be encoded.
    pub(super) fn as_python_str(self) -> Option<Cow<'a, str>> {
        match self.item {
            Item::Text(span) => std::str::from_utf8(span.of(self.bytes)).ok().map(Cow::Borrowed),
            Item::Object(_) => match self.heap.object(self.item) {
                Some(Object::Scalar(scalar)) => scalar.text(self.bytes).map(Cow::Owned),
                _ => None,
            },
            _ => None,
        }
    }

    fn numpy_octets(self) -> Option<Cow<'a, [u8]>> {
        match self.heap.object(self.item) {
            Some(Object::Scalar(scalar)) => scalar.octets(self.bytes),
            _ => None,
        }
    }

    /// The text or the `bytes` that may contain a number; an empty text for bytes that cannot.
    fn written(self) -> Option<Cow<'a, str>> {
        let of_bytes = |octets: Cow<'a, [u8]>| match octets {
            Cow::Borrowed(octets) => Cow::Borrowed(std::str::from_utf8(octets).unwrap_or_default()),
            Cow::Owned(octets) => Cow::Owned(String::from_utf8(octets).unwrap_or_default()),
        };
        match self.item {
            Item::Octets(octets @ Octets { is_array: false, .. }) => Some(of_bytes(octets.decode(self.bytes))),
            _ => self.as_python_str().or_else(|| self.numpy_octets().map(of_bytes)),
        }
    }

    /// The result of Python's `float()` for a value that is neither a Python number nor a text.
    fn float(self) -> Option<f64> {
        match self.item {
            Item::Decimal(span) => std::str::from_utf8(span.of(self.bytes)).ok()?.trim().parse().ok(),
            Item::Object(_) => match self.heap.object(self.item)? {
                Object::Scalar(scalar) => scalar.number(self.bytes),
                Object::Array(array) => {
                    let alone = array.alone()?;
                    if alone.is_complex() {
                        return None;
                    }
                    alone.number(self.bytes).or_else(|| {
                        let text = alone.text(self.bytes);
                        let octets = || String::from_utf8(alone.octets(self.bytes)?.into_owned()).ok();
                        json::float_of_text(&text.or_else(octets)?)
                    })
                }
                Object::DType(_) | Object::Unknown => None,
            },
            _ => None,
        }
    }
}

impl fmt::Debug for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.item.fmt(f)
    }
}

/// Whether an integer (little-endian two's complement) is still finite when rounded to a float.
fn fits_float(integer: &[u8]) -> bool {
    let negative = integer.last().is_some_and(|byte| *byte >= 0x80);
    let filling = if negative { 0xff } else { 0 };
    let significant = integer.iter().rposition(|byte| *byte != filling).map_or(0, |last| last + 1);
    if significant > 128 {
        return false;
    }
    // The magnitude without sign, in 129 bytes.
    let mut size = [filling; 129];
    size[..significant].copy_from_slice(&integer[..significant]);
    if negative {
        let mut carry = true;
        for byte in &mut size {
            (*byte, carry) = (!*byte).overflowing_add(u8::from(carry));
        }
    }
    // 54 one bits (970 to 1023) are rounded up to 2¹⁰²⁴.
    let rounds_up = size[128] == 0 && size[121] & 0xfc == 0xfc && size[122..128].iter().all(|byte| *byte == 0xff);
    size[128] == 0 && !rounds_up
}

/// Whether these bytes are UTF-8 with lone surrogates allowed, as Python's `surrogatepass` decodes it.
pub(super) fn is_utf8_with_surrogates(mut bytes: &[u8]) -> bool {
    while let Err(error) = std::str::from_utf8(bytes) {
        match &bytes[error.valid_up_to()..] {
            [0xed, 0xa0..=0xbf, 0x80..=0xbf, rest @ ..] => bytes = rest,
            _ => return false,
        }
    }
    true
}
