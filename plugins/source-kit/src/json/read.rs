//! Reads a text with jiter, the parser of pydantic: it decides what is JSON and where each value ends.
//!
//! Pure, and without recursion. `lax.rs` inspects the values found.

use jiter::{Jiter, JiterError, JiterErrorType, JiterResult, JsonErrorType, Peek};

use super::{JsonError, Text, Value};

/// The levels of nesting that jiter accepts. An empty container does not count: jiter checks the limit when it enters
/// the first element.
const MAX_DEPTH: usize = 200;

/// A position in a text.
pub(super) struct Reader<'a> {
    text: &'a str,
    /// Whether a string in the text may have escapes.
    escapes: bool,
    jiter: Jiter<'a>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { text, escapes: has_escapes(text), jiter: Jiter::new(text.as_bytes()).with_allow_inf_nan() }
    }

    /// Checks that the text begins with an object, and that its nesting is accepted.
    ///
    /// jiter counts levels from the value that it skips, pydantic from the outermost object. Only a text with that many
    /// brackets can make a difference, and such a text is skipped as a whole first.
    pub(super) fn begin(&mut self) -> Result<(), JsonError> {
        if self.jiter.peek() != Ok(Peek::Object) {
            // It is not an object; other errors make no difference.
            return Err(JsonError { reason: "not a JSON object", at: self.at() });
        }
        let opens = |text: &str| text.bytes().filter(|byte| matches!(byte, b'[' | b'{')).count();
        if self.text.len() > 2 * MAX_DEPTH && opens(self.text) >= MAX_DEPTH {
            self.jiter.clone().next_skip()?;
        }
        Ok(())
    }

    /// Checks that nothing but white space is left.
    pub(super) fn finish(&mut self) -> JiterResult<()> {
        self.jiter.finish()
    }

    /// Where the next byte is read; after [`Self::peek`], where the next value begins.
    pub(super) fn at(&self) -> usize {
        self.jiter.current_index()
    }

    /// The kind of the next value.
    pub(super) fn peek(&mut self) -> JiterResult<Peek> {
        self.jiter.peek()
    }

    /// Enters an object: its first key, if it has any.
    pub(super) fn first_key(&mut self) -> JiterResult<Option<Text<'a>>> {
        let from = self.at();
        let length = self.jiter.next_object_bytes()?.map(<[u8]>::len);
        Ok(length.map(|length| self.key(from, length)))
    }

    /// The next key of the object, after the value of the key before; `None` at its end.
    pub(super) fn next_key(&mut self) -> JiterResult<Option<Text<'a>>> {
        let from = self.at();
        let length = self.jiter.next_key_bytes()?.map(<[u8]>::len);
        Ok(length.map(|length| self.key(from, length)))
    }

    /// Enters an array: the kind of its first element, if it has any.
    pub(super) fn first_item(&mut self) -> JiterResult<Option<Peek>> {
        self.jiter.next_array()
    }

    /// The kind of the array's next element, after the element before; `None` at its end.
    pub(super) fn next_item(&mut self) -> JiterResult<Option<Peek>> {
        self.jiter.array_step()
    }

    /// Reads the value of this kind that begins here. Strings and numbers are most values, and are not skipped but read:
    /// that is faster.
    pub(super) fn value(&mut self, kind: Peek) -> JiterResult<Value<'a>> {
        let from = self.at();
        if kind == Peek::String {
            let length = self.jiter.known_bytes()?.len();
            return Ok(Value::Str(self.string(&self.text[from + 1..from + 1 + length])));
        }
        if kind.is_num() {
            let length = self.jiter.known_number_bytes(kind)?.len();
            let raw = &self.text[from..from + length];
            let whole = raw.bytes().all(|byte| matches!(byte, b'-' | b'0'..=b'9'));
            return Ok(if whole { Value::Int(raw) } else { Value::Float(raw) });
        }
        self.jiter.known_skip(kind)?;
        let raw = &self.text[from..self.at()];
        Ok(match kind {
            Peek::Array => Value::Array(raw),
            Peek::Object => Value::Object(raw),
            Peek::True => Value::Bool(true),
            Peek::False => Value::Bool(false),
            _ => Value::Null,
        })
    }

    /// The key of this length that was read from here.
    fn key(&self, from: usize, length: usize) -> Text<'a> {
        // Before its quote there is white space, and a comma or a brace.
        let before = self.text.as_bytes()[from..].iter().take_while(|byte| **byte != b'"').count();
        let from = from + before + 1;
        self.string(&self.text[from..from + length])
    }

    fn string(&self, raw: &'a str) -> Text<'a> {
        Text { raw, escaped: self.escapes && has_escapes(raw) }
    }
}

fn has_escapes(text: &str) -> bool {
    text.as_bytes().contains(&b'\\')
}

/// Resolves the escapes of a checked string.
pub(super) fn unescape(raw: &str) -> String {
    let quoted = format!("\"{raw}\"");
    let mut jiter = Jiter::new(quoted.as_bytes());
    // The string was checked when it was found, so there can be no error.
    jiter.next_str().map(str::to_owned).unwrap_or_default()
}

impl From<JiterError> for JsonError {
    fn from(error: JiterError) -> Self {
        use JsonErrorType as Kind;

        let reason = match error.error_type {
            JiterErrorType::JsonError(kind) => match kind {
                Kind::EofWhileParsingList
                | Kind::EofWhileParsingObject
                | Kind::EofWhileParsingString
                | Kind::EofWhileParsingValue => "the text ends too early",
                Kind::ExpectedColon => "`:` expected",
                Kind::ExpectedListCommaOrEnd => "`,` or `]` expected",
                Kind::ExpectedObjectCommaOrEnd => "`,` or `}` expected",
                Kind::ExpectedSomeIdent => "an unknown word",
                Kind::ExpectedSomeValue => "a value expected",
                Kind::InvalidEscape => "an unknown escape",
                Kind::InvalidNumber => "a wrong number",
                Kind::NumberOutOfRange => "a number of more than 4300 digits",
                Kind::ControlCharacterWhileParsingString => "a control character in a string",
                Kind::KeyMustBeAString => "a string expected",
                Kind::LoneLeadingSurrogateInHexEscape | Kind::UnexpectedEndOfHexEscape => "a lone surrogate",
                Kind::TrailingComma => "a comma before a closing bracket",
                Kind::TrailingCharacters => "text after the JSON object",
                Kind::RecursionLimitExceeded => "nested more than 200 deep",
                _ => "not JSON",
            },
            JiterErrorType::WrongType { .. } => "not JSON",
        };
        Self { reason, at: error.index }
    }
}
