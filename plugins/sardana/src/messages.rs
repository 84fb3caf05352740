//! What Sardana posts: a JSON object; the path gives its kind.
//!
//! ```text
//! start   POST /v1/data_desc    {"serialno": 20338, "scandir": "/data/20230413", "title": "ascan m 0 1 2 0.1", …}
//! data    POST /v1/record_data  {"timestamp": 0.61, "point_nb": 8, "m": 0.5, …}
//! end     POST /v1/record_end   {…}
//! –       POST /v1/custom_data  {…}
//! ```
//!
//! Pure: bytes in, [`Packet`] out, rewritten as pydantic writes dranspose's models: `type` first, then the declared
//! fields, coerced, then the others in their order. Errors of all fields are reported at once.

use std::borrow::Cow;

use framegate_source_kit::json::{self, Value};

/// Kind of a post.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A scan starts: `serialno` int, `scandir` and `title` str.
    Description,
    /// A point was recorded: `timestamp` float.
    Record,
    /// The scan is over.
    End,
}

/// A valid post.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packet {
    /// The kind, from the path.
    pub kind: Kind,
    /// The JSON sent to the workers.
    pub json: Vec<u8>,
    /// A record's `point_nb`, if it fits into an `i64`.
    pub number: Option<i64>,
}

/// What is wrong with a body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The field; `None` for the whole body.
    pub field: Option<&'static str>,
    /// The description of the error.
    pub what: Cow<'static, str>,
}

/// The type of a declared field.
#[derive(Debug, Clone, Copy)]
enum Type {
    Int,
    Float,
    Text,
}

impl Kind {
    /// The value of `type`.
    fn name(self) -> &'static str {
        match self {
            Kind::Description => "DataDescription",
            Kind::Record => "RecordData",
            Kind::End => "RecordEnd",
        }
    }

    /// The required fields, in the order in which they are written.
    fn declared(self) -> &'static [(&'static str, Type)] {
        match self {
            Kind::Description => &[("serialno", Type::Int), ("scandir", Type::Text), ("title", Type::Text)],
            Kind::Record => &[("timestamp", Type::Float)],
            Kind::End => &[],
        }
    }
}

impl Packet {
    /// Reads a body.
    ///
    /// # Errors
    /// All errors in the body.
    pub fn read(kind: Kind, body: &[u8]) -> Result<Self, Vec<Problem>> {
        let fields = object(body).map_err(|problem| vec![problem])?;
        let field = |name: &str| fields.iter().find(|(key, _)| key == name).map(|(_, value)| *value);
        let mut problems = Vec::new();
        let mut json = Vec::with_capacity(body.len() + 32);
        json.extend_from_slice(b"{\"type\":");
        json::write_str(kind.name(), &mut json);
        if field("type").is_some_and(|value| !value.is_str(kind.name())) {
            problems
                .push(Problem { field: Some("type"), what: format!("must be {:?}, or absent", kind.name()).into() });
        }
        for (name, declared) in kind.declared() {
            write_key(name, &mut json);
            let written = field(name).ok_or("is required").and_then(|value| declared.write(value, &mut json));
            if let Err(what) = written {
                problems.push(Problem { field: Some(name), what: what.into() });
            }
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        for (key, value) in &fields {
            if key != "type" && kind.declared().iter().all(|(name, _)| key != name) {
                write_key(key, &mut json);
                value.write(&mut json);
            }
        }
        json.push(b'}');
        let number = field("point_nb").filter(|_| kind == Kind::Record).and_then(Value::to_i64);
        Ok(Self { kind, json, number })
    }
}

/// The fields of a body of any kind.
///
/// # Errors
/// The body is not a JSON object.
pub(crate) fn object(body: &[u8]) -> Result<Vec<(Cow<'_, str>, Value<'_>)>, Problem> {
    // Python's JSON reader allows a byte order mark.
    let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
    json::dictionary(body).map_err(|error| Problem { field: None, what: error.to_string().into() })
}

fn write_key(key: &str, json: &mut Vec<u8>) {
    json.push(b',');
    json::write_str(key, json);
    json.push(b':');
}

impl Type {
    /// Writes the value coerced to the field's type.
    fn write(self, value: Value<'_>, json: &mut Vec<u8>) -> Result<(), &'static str> {
        match self {
            Type::Int => json.extend_from_slice(value.to_int().ok_or("must be a whole number")?.as_bytes()),
            Type::Float => {
                let float = value.to_float().ok_or("must be a number")?;
                // Python does not convert a whole number to infinity.
                if matches!(value, Value::Int(_)) && float.is_infinite() {
                    return Err("must be a number that fits into 64 bit floating point");
                }
                json::write_float(float, json);
            }
            Type::Text => Value::Str(value.text().ok_or("must be a text")?).write(json),
        }
        Ok(())
    }
}
