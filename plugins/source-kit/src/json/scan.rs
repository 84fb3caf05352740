//! The single pass over the text: checks everything, keeps nothing.
//!
//! Pure. Tracks nesting with one bit for each level instead of recursion, so a hostile text cannot exhaust the stack.
//! `lax.rs` inspects the values found.

use super::{JsonError, Text, Value};

/// Accepted levels of nesting. An empty container does not count: pydantic's parser checks the limit when it enters the
/// first element.
const MAX_DEPTH: usize = 200;

/// Maximum digits before the point that Python converts.
const MAX_DIGITS: usize = 4300;

/// A position in a text.
pub(super) struct Scanner<'a> {
    text: &'a str,
    /// Invariant: on a character boundary whenever a method returns `Ok`.
    at: usize,
}

impl<'a> Scanner<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { text, at: 0 }
    }

    pub(super) fn at(&self) -> usize {
        self.at
    }

    pub(super) fn error(&self, reason: &'static str) -> JsonError {
        JsonError { reason, at: self.at }
    }

    pub(super) fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    /// Skips white space.
    pub(super) fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\n' | b'\t' | b'\r')) {
            self.at += 1;
        }
    }

    /// Reads the object that begins here, inside `depth` containers: each key, its value, and the value's position.
    pub(super) fn object(
        &mut self,
        depth: usize,
        take: &mut impl FnMut(Text<'a>, Value<'a>, usize),
    ) -> Result<(), JsonError> {
        self.expect(b'{', "`{` expected")?;
        self.space();
        if self.eat(b'}') {
            return Ok(());
        }
        loop {
            let key = self.key()?;
            self.space();
            let at = self.at;
            let value = self.value(depth + 1)?;
            take(key, value, at);
            self.space();
            if self.eat(b'}') {
                return Ok(());
            }
            self.expect(b',', "`,` or `}` expected")?;
        }
    }

    /// Reads the array that begins here, inside `depth` containers.
    pub(super) fn array(&mut self, depth: usize, take: &mut impl FnMut(Value<'a>)) -> Result<(), JsonError> {
        self.expect(b'[', "`[` expected")?;
        self.space();
        if self.eat(b']') {
            return Ok(());
        }
        loop {
            let value = self.value(depth + 1)?;
            take(value);
            self.space();
            if self.eat(b']') {
                return Ok(());
            }
            self.expect(b',', "`,` or `]` expected")?;
        }
    }

    /// Reads the value that begins here, inside `depth` containers.
    fn value(&mut self, depth: usize) -> Result<Value<'a>, JsonError> {
        self.space();
        let from = self.at;
        match self.peek() {
            Some(b'[') => {
                self.skip(depth)?;
                Ok(Value::Array(&self.text[from..self.at]))
            }
            Some(b'{') => {
                self.skip(depth)?;
                Ok(Value::Object(&self.text[from..self.at]))
            }
            _ => self.scalar(),
        }
    }

    /// Skips a value of any nesting.
    fn skip(&mut self, outer: usize) -> Result<(), JsonError> {
        let mut objects = Levels::default();
        let mut depth = outer;
        loop {
            // A value begins here.
            self.space();
            match self.peek() {
                Some(open @ (b'{' | b'[')) => {
                    self.at += 1;
                    self.space();
                    let is_object = open == b'{';
                    if !self.eat(if is_object { b'}' } else { b']' }) {
                        depth += 1;
                        if depth > MAX_DEPTH {
                            return Err(self.error("nested more than 200 deep"));
                        }
                        objects.set(depth, is_object);
                        if is_object {
                            self.key()?;
                        }
                        continue;
                    }
                }
                _ => {
                    self.scalar()?;
                }
            }
            // A value has ended; the containers around it may end too.
            loop {
                if depth == outer {
                    return Ok(());
                }
                let is_object = objects.get(depth);
                self.space();
                if self.eat(b',') {
                    if is_object {
                        self.key()?;
                    }
                    break;
                }
                self.expect(if is_object { b'}' } else { b']' }, "`,` or a closing bracket expected")?;
                depth -= 1;
            }
        }
    }

    pub(super) fn key(&mut self) -> Result<Text<'a>, JsonError> {
        self.space();
        let key = self.string()?;
        self.space();
        self.expect(b':', "`:` expected")?;
        Ok(key)
    }

    pub(super) fn scalar(&mut self) -> Result<Value<'a>, JsonError> {
        match self.peek() {
            Some(b'"') => Ok(Value::Str(self.string()?)),
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(b't') => self.word("true", Value::Bool(true)),
            Some(b'f') => self.word("false", Value::Bool(false)),
            Some(b'n') => self.word("null", Value::Null),
            Some(b'N') => self.word("NaN", Value::Float("NaN")),
            Some(b'I') => self.word("Infinity", Value::Float("Infinity")),
            Some(_) => Err(self.error("a value expected")),
            None => Err(self.error("the text ends too early")),
        }
    }

    fn word(&mut self, word: &str, value: Value<'a>) -> Result<Value<'a>, JsonError> {
        if self.text.as_bytes()[self.at..].starts_with(word.as_bytes()) {
            self.at += word.len();
            Ok(value)
        } else {
            Err(self.error("an unknown word"))
        }
    }

    fn number(&mut self) -> Result<Value<'a>, JsonError> {
        let from = self.at;
        if self.eat(b'-') && self.peek() == Some(b'I') {
            return self.word("Infinity", Value::Float("-Infinity"));
        }
        let leading_zero = self.peek() == Some(b'0');
        let digits = self.digits()?;
        if leading_zero && digits > 1 {
            return Err(self.error("a number with a leading zero"));
        }
        if digits > MAX_DIGITS {
            return Err(self.error("a number of more than 4300 digits"));
        }
        let mut whole = true;
        if self.eat(b'.') {
            whole = false;
            self.digits()?;
        }
        if self.eat(b'e') || self.eat(b'E') {
            whole = false;
            let _ = self.eat(b'+') || self.eat(b'-');
            self.digits()?;
        }
        let text = &self.text[from..self.at];
        Ok(if whole { Value::Int(text) } else { Value::Float(text) })
    }

    /// Skips at least one digit; returns the number of digits.
    fn digits(&mut self) -> Result<usize, JsonError> {
        let from = self.at;
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        if self.at == from { Err(self.error("a digit expected")) } else { Ok(self.at - from) }
    }

    fn string(&mut self) -> Result<Text<'a>, JsonError> {
        self.expect(b'"', "a string expected")?;
        let from = self.at;
        let mut escaped = false;
        loop {
            self.at += plain_bytes(&self.text.as_bytes()[self.at..]);
            match self.peek() {
                Some(b'"') => {
                    let raw = &self.text[from..self.at];
                    self.at += 1;
                    return Ok(Text { raw, escaped });
                }
                Some(b'\\') => {
                    escaped = true;
                    self.escape()?;
                }
                Some(0..=0x1F) => return Err(self.error("a control character in a string")),
                Some(_) => self.at += 1,
                None => return Err(self.error("the text ends too early")),
            }
        }
    }

    fn escape(&mut self) -> Result<(), JsonError> {
        self.at += 1;
        match self.peek() {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => {
                self.at += 1;
                Ok(())
            }
            Some(b'u') => {
                self.at += 1;
                match self.hex()? {
                    0xD800..=0xDBFF => {
                        if !(self.eat(b'\\') && self.eat(b'u') && matches!(self.hex()?, 0xDC00..=0xDFFF)) {
                            return Err(self.error("a lone surrogate"));
                        }
                        Ok(())
                    }
                    0xDC00..=0xDFFF => Err(self.error("a lone surrogate")),
                    _ => Ok(()),
                }
            }
            _ => Err(self.error("an unknown escape")),
        }
    }

    fn hex(&mut self) -> Result<u32, JsonError> {
        let digits = self.text.as_bytes().get(self.at..self.at + 4).ok_or(self.error("the text ends too early"))?;
        let mut code = 0;
        for digit in digits {
            let digit = char::from(*digit).to_digit(16).ok_or(self.error("four hexadecimal digits expected"))?;
            code = code * 16 + digit;
        }
        self.at += 4;
        Ok(code)
    }

    pub(super) fn eat(&mut self, byte: u8) -> bool {
        let there = self.peek() == Some(byte);
        self.at += usize::from(there);
        there
    }

    pub(super) fn expect(&mut self, byte: u8, otherwise: &'static str) -> Result<(), JsonError> {
        if self.eat(byte) { Ok(()) } else { Err(self.error(otherwise)) }
    }
}

