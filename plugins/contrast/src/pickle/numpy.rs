//! numpy's dtypes, scalars and arrays, as far as their numbers can be a field's value.
//!
//! Pure. Does not read payloads, except about eight bytes when a field is such a number. Lengths are checked, because
//! numpy would refuse a wrong one.

use std::borrow::Cow;

use crate::pickle::{Refusal, octets::Octets};

/// An object built by numpy's part of a pickle.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Object {
    DType(DType),
    Scalar(Scalar),
    Array(Array),
    /// Its state is known to numpy only.
    Unknown,
}

/// The type of an array's elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct DType {
    /// numpy's character for the kind: `b`, `i`, `u`, `f`, `c`, `S`, `U`, `V`, `O`, `M`, `m`.
    kind: u8,
    /// Bytes per element.
    size: u32,
    big_endian: bool,
}

/// One element.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Scalar {
    dtype: DType,
    data: Octets,
}

/// Elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Array {
    /// The only element of an array without dimensions; numpy converts no other array to a number.
    alone: Option<Scalar>,
}

impl DType {
    /// Parses a code like `f8`; `None` for a type that is neither a number nor a text.
    pub(super) fn parse(code: &[u8]) -> Option<Self> {
        let [kind, digits @ ..] = code else { return None };
        let number = std::str::from_utf8(digits).ok().filter(|digits| !digits.starts_with('+'));
        let number: u32 = number.and_then(|digits| digits.parse().ok())?;
        let (right, size) = match kind {
            b'b' => (number == 1, number),
            b'i' | b'u' => (matches!(number, 1 | 2 | 4 | 8), number),
            b'f' => (matches!(number, 2 | 4 | 8 | 12 | 16), number),
            b'c' => (matches!(number, 8 | 16 | 24 | 32), number),
            b'M' | b'm' | b'O' => (number == 8, number),
            b'S' | b'V' => (true, number),
            b'U' => (number < 1 << 29, number.saturating_mul(4)),
            _ => (false, 0),
        };
        (right && size < 1 << 31).then_some(Self { kind: *kind, size, big_endian: false })
    }

    /// A structured type; its size comes with its state.
    pub(super) fn structure() -> Self {
        Self { kind: b'V', size: 0, big_endian: false }
    }

    /// Sets the byte order and, if the code does not include it, the size.
    pub(super) fn with_state(self, order: &[u8], size: Option<i64>) -> Option<Self> {
        let size = match size? {
            size @ 0..0x7fff_ffff if matches!(self.kind, b'S' | b'U' | b'V') => size as u32,
            _ => self.size,
        };
        // numpy takes any character except these two for the machine's own order.
        let big_endian = order == b">" || (order == b"=" && cfg!(target_endian = "big"));
        Some(Self { size, big_endian, ..self })
    }

    /// Whether the elements are Python objects.
    pub(super) fn is_objects(self) -> bool {
        self.kind == b'O'
    }

    /// One element of this type.
    pub(super) fn scalar(self, data: Octets, bytes: &[u8]) -> Result<Scalar, Refusal> {
        if data.length(bytes) != self.size as usize || self.is_objects() {
            return Err(WRONG_LENGTH);
        }
        Ok(Scalar { dtype: self, data })
    }
}

impl Scalar {
    /// The number of bytes in the message.
    pub(super) fn size(self) -> usize {
        self.data.span.size()
    }
}

impl Array {
    /// An array before its state is set.
    pub(super) fn empty() -> Self {
        Self { alone: None }
    }

    /// `shape`: the elements of the tuple, `None` for one that is no whole number; `None` if too many were not kept. `data`: `None` for objects.
    pub(super) fn new(
        dtype: DType,
        shape: Option<impl ExactSizeIterator<Item = Option<i64>>>,
        data: Option<Octets>,
        bytes: &[u8],
    ) -> Result<Self, Refusal> {
        let Some(shape) = shape else { return Ok(Self::empty()) };
        let (mut elements, has_no_dimension) = (1u64, shape.len() == 0);
        for length in shape {
            let Some(length @ 0..) = length else {
                return Err(Refusal("a shape that is not of whole numbers"));
            };
            elements = elements.saturating_mul(length as u64);
        }
        let Some(data) = data else { return Ok(Self::empty()) };
        if dtype.is_objects() || elements.saturating_mul(u64::from(dtype.size)) != data.length(bytes) as u64 {
            return Err(WRONG_LENGTH);
        }
        Ok(Self { alone: has_no_dimension.then_some(Scalar { dtype, data }) })
    }

