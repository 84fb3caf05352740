//! The coercions of pydantic 2.14 in lax mode.
//!
//! Pure; allocates only where a value must be rewritten.

use std::borrow::Cow;

use super::{Text, Value};

/// Maximum digits that Python converts from a string, without leading zeros.
const MAX_DIGITS: usize = 4300;

impl<'a> Value<'a> {
    /// Whether an `int` field accepts this value: `5`, `5.0`, `"5"`, `"5.0"`, `" 5 "`, `"1_000"`, `true`; not `5.5`.
    #[must_use]
    pub fn is_int(self) -> bool {
        matches!(self, Value::Int(_) | Value::Bool(_)) || self.to_int().is_some()
    }

    /// The value of an `int` field, as Python would print it; `None` if the field does not accept it.
    #[must_use]
    pub fn to_int(self) -> Option<Cow<'a, str>> {
        match self {
            Value::Int("-0") => Some("0".into()),
            Value::Int(text) => Some(text.into()),
            Value::Bool(value) => Some(if value { "1" } else { "0" }.into()),
            Value::Float(text) => whole(text.parse().ok()?).map(|int| int.to_string().into()),
            Value::Str(text) => int_of_text(&text.decode()).map(Cow::Owned),
            Value::Null | Value::Array(_) | Value::Object(_) => None,
        }
    }

    /// The value of an `int` field, if it fits.
    #[must_use]
    pub fn to_i64(self) -> Option<i64> {
        self.to_int()?.parse().ok()
    }

    /// The value of a `float` field: numbers, numeric strings and booleans; `None` if the field does not accept it.
    #[must_use]
    pub fn to_float(self) -> Option<f64> {
        match self {
            // An integer zero has no sign.
            Value::Int("-0") => Some(0.0),
            Value::Int(text) | Value::Float(text) => text.parse().ok(),
            Value::Bool(value) => Some(f64::from(u8::from(value))),
            Value::Str(text) => float_of_text(&text.decode()),
            Value::Null | Value::Array(_) | Value::Object(_) => None,
        }
    }

    /// The value of a `str` field: strings only.
    #[must_use]
    pub fn text(self) -> Option<Text<'a>> {
        if let Value::Str(text) = self { Some(text) } else { None }
    }

    /// Whether a `Literal` of this string accepts the value.
    #[must_use]
    pub fn is_str(self, literal: &str) -> bool {
        self.text().is_some_and(|text| text.is(literal))
    }

    /// Whether a `Literal` of this integer accepts the value, compared as Python compares: `1` is also `1.0` and
    /// `true`.
    #[must_use]
    pub fn is_number(self, literal: i32) -> bool {
        match self {
            Value::Bool(value) => i32::from(value) == literal,
            Value::Int(text) => text.parse() == Ok(literal),
            Value::Float(text) => text.parse() == Ok(f64::from(literal)),
            _ => false,
        }
    }
}

/// Whether an `int` field accepts this text.
#[must_use]
pub fn is_int_text(text: &str) -> bool {
    int_of_text(text).is_some()
}

/// Whether a `float` field accepts this text.
#[must_use]
pub fn is_float_text(text: &str) -> bool {
    float_of_text(text).is_some()
}

/// Whether an `int` field accepts this float: it has no fraction and is in the 64-bit range.
#[must_use]
pub fn is_int_float(float: f64) -> bool {
    whole(float).is_some()
}

/// The float as an integer, if it has no fraction and is in the range that pydantic accepts.
fn whole(float: f64) -> Option<i64> {
    /// 2⁶³, exact as a float.
    const LIMIT: f64 = 9_223_372_036_854_775_808.0;
    (float.fract() == 0.0 && -LIMIT < float && float < LIMIT).then_some(float as i64)
}

/// `" +1_000.00 "` → `"1000"`.
fn int_of_text(text: &str) -> Option<String> {
    let text = text.trim();
    let (negative, digits) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let digits = match digits.split_once('.') {
        Some((digits, zeros)) if !zeros.is_empty() && zeros.bytes().all(|byte| byte == b'0') => digits,
        Some(_) => return None,
        None => digits,
    };
    // Leading zeros are removed first, together with underscores between and after them; a minus may follow ("0-1" is
    // -1). This is an accident of the reference, and a message that the reference accepts must not be lost.
    let significant = if digits.starts_with('0') { digits.trim_start_matches(['0', '_']) } else { digits };
    if significant.is_empty() {
        return digits.ends_with('0').then(|| "0".into());
    }
    let plain = without_underscores(significant)?;
    let (negative, plain) = match plain.strip_prefix('-') {
        Some(rest) if significant.len() < digits.len() && !negative && (rest == "0" || !rest.starts_with('0')) => {
            (true, rest)
        }
        _ => (negative, &*plain),
    };
    if plain.is_empty() || plain.len() > MAX_DIGITS || !plain.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    Some(format!("{}{plain}", if negative && plain != "0" { "-" } else { "" }))
}

/// The value of a `float` field from a text; `None` if the field does not accept it. Surrounding space is allowed, and
/// so are underscores, but not both.
#[must_use]
pub fn float_of_text(text: &str) -> Option<f64> {
    text.trim().parse().ok().or_else(|| without_underscores(text)?.parse().ok())
}

/// Removes single underscores between other characters, as in Python's own literals.
fn without_underscores(text: &str) -> Option<Cow<'_, str>> {
    if !text.contains('_') {
        return Some(text.into());
    }
    let wrong = text.starts_with('_') || text.ends_with('_') || text.contains("__");
    (!wrong).then(|| text.replace('_', "").into())
}
