//! Messages that look alike: most headers of a run differ from the one before in the digits of a number or two.
//!
//! Such a header is not scanned again. Byte for byte it is the last one that was, but for digits in the place of digits, so
//! that all rules of the text hold as they did, and its fields begin where those began. Whatever is not so sure is
//! scanned. Pure; owns a copy of one header.

use super::{JsonError, Text, Value, scan::Scanner};

/// [`super::fields`] for the messages of one run.
#[derive(Debug, Clone)]
pub struct Fields<const N: usize> {
    names: [&'static str; N],
    /// The header that was scanned last, if others may be compared with it. No longer than [`LONGEST`].
    last: Vec<u8>,
    /// Where the values of its fields begin.
    begin: [Option<usize>; N],
}

/// Of a longer header the scan costs little beside what it comes with.
const LONGEST: usize = 16 << 10;

impl<const N: usize> Fields<N> {
    /// For the fields of these names.
    #[must_use]
    pub fn new(names: [&'static str; N]) -> Self {
        Self { names, last: Vec::new(), begin: [None; N] }
    }

    /// What [`super::fields`] finds.
    ///
    /// # Errors
    /// As there.
    pub fn find<'a>(&mut self, document: &'a [u8]) -> Result<[Option<Value<'a>>; N], JsonError> {
        match std::str::from_utf8(document) {
            Ok(text) if is_like(document, &self.last) => {
                Ok(self.begin.map(|begin| Scanner::from(text, begin?).value(1).ok()))
            }
            _ => self.scan(document),
        }
    }

    fn scan<'a>(&mut self, document: &'a [u8]) -> Result<[Option<Value<'a>>; N], JsonError> {
        let (mut found, mut begin) = ([None; N], [None; N]);
        // Digits in a key: with other digits it would be another key. Digits behind a backslash: another character, or none.
        let mut comparable = document.len() <= LONGEST && !document.contains(&b'\\');
        self.last.clear();
        super::each(document, |key: Text<'a>, value, at| {
            comparable &= !key.raw.bytes().any(|byte| byte.is_ascii_digit());
            if let Some(place) = self.names.iter().position(|name| key.is(name)) {
                found[place] = Some(value);
                begin[place] = Some(at);
            }
        })?;
        if comparable {
            self.last.extend_from_slice(document);
            self.begin = begin;
        }
        Ok(found)
    }
}

/// Whether `new` is `old` but for digits, and no number in it begins with a zero that did not.
fn is_like(new: &[u8], old: &[u8]) -> bool {
    let word = |bytes: &[u8]| u64::from_ne_bytes(bytes.try_into().expect("a chunk has eight"));
    let digits = |from: usize, to: usize| {
        (from..to).all(|at| {
            let leads = || !matches!(at.checked_sub(1).map(|before| new[before]), Some(b'0'..=b'9' | b'.'));
            new[at] == old[at]
                || (new[at].is_ascii_digit() && old[at].is_ascii_digit() && !(new[at] == b'0' && leads()))
        })
    };
    let whole = new.len() & !7;
    let mut eights = new.chunks_exact(8).zip(old.chunks_exact(8)).enumerate();
    !old.is_empty()
        && new.len() == old.len()
        && eights.all(|(at, (new, old))| word(new) == word(old) || digits(at * 8, at * 8 + 8))
        && digits(whole, new.len())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::json;

    const NAMES: [&str; 3] = ["a", "b", "n1"];

    /// Each document after the one before it: found as if it came alone.
    fn same(documents: &[&str]) {
        let mut fields = Fields::new(NAMES);
        for document in documents {
            let (found, alone) = (fields.find(document.as_bytes()), json::fields(document.as_bytes(), &NAMES));
            assert_eq!(found, alone, "{document} in {documents:?}");
        }
    }

    #[test]
    fn other_digits_are_found_where_the_last_were() {
        same(&[
            r#"{"a": 105, "x": [1.0, 2e5, "t0"], "b":"2026-01-09"}"#,
            r#"{"a": 200, "x": [9.7, 3e9, "t7"], "b":"1999-12-31"}"#,
        ]);
        let mut fields = Fields::new(NAMES);
        let [one, two] = [r#"{"a":19,"b":{"a":1},"a":23}"#, r#"{"a":40,"b":{"a":7},"a":51}"#];
        fields.find(one.as_bytes()).unwrap();
        assert!(is_like(two.as_bytes(), &fields.last), "it is not scanned");
        assert_eq!(fields.find(two.as_bytes()).unwrap()[0], Some(Value::Int("51")), "the last of a name counts");
    }

    #[test]
    fn what_other_digits_can_break_is_scanned() {
        // A number with a leading zero, also behind a sign and in an exponent.
        same(&[r#"{"a":12}"#, r#"{"a":02}"#, r#"{"a":12}"#]);
        same(&[r#"{"a":-12}"#, r#"{"a":-02}"#]);
        same(&[r#"{"x":[1,12]}"#, r#"{"x":[1,02]}"#]);
        same(&[r#"{"a":1e15}"#, r#"{"a":1e05}"#]);
        // Another key.
        same(&[r#"{"n2":1}"#, r#"{"n1":1}"#, r#"{"n3":1}"#]);
        same(&[r#"{"b":{"n2":1,"n1":1}}"#, r#"{"b":{"n1":1,"n1":1}}"#]);
        // Half of a surrogate pair.
        same(&[r#"{"a":"\ud800\udc00"}"#, r#"{"a":"\ud700\udc00"}"#]);
        // Another length, another end, nothing.
        same(&[r#"{"a":1}"#, r#"{"a":12}"#, r#"{"a":1"#, r#"{"a":1]"#, "", r#"{"a":1}"#]);
        // No JSON before, none now.
        same(&[r#"{"a":01}"#, r#"{"a":02}"#, r#"{"a":12}"#, "[1]", "[2]"]);
        same(&["{\"a\":\"1\u{e9}\"}", "{\"a\":\"2\u{e9}\"}"]);
    }

    proptest! {
        #[test]
        fn any_text_after_any_other_is_found_as_if_it_came_alone(
            one in r#"\{("[abnx][12]?":("?-?[0-2]{1,2}([.e][01]{1,2})?"?|\[[01],[0-2]{2}\]|\{"n1":1\}|"\\\\u[d0][0-9]00")[, ]){1,3}"x":0\}"#,
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

    #[test]
    fn bytes_that_are_no_text_are_refused_after_one_that_was_like_them() {
        let mut fields = Fields::new(NAMES);
        fields.find(b"{\"a\":\"1\"}").unwrap();
        assert_eq!(
            fields.find(b"{\"a\":\"\xff\"}").map_err(|error| error.to_string()),
            Err("not UTF-8 at byte 6".to_owned())
        );
    }
}
