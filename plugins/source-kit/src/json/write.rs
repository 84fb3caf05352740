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

use super::{JsonError, Text, Value, scan::Scanner};

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
            // The scanner accepts only numbers that parse; a number too large for a float is infinite in Python too.
            Value::Float(text) => write_float(text.parse().unwrap_or(f64::NAN), out),
            Value::Str(text) => write_text(text, out),
            Value::Array(text) | Value::Object(text) => {
                let checked = container(&mut Scanner::new(text), out);
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

fn value(scanner: &mut Scanner<'_>, out: &mut Vec<u8>) -> Result<(), JsonError> {
    scanner.space();
    match scanner.peek() {
        Some(b'[' | b'{') => container(scanner, out),
        _ => {
            scanner.scalar()?.write(out);
            Ok(())
        }
    }
}

fn container(scanner: &mut Scanner<'_>, out: &mut Vec<u8>) -> Result<(), JsonError> {
    if scanner.peek() == Some(b'[') { array(scanner, out) } else { object(scanner, out) }
}

fn array(scanner: &mut Scanner<'_>, out: &mut Vec<u8>) -> Result<(), JsonError> {
    scanner.expect(b'[', "`[` expected")?;
    out.push(b'[');
    scanner.space();
    if !scanner.eat(b']') {
        loop {
            value(scanner, out)?;
            scanner.space();
            if scanner.eat(b']') {
                break;
            }
            scanner.expect(b',', "`,` or `]` expected")?;
            out.push(b',');
        }
    }
    out.push(b']');
    Ok(())
}

fn object(scanner: &mut Scanner<'_>, out: &mut Vec<u8>) -> Result<(), JsonError> {
    scanner.expect(b'{', "`{` expected")?;
    out.push(b'{');
    let from = out.len();
    // Ranges of the fields in `out`, `"key":value` each, in the order of a dictionary.
    let mut fields: Vec<Range<usize>> = Vec::new();
    let mut places: HashMap<Cow<'_, str>, usize> = HashMap::new();
    let mut doubled = false;
    scanner.space();
    if !scanner.eat(b'}') {
        loop {
            let key = scanner.key()?;
            let begin = out.len();
            write_text(key, out);
            out.push(b':');
            value(scanner, out)?;
            let field = begin..out.len();
            match places.entry(key.decode()) {
                Entry::Occupied(known) => {
                    doubled = true;
                    fields[*known.get()] = field;
                }
                Entry::Vacant(new) => {
                    new.insert(fields.len());
                    fields.push(field);
                }
            }
            scanner.space();
            if scanner.eat(b'}') {
                break;
            }
            scanner.expect(b',', "`,` or `}` expected")?;
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
