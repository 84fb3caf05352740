//! The result that a call of a known name would have.
//!
//! Pure; calls nothing. Where the result of a call can matter (bytes, decimals, numpy's scalars), the arguments are kept;
//! where Python would fail on the bytes, reading fails too. A call with arguments that such data never has is treated
//! like a call of an unknown name: its result is unknown.

use crate::pickle::{
    Refusal,
    cursor::Span,
    heap::{Heap, Item},
    names::Known,
    numpy::{Array, DType, Object},
    octets::Octets,
};

impl Known {
    /// The result that a call with the tuple `arguments` would have.
    pub(super) fn call(self, bytes: &[u8], heap: &mut Heap, arguments: Item) -> Result<Item, Refusal> {
        let elements = heap.elements(arguments);
        Ok(match (self, elements) {
            (Known::Plain, _) => Item::Other,
            (Known::Set, _) => Item::Set,
            (Known::Mapping, _) => heap.dict(),
            (Known::Bytes, Some([])) => octets(Octets { span: Span::default(), as_text: false, is_array: false }),
            (Known::ByteArray, Some([])) => octets(Octets { span: Span::default(), as_text: false, is_array: true }),
            (Known::ByteArray, Some([Item::Octets(from)])) => octets(Octets { is_array: true, ..*from }),
            (Known::ByteArray, Some([Item::Text(span), Item::Text(codec)])) => latin1(bytes, *span, *codec, true)?,
            (Known::Encode, Some([Item::Text(span), Item::Text(codec)])) => latin1(bytes, *span, *codec, false)?,
            (Known::Decimal, Some([Item::Text(span)])) => Item::Decimal(*span),
            (Known::DType, Some([code, _, _])) => {
                let dtype = match code {
                    Item::Text(span) => DType::parse(span.of(bytes)),
                    Item::Known(Known::ArrayType) => Some(DType::structure()),
                    _ => None,
                };
                dtype.map_or(Item::Opaque, |dtype| heap.add_object(Object::DType(dtype)))
            }
            (Known::Scalar, Some([dtype, Item::Octets(data)])) => {
                let Some(Object::DType(kind)) = heap.object(*dtype) else { return Ok(Item::Opaque) };
                let scalar = kind.scalar(*data, bytes)?;
                heap.add_object(Object::Scalar(scalar))
            }
            (
                Known::Reconstruct,
                Some([Item::Known(Known::ArrayType), Item::Tuple(_), Item::Octets(_) | Item::Text(_)]),
            ) => heap.add_object(Object::Array(Array::empty())),
            (Known::FromBuffer, Some([Item::Octets(data), dtype, shape, Item::Text(order)]))
                if matches!(order.of(bytes), b"C" | b"F") =>
            {
                let Some(Object::DType(kind)) = heap.object(*dtype) else { return Ok(Item::Opaque) };
                let array = Array::new(*kind, heap.elements(*shape).map(lengths), Some(*data), bytes)?;
                heap.add_object(Object::Array(array))
            }
            _ => Item::Opaque,
        })
    }
}

/// The numpy object that `target` becomes with this state.
pub(super) fn build(bytes: &[u8], heap: &Heap, target: Item, state: Item) -> Result<Object, Refusal> {
    let elements = heap.elements(state);
    Ok(match (heap.object(target), elements) {
        (Some(Object::DType(dtype)), Some([version, Item::Text(order), parts, names, fields, size, rest @ ..])) => {
            // Since version 4, metadata is at the end.
            let right = matches!(
                (version, rest),
                (Item::Int(3), [Item::Int(_), Item::Int(_)]) | (Item::Int(4), [Item::Int(_), Item::Int(_), _])
            ) && matches!(parts, Item::None | Item::Tuple(_))
                && matches!((names, fields), (Item::None, Item::None) | (Item::Tuple(_), Item::Dict));
            let dtype = right.then(|| dtype.with_state(order.of(bytes), whole(size))).flatten();
            dtype.map_or(Object::Unknown, Object::DType)
        }
        // A masked array has one more element.
        (Some(Object::Array(_)), Some([Item::Int(1), shape, dtype, Item::Bool(_) | Item::Int(_), data, ..])) => {
            let Some(Object::DType(kind)) = heap.object(*dtype) else { return Ok(Object::Unknown) };
            match data {
                Item::Octets(data) => {
                    Object::Array(Array::new(*kind, heap.elements(*shape).map(lengths), Some(*data), bytes)?)
                }
                Item::List if kind.is_objects() => {
                    Object::Array(Array::new(*kind, heap.elements(*shape).map(lengths), None, bytes)?)
                }
                _ => Object::Unknown,
            }
        }
        _ => Object::Unknown,
    })
}

/// A whole number of up to 64 bits.
fn whole(item: &Item) -> Option<i64> {
    if let Item::Int(number) = item { Some(*number) } else { None }
}

/// The elements of a shape.
fn lengths(shape: &[Item]) -> impl ExactSizeIterator<Item = Option<i64>> {
    shape.iter().map(whole)
}

fn octets(octets: Octets) -> Item {
    Item::Octets(octets)
}

/// Bytes written as a text with the same code points.
fn latin1(bytes: &[u8], span: Span, codec: Span, is_array: bool) -> Result<Item, Refusal> {
    if !matches!(codec.of(bytes), b"latin1" | b"latin-1") {
        return Ok(Item::Opaque);
    }
    // In UTF-8, code points above 255 have a first byte of 0xC4 or more.
    if span.of(bytes).iter().any(|byte| *byte > 0xc3) {
        return Err(Refusal("bytes above 255"));
    }
    Ok(octets(Octets { span, as_text: true, is_array }))
}