/// How many bytes at the beginning are certainly inside a string: neither quote, backslash nor control character.
///
/// Eight at a time (long headers: 0.3 instead of 1.2 ns a byte); it may stop early, never late.
fn plain_bytes(bytes: &[u8]) -> usize {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGHS: u64 = 0x8080_8080_8080_8080;
    // The high bit is set for each byte less than `limit` (up to 128). It may be set for other bytes too, but only
    // above such a byte.
    let below = |word: u64, limit: u64| word.wrapping_sub(ONES * limit) & !word & HIGHS;
    let mut at = 0;
    while let Some(eight) = bytes.get(at..at + 8).and_then(|eight| <[u8; 8]>::try_from(eight).ok()) {
        let word = u64::from_le_bytes(eight);
        let special =
            below(word, 0x20) | below(word ^ (ONES * u64::from(b'"')), 1) | below(word ^ (ONES * u64::from(b'\\')), 1);
        if special != 0 {
            return at + special.trailing_zeros() as usize / 8;
        }
        at += 8;
    }
    at
}

/// Resolves the escapes of a checked string.
pub(super) fn unescape(raw: &str) -> String {
    let mut out = String::with_capacity(raw.len());
    let mut rest = raw;
    while let Some(place) = rest.find('\\') {
        out.push_str(&rest[..place]);
        let escape = rest.as_bytes().get(place + 1).copied().unwrap_or(b'\\');
        let mut length = 2;
        match escape {
            b'b' => out.push('\u{8}'),
            b'f' => out.push('\u{c}'),
            b'n' => out.push('\n'),
            b'r' => out.push('\r'),
            b't' => out.push('\t'),
            b'u' => {
                let unit = |at: usize| rest.get(at..at + 4).and_then(|hex| u32::from_str_radix(hex, 16).ok());
                let first = unit(place + 2).unwrap_or(0xFFFD);
                length = 6;
                let code = match (first, unit(place + 8)) {
                    (0xD800..=0xDBFF, Some(second @ 0xDC00..=0xDFFF)) => {
                        length = 12;
                        0x10000 + ((first - 0xD800) << 10) + (second - 0xDC00)
                    }
                    _ => first,
                };
                out.push(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER));
            }
            itself => out.push(char::from(itself)),
        }
        rest = rest.get(place + length..).unwrap_or("");
    }
    out.push_str(rest);
    out
}

/// One bit for each level of nesting: whether it is an object.
#[derive(Default)]
struct Levels([u64; MAX_DEPTH / 64 + 1]);

impl Levels {
    fn set(&mut self, level: usize, is_object: bool) {
        let bit = 1 << (level % 64);
        if is_object {
            self.0[level / 64] |= bit;
        } else {
            self.0[level / 64] &= !bit;
        }
    }

    fn get(&self, level: usize) -> bool {
        self.0[level / 64] & (1 << (level % 64)) != 0
    }
}
