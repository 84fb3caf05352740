//! JSON as Python's detectors write it and as pydantic 2.14 reads it.
//!
//! Plain `serde_json` would reject real messages: here NaN and Infinity are accepted anywhere, the last of duplicate
//! keys wins, integers may have up to 4300 digits, 200 levels of nesting are accepted and 201 are not, and lone
//! surrogates are refused. These are the rules of jiter, pydantic's own parser, which checks the whole text. Only the
//! fields that a protocol asks for are inspected. Nothing is allocated, there is no recursion, and the text is neither
//! kept nor changed.
//!
//! [`fields`] finds the fields of a message; [`Alike`] reads the headers of a run, which mostly resemble the previous
//! one. [`Value`] coerces as pydantic's lax mode does, [`Value::write`] writes as pydantic's `model_dump_json` does,
//! and [`dictionary`] returns the fields in the order in which pydantic writes them.

mod alike;
mod lax;
mod read;
mod write;

use std::{borrow::Cow, fmt};

use crate::Malformed;
pub use alike::Alike;
use jiter::JiterResult;
use read::Reader;
pub use write::{dictionary, write_float, write_str};

pub use lax::{float_of_text, is_float_text, is_int_float, is_int_text};

/// A checked JSON value, still in the message's text.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Value<'a> {
    /// `null`
    Null,
    /// `true` or `false`
    Bool(bool),
    /// A whole number of any size, as written.
    Int(&'a str),
    /// A number with fraction or exponent, as written; or `NaN`, `Infinity`, `-Infinity`.
    Float(&'a str),
    /// A string.
    Str(Text<'a>),
    /// `[…]`, brackets included.
    Array(&'a str),
    /// `{…}`, braces included.
    Object(&'a str),
}

/// A JSON string, without its quotes, escapes as written.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Text<'a> {
    raw: &'a str,
    escaped: bool,
}

/// Why a text is not a JSON object that pydantic would accept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JsonError {
    reason: &'static str,
    at: usize,
}

/// The top-level fields of the object in `document`, in the order of `names`; the last of duplicates.
///
/// # Errors
/// The text is not JSON by the rules of this module, or not an object.
pub fn fields<'a, const N: usize>(document: &'a [u8], names: &[&str; N]) -> Result<[Option<Value<'a>>; N], JsonError> {
    let mut found = [None; N];
    each_field(document, |key, value| {
        if let Some(place) = names.iter().position(|name| key.is(name)) {
            found[place] = Some(value);
        }
    })?;
    Ok(found)
}

/// Calls `take` for each top-level field of the object in `document`, in its order, duplicates included.
///
/// The text may turn out not to be JSON after some calls: use the values only when the result is `Ok`.
///
/// # Errors
/// The text is not JSON by the rules of this module, or not an object.
pub fn each_field<'a>(document: &'a [u8], mut take: impl FnMut(Text<'a>, Value<'a>)) -> Result<(), JsonError> {
    each(document, |key, value, _| take(key, value))
}

/// The same, with the position of the value in the text.
fn each<'a>(document: &'a [u8], mut take: impl FnMut(Text<'a>, Value<'a>, usize)) -> Result<(), JsonError> {
    let text =
        std::str::from_utf8(document).map_err(|error| JsonError { reason: "not UTF-8", at: error.valid_up_to() })?;
    let mut reader = Reader::new(text);
    reader.begin()?;
    each_of(&mut reader, &mut take)?;
    Ok(reader.finish()?)
}

/// The keys and values of the object that begins here, with the positions of the values.
fn each_of<'a>(reader: &mut Reader<'a>, take: &mut impl FnMut(Text<'a>, Value<'a>, usize)) -> JiterResult<()> {
    let mut next = reader.first_key()?;
    while let Some(key) = next {
        let kind = reader.peek()?;
        let at = reader.at();
        take(key, reader.value(kind)?, at);
        next = reader.next_key()?;
    }
    Ok(())
}

/// The elements of the array that begins here.
fn each_item<'a>(reader: &mut Reader<'a>, take: &mut impl FnMut(Value<'a>)) -> JiterResult<()> {
    let mut next = reader.first_item()?;
    while let Some(kind) = next {
        take(reader.value(kind)?);
        next = reader.next_item()?;
    }
    Ok(())
}

impl<'a> Value<'a> {
    /// The elements of an array; `None` for anything else.
    #[must_use]
    pub fn items(self) -> Option<Vec<Value<'a>>> {
        let Value::Array(text) = self else { return None };
        let mut items = Vec::new();
        // The array was checked when it was found, so there can be no error.
        each_item(&mut Reader::new(text), &mut |item| items.push(item)).ok()?;
        Some(items)
    }

    /// Whether this is an array whose elements all satisfy `holds`; allocates nothing.
    #[must_use]
    pub fn is_array_of(self, mut holds: impl FnMut(Value<'a>) -> bool) -> bool {
        let Value::Array(text) = self else { return false };
        let mut all = true;
        each_item(&mut Reader::new(text), &mut |item| all = all && holds(item)).is_ok() && all
    }

    /// The fields of an object in their order, duplicates included; `None` for anything else.
    #[must_use]
    pub fn entries(self) -> Option<Vec<(Text<'a>, Value<'a>)>> {
        let Value::Object(text) = self else { return None };
        let mut entries = Vec::new();
        each_of(&mut Reader::new(text), &mut |key, value, _| entries.push((key, value))).ok()?;
        Some(entries)
    }
}

impl<'a> Text<'a> {
    /// Whether the string, escapes resolved, is `other`.
    #[must_use]
    pub fn is(self, other: &str) -> bool {
        if self.escaped { self.decode() == other } else { self.raw == other }
    }

    /// The string with its escapes resolved.
    #[must_use]
    pub fn decode(self) -> Cow<'a, str> {
        if self.escaped { Cow::Owned(read::unescape(self.raw)) } else { Cow::Borrowed(self.raw) }
    }
}

impl fmt::Display for JsonError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at byte {}", self.reason, self.at)
    }
}

impl From<JsonError> for Malformed {
    fn from(error: JsonError) -> Self {
        Malformed::new(error.reason)
    }
}

#[cfg(test)]
mod tests;
