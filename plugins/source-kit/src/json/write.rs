//! Writes a value as pydantic's `model_dump_json` does: compact, from Python's own values.
//!
//! Pure. A value is written as Python would have stored it: numbers, strings and the order of a dictionary, in which
//! the first of duplicate keys decides the position and the last the value. One pass over the text; the nesting that
//! the reader accepts bounds the recursion. `lax.rs` coerces, this file does not.

use std::{
    borrow::Cow,
    collections::{HashMap, hash_map::Entry},
    ops::Range,
};

use jiter::{JiterResult, Peek};

use super::{JsonError, Text, Value, read::Reader};

/// The top-level fields of the object in `document`, as in a Python dictionary: the first of duplicate keys decides the
/// position and the last the value.
///
/// # Errors
/// The text is not JSON by the rules of this module, or not an object.
pub fn dictionary(document: &[u8]) -> Result<Vec<(Cow<'_, str>, Value<'_>)>, JsonError> {
    let mut fields: Vec<(Cow<'_, str>, Value<'_>)> = Vec::new();
    let mut places: HashMap<Cow<'_, str>, usize> = HashMap::new();
    super::each_field(document, |key, value| match places.entry(key.decode()) {
        Entry::Occupied(known) => fields[*known.get()].1 = value,
        Entry::Vacant(new) => {
            fields.push((new.key().clone(), value));
            new.insert(fields.len() - 1);
        }
    })?;
    Ok(fields)
}

impl Value<'_> {
    /// Appends the value as pydantic 2.14 writes it: no white space, NaN and infinity as `null`.
    pub fn write(self, out: &mut Vec<u8>) {
        match self {
            Value::Null => out.extend_from_slice(b"null"),
            Value::Bool(value) => out.extend_from_slice(if value { b"true" } else { b"false" }),
            Value::Int("-0") => out.push(b'0'),
            Value::Int(text) => out.extend_from_slice(text.as_bytes()),
            // The reader accepts only numbers that parse; a number too large for a float is infinite in Python too.
            Value::Float(text) => write_float(text.parse().unwrap_or(f64::NAN), out),
            Value::Str(text) => write_text(text, out),
            Value::Array(text) | Value::Object(text) => {
                let checked = next(&mut Reader::new(text), out);
                debug_assert_eq!(checked, Ok(()), "the text was checked when it was found");
            }
        }
    }
}

/// Appends a float as pydantic 2.14.3 writes it: the shortest digits that read back the same, `1e+22`, `null` for NaN
/// and infinity. (Other versions write `1e22`, depending on serde_json, which pydantic uses.)
pub fn write_float(value: f64, out: &mut Vec<u8>) {
    serde_json::to_writer(out, &value).expect("writing a number to memory cannot fail");
}

/// Appends a string with quotes and the escapes that JSON requires; all else stays as it is.
pub fn write_str(value: &str, out: &mut Vec<u8>) {
    serde_json::to_writer(out, value).expect("writing a string to memory cannot fail");
}

fn write_text(text: Text<'_>, out: &mut Vec<u8>) {
    if text.escaped {
        write_str(&text.decode(), out);
    } else {
        // A string without escapes needs none: copied unchanged.
        out.push(b'"');
        out.extend_from_slice(text.raw.as_bytes());
        out.push(b'"');
    }
}

/// Writes the value that begins here.
fn next(reader: &mut Reader<'_>, out: &mut Vec<u8>) -> JiterResult<()> {
    let kind = reader.peek()?;
    value(reader, kind, out)
}

fn value(reader: &mut Reader<'_>, kind: Peek, out: &mut Vec<u8>) -> JiterResult<()> {
    match kind {
        Peek::Array => array(reader, out),
        Peek::Object => object(reader, out),
        _ => {
            reader.value(kind)?.write(out);
            Ok(())
        }
    }
}

fn array(reader: &mut Reader<'_>, out: &mut Vec<u8>) -> JiterResult<()> {
    out.push(b'[');
    let mut item = reader.first_item()?;
    while let Some(kind) = item {
        value(reader, kind, out)?;
        item = reader.next_item()?;
        if item.is_some() {
            out.push(b',');
        }
    }
    out.push(b']');
    Ok(())
}

fn object(reader: &mut Reader<'_>, out: &mut Vec<u8>) -> JiterResult<()> {
    out.push(b'{');
    let from = out.len();
    // Ranges of the fields in `out`, `"key":value` each, in the order of a dictionary.
    let mut fields: Vec<Range<usize>> = Vec::new();
    let mut places: HashMap<Cow<'_, str>, usize> = HashMap::new();
    let mut doubled = false;
    let mut key = reader.first_key()?;
    while let Some(name) = key {
        let begin = out.len();
        write_text(name, out);
        out.push(b':');
        next(reader, out)?;
        let field = begin..out.len();
        match places.entry(name.decode()) {
            Entry::Occupied(known) => {
                doubled = true;
                fields[*known.get()] = field;
            }
            Entry::Vacant(new) => {
                new.insert(fields.len());
                fields.push(field);
            }
        }
        key = reader.next_key()?;
        if key.is_some() {
            out.push(b',');
        }
    }
    if doubled {
        let kept: Vec<&[u8]> = fields.iter().map(|field| &out[field.clone()]).collect();
        let kept = kept.join(&b","[..]);
        out.truncate(from);
        out.extend_from_slice(&kept);
    }
    out.push(b'}');
    Ok(())
}
