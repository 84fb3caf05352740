//! The known names: those that Python and numpy use to write data, such as arrays, scalars, times and sets.
//!
//! Pure; nothing is imported or called. `known.rs` has the results of calls.

/// A name in the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Known {
    /// `_codecs.encode`: how protocol 2 writes bytes.
    Encode,
    /// `bytes`: how protocol 2 writes empty bytes.
    Bytes,
    /// `bytearray`
    ByteArray,
    /// `OrderedDict`, `defaultdict`: dictionaries that are filled afterwards.
    Mapping,
    /// `set`; `frozenset` is [`Known::Plain`].
    Set,
    /// `Decimal`
    Decimal,
    /// A value that no rule inspects.
    Plain,
    /// A type used as a value; never called.
    Type,
    /// `numpy.dtype`
    DType,
    /// `numpy.ndarray` and similar types, as an argument of `_reconstruct`.
    ArrayType,
    /// `numpy…multiarray._reconstruct`: an array that gets its contents afterwards.
    Reconstruct,
    /// `numpy…numeric._frombuffer`: an array with its contents.
    FromBuffer,
    /// `numpy…multiarray.scalar`
    Scalar,
}

/// The entry for a name.
pub(super) fn look_up(module: &[u8], name: &[u8]) -> Option<Known> {
    use Known::{
        ArrayType, ByteArray, Bytes, DType, Decimal, Encode, FromBuffer, Mapping, Plain, Reconstruct, Scalar, Set, Type,
    };
    Some(match (module, name) {
        // numpy 2 renamed `numpy.core`.
        (b"numpy.core.multiarray" | b"numpy._core.multiarray", b"_reconstruct") => Reconstruct,
        (b"numpy.core.multiarray" | b"numpy._core.multiarray", b"scalar") => Scalar,
        (b"numpy.core.numeric" | b"numpy._core.numeric", b"_frombuffer") => FromBuffer,
        (b"numpy", b"dtype") => DType,
        (b"numpy", b"ndarray" | b"matrix" | b"recarray" | b"record") => ArrayType,
        (b"numpy.rec", b"recarray" | b"record") => ArrayType,
        (b"numpy.ma" | b"numpy.ma.core", b"MaskedArray") => ArrayType,
        (b"numpy.ma.core", b"_mareconstruct") => Plain,

        (b"_codecs", b"encode") => Encode,
        (b"collections", b"OrderedDict" | b"defaultdict") => Mapping,
        (b"collections", b"deque") => Plain,
        (b"datetime", b"datetime" | b"date" | b"time" | b"timedelta" | b"timezone") => Plain,
        (b"decimal", b"Decimal") => Decimal,

        // Protocol 2 uses Python 2's names.
        (b"builtins" | b"__builtin__", b"bytes") => Bytes,
        (b"builtins" | b"__builtin__", b"bytearray") => ByteArray,
        (b"builtins" | b"__builtin__", b"set") => Set,
        (b"builtins" | b"__builtin__", b"frozenset" | b"complex" | b"range" | b"xrange" | b"slice") => Plain,
        (b"builtins" | b"__builtin__", b"list" | b"dict" | b"tuple" | b"int" | b"float" | b"bool" | b"str") => Type,
        _ => return None,
    })
}