    /// The only element of an array without dimensions.
    pub(super) fn alone(self) -> Option<Scalar> {
        self.alone
    }
}

impl Scalar {
    /// The result of `float()` for a number: booleans, integers, floats, and the real part of complex numbers.
    pub(super) fn number(self, bytes: &[u8]) -> Option<f64> {
        let DType { kind, size, big_endian } = self.dtype;
        let size = size as usize;
        // The first half of a complex number is its real part.
        let length = if kind == b'c' { size / 2 } else { size };
        let data = self.data.decode(bytes);
        let mut little: [u8; 16] = [0; 16];
        let place = little.get_mut(..length)?;
        place.copy_from_slice(data.get(..length)?);
        if big_endian {
            place.reverse();
        }
        let whole = u128::from_le_bytes(little);
        match (kind, length) {
            (b'b', 1) => Some(f64::from(u8::from(whole != 0))),
            (b'u', 1..=8) => Some(whole as u64 as f64),
            (b'i', 1..=8) => {
                let unused = 64 - 8 * length as u32;
                Some((((whole as u64) << unused) as i64 >> unused) as f64)
            }
            (b'f' | b'c', 2) => Some(half(whole as u16)),
            (b'f' | b'c', 4) => Some(f64::from(f32::from_bits(whole as u32))),
            (b'f' | b'c', 8) => Some(f64::from_bits(whole as u64)),
            (b'f' | b'c', 12 | 16) => Some(extended(whole)),
            _ => None,
        }
    }

    /// `float()` refuses a complex element of an array without dimensions; of a complex scalar it takes the real part.
    pub(super) fn is_complex(self) -> bool {
        self.dtype.kind == b'c'
    }

    /// The text of an element of kind `U`, without the trailing zeros; `None` for other kinds and for invalid texts.
    pub(super) fn text(self, bytes: &[u8]) -> Option<String> {
        if self.dtype.kind != b'U' {
            return None;
        }
        let data = self.data.decode(bytes);
        let read = if self.dtype.big_endian { u32::from_be_bytes } else { u32::from_le_bytes };
        let (units, _) = data.as_chunks::<4>();
        let text: Option<String> = units.iter().map(|unit| char::from_u32(read(*unit))).collect();
        text.map(|text| text.trim_end_matches('\0').to_owned())
    }

    /// The bytes of an element of kind `S`, without the trailing zeros.
    pub(super) fn octets(self, bytes: &[u8]) -> Option<Cow<'_, [u8]>> {
        if self.dtype.kind != b'S' {
            return None;
        }
        let data = self.data.decode(bytes);
        let length = data.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        Some(match data {
            Cow::Borrowed(data) => Cow::Borrowed(&data[..length]),
            Cow::Owned(mut data) => {
                data.truncate(length);
                Cow::Owned(data)
            }
        })
    }
}

/// A half float.
fn half(bits: u16) -> f64 {
    let sign = if bits >> 15 == 1 { -1.0 } else { 1.0 };
    let fraction = f64::from(bits & 0x3ff) / 1024.0;
    sign * match bits >> 10 & 0x1f {
        0 => fraction * 2f64.powi(-14),
        31 if fraction == 0.0 => f64::INFINITY,
        31 => f64::NAN,
        exponent => (1.0 + fraction) * 2f64.powi(i32::from(exponent) - 15),
    }
}

/// The 80 bits of an x86 long double.
fn extended(bits: u128) -> f64 {
    let sign = if bits >> 79 & 1 == 1 { -1.0 } else { 1.0 };
    let mantissa = bits as u64;
    sign * match (bits >> 64) as i32 & 0x7fff {
        0x7fff if mantissa << 1 == 0 => f64::INFINITY,
        0x7fff => f64::NAN,
        exponent => mantissa as f64 * 2f64.powi(exponent - 16383 - 63),
    }
}

const WRONG_LENGTH: Refusal = Refusal("an array or scalar whose bytes do not fit its dtype and shape");
