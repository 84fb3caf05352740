//! Recognizes similar headers: most headers of a run differ from the previous one only in the digits of a few numbers.
//!
//! Such a header is not scanned and judged again. It equals the header scanned last, byte for byte, except for digits
//! where other digits change neither the JSON nor the protocol's answer. In every other case the header is scanned.
//! Pure; owns a copy of one header.

use std::ops::Range;

use super::{JsonError, Text, Value};

/// Reads the headers of one run; `T` is the protocol's answer for a header.
#[derive(Debug, Clone)]
pub struct Alike<T, const N: usize> {
    names: [&'static str; N],
    loose: &'static [&'static str],
    /// The header scanned last; at most [`LONGEST`] bytes.
    last: Vec<u8>,
    /// The same length: 0xFF where another digit makes no difference, otherwise 0.
    digits: Vec<u8>,
    /// The answer for `last`; `None` if no header is compared with it.
    answer: Option<T>,
    number: Option<i64>,
    /// Where the header's number is, if it may differ.
    number_at: Option<Range<usize>>,
}

/// For longer headers, the scan is cheap compared with their data.
const LONGEST: usize = 16 << 10;

impl<T: Copy, const N: usize> Alike<T, N> {
    /// For these fields; the first has the message's number. If a field in `loose` is a whole number, its digits do not
    /// affect the protocol's answer.
    #[must_use]
    pub fn new(names: [&'static str; N], loose: &'static [&'static str]) -> Self {
        let (last, digits) = (Vec::new(), Vec::new());
        Self { names, loose, last, digits, answer: None, number: None, number_at: None }
    }

    /// Returns the result of `judge` for the header's fields (as [`super::fields`] finds them), and the header's
    /// number.
    ///
    /// # Errors
    /// The errors of [`super::fields`], and of `judge`.
    pub fn read<'a, E: From<JsonError>>(
        &mut self,
        header: &'a [u8],
        judge: impl FnOnce([Option<Value<'a>>; N]) -> Result<T, E>,
    ) -> Result<(T, Option<i64>), E> {
        match self.answer {
            Some(answer) if self.is_like_last(header) => {
                let again = |at: Range<usize>| Value::Int(std::str::from_utf8(header.get(at)?).ok()?).to_i64();
                Ok((answer, self.number_at.clone().map_or(self.number, again)))
            }
            _ => self.scan(header, judge),
        }
    }

    fn scan<'a, E: From<JsonError>>(
        &mut self,
        header: &'a [u8],
        judge: impl FnOnce([Option<Value<'a>>; N]) -> Result<T, E>,
    ) -> Result<(T, Option<i64>), E> {
        let comparable = header.len() <= LONGEST;
        self.answer = None;
        self.number_at = None;
        self.digits.clear();
        self.digits.resize(if comparable { header.len() } else { 0 }, 0);
        let mut found = [None; N];
        super::each(header, |key: Text<'a>, value, at| {
            let place = self.names.iter().position(|name| key.is(name));
            if let Some(place) = place {
                found[place] = Some(value);
            }
            let (from, text) = match (value, place) {
                _ if !comparable => (at, ""),
                (Value::Int(text), Some(_)) if self.loose.iter().any(|name| key.is(name)) => (at, text),
                (Value::Int(text) | Value::Float(text), None) => (at, text),
                // Another digit inside an escape would change or break the character.
                (Value::Str(Text { raw, escaped: false }), None) => (at + 1, raw),
                _ => (at, ""),
            };
            let tail = text.bytes().enumerate().filter(|(_, byte)| byte.is_ascii_digit());
            // Not the first digit: a number must not begin with a zero.
            tail.skip(1).for_each(|(digit, _)| self.digits[from + digit] = 0xFF);
            if place == Some(0) {
                self.number_at = (!text.is_empty()).then_some(at..at + text.len());
            }
        })?;
        self.number = found.first().copied().flatten().and_then(Value::to_i64);
        let answer = judge(found)?;
        if comparable {
            self.last.clear();
            self.last.extend_from_slice(header);
            self.answer = Some(answer);
        }
        Ok((answer, self.number))
    }

    fn is_like_last(&self, header: &[u8]) -> bool {
        let word = |bytes: &[u8]| u64::from_ne_bytes(bytes.try_into().expect("a chunk has eight"));
        let slowly = |(new, (old, digits)): (&[u8], (&[u8], &[u8]))| {
            let mut bytes = new.iter().zip(old.iter().zip(digits));
            bytes.all(|(new, (old, digit))| new == old || (*digit != 0 && new.is_ascii_digit()))
        };
        let eight = |(new, (old, digits)): (&[u8], (&[u8], &[u8]))| {
            let differs = word(new) ^ word(old);
            differs == 0 || (differs & !word(digits) == 0 && slowly((new, (old, digits))))
        };
        let (new, old, digits) = (header.chunks_exact(8), self.last.chunks_exact(8), self.digits.chunks_exact(8));
        header.len() == self.last.len()
            && slowly((new.remainder(), (old.remainder(), digits.remainder())))
            && new.zip(old.zip(digits)).all(eight)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{Malformed, json};

    const NAMES: [&str; 3] = ["n", "a", "b"];

    /// An example of a protocol's answer that is the same for all numbers `n` and `a`.
    fn judge(fields: [Option<Value<'_>>; 3]) -> Result<(bool, bool, u64), Malformed> {
        let [n, a, b] = fields;
        let weight = |value: Value<'_>| match value {
            Value::Int(text) | Value::Float(text) => text.bytes().map(u64::from).sum(),
            value => value.text().map_or(7, |text| text.decode().bytes().map(u64::from).sum()),
        };
        if b.is_some_and(|b| b.is_str("3")) {
            return Err(Malformed::new("not 3"));
        }
        let int = |value: Option<Value<'_>>| value.is_some_and(Value::is_int);
        Ok((int(n), int(a), b.map_or(0, weight)))
    }

    /// Checks that each header gives the same answer as when it is read alone.
    fn same(headers: &[&str]) {
        let mut alike = Alike::new(NAMES, &["n", "a"]);
        for header in headers {
            let read = alike.read(header.as_bytes(), judge);
            let alone = json::fields(header.as_bytes(), &NAMES).map_err(Malformed::from);
            let alone = alone.and_then(|fields| Ok((judge(fields)?, fields[0].and_then(Value::to_i64))));
            assert_eq!(read, alone, "{header} in {headers:?}");
        }
    }

    /// Whether the second header is not scanned after the first.
    fn is_alike(one: &str, two: &str) -> bool {
        same(&[one, two, one]);
        let mut alike = Alike::new(NAMES, &["n", "a"]);
        alike.read(one.as_bytes(), judge).unwrap();
        alike.is_like_last(two.as_bytes())
    }

    #[test]
    fn other_digits_of_loose_numbers_and_of_fields_that_nobody_asked_for_are_not_scanned() {
        assert!(is_alike(r#"{"n": 105,"b":"x"}"#, r#"{"n": 124,"b":"x"}"#));
        assert!(is_alike(r#"{"x":-1.5e10,"n":10, "t":"2026-01-09"}"#, r#"{"x":-1.7e19,"n":19, "t":"2999-92-31"}"#));
        assert!(is_alike(r#"{"n":1234567,"n":12345678}"#, r#"{"n":1000000,"n":10000000}"#), "the last counts");
    }

    #[test]
    fn whatever_else_differs_is_scanned() {
        for (one, two) in [
            // Fields that are read, strings that may be numbers, keys, nested values.
            (r#"{"b":"12"}"#, r#"{"b":"13"}"#),
            (r#"{"b":12}"#, r#"{"b":13}"#),
            (r#"{"n":12.0}"#, r#"{"n":12.5}"#),
            (r#"{"n":"12"}"#, r#"{"n":"13"}"#),
            (r#"{"x12":1}"#, r#"{"x13":1}"#),
            (r#"{"x":[12]}"#, r#"{"x":[13]}"#),
            (r#"{"n":12,"b":"2"}"#, r#"{"n":12,"b":"3"}"#),
            // A number with a leading zero, half of a surrogate pair.
            (r#"{"n":12}"#, r#"{"n":02}"#),
            (r#"{"n":-12}"#, r#"{"n":-02}"#),
            (r#"{"x":"1\ud800\udc00"}"#, r#"{"x":"1\ud700\udc00"}"#),
            // A character that is no digit, another length, another end.
            (r#"{"n":12}"#, r#"{"n":1x}"#),
            (r#"{"n":12}"#, r#"{"n":1 }"#),
            (r#"{"n":12}"#, r#"{"n":1.5}"#),
            (r#"{"n":12}"#, r#"{"n":12]"#),
            (r#"{"n":12}"#, r#"{"n":12"#),
            (r#"{"n":12}"#, ""),
        ] {
            assert!(!is_alike(one, two), "{one} {two}");
        }
        // After a refused header, nothing is compared.
        same(&[r#"{"n":12,"b":"3"}"#, r#"{"n":13,"b":"3"}"#, r#"{"n":02}"#, r#"{"n":03}"#, "", ""]);
    }

    proptest! {
        #[test]
        fn any_header_after_any_other_is_what_it_would_be_alone(
            one in r#"\{("[abnx][12]?":("?-?[0-2]{1,2}([.e][01]{1,2})?"?|\[[01],[0-2]{2}\]|\{"n":1\}|"\\\\u[d0][0-9]00")[, ]){1,3}"x":0\}"#,
            changes in prop::collection::vec((any::<prop::sample::Index>(), "[0-9a ]"), 0..4),
        ) {
            let mut other = one.clone();
            for (place, with) in &changes {
                let at = place.index(other.len());
                other.replace_range(at..=at, with);
            }
            same(&[&one, &other, &one]);
        }
    }
}
