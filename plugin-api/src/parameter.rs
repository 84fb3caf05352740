//! Descriptions of run-time parameters: values that people change between scans without a restart.

use serde::{Deserialize, Serialize, Serializer, ser::SerializeStruct as _};

/// The type of a parameter's value, with dranspose's names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ParameterType {
    /// UTF-8 text.
    Str,
    /// Raw bytes.
    Binary,
    /// A whole number, as text.
    Int,
    /// A number, as text.
    Float,
    /// `True` or `False`.
    Bool,
}

/// A parameter's value until somebody sets another; it decides the parameter's type.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum ParameterValue {
    /// UTF-8 text.
    Str(String),
    /// Raw bytes; the description can contain text only.
    Binary(String),
    /// A whole number.
    Int(i64),
    /// A number.
    Float(f64),
    /// True or false.
    Bool(bool),
}

/// One run-time parameter. The host publishes it as `{stream}_{name}`, because names are global to a beamline.
#[derive(Debug, Clone, PartialEq)]
pub struct Parameter {
    /// The name within the source.
    pub name: String,
    /// One sentence for the person who sets it.
    pub description: String,
    /// Its type, and its value until somebody sets another.
    pub default: ParameterValue,
}

impl Parameter {
    /// A parameter with this default.
    pub fn new(name: impl Into<String>, description: impl Into<String>, default: impl Into<ParameterValue>) -> Self {
        Self { name: name.into(), description: description.into(), default: default.into() }
    }

    /// The type of its value.
    #[must_use]
    pub fn dtype(&self) -> ParameterType {
        match self.default {
            ParameterValue::Str(_) => ParameterType::Str,
            ParameterValue::Binary(_) => ParameterType::Binary,
            ParameterValue::Int(_) => ParameterType::Int,
            ParameterValue::Float(_) => ParameterType::Float,
            ParameterValue::Bool(_) => ParameterType::Bool,
        }
    }
}

impl Serialize for Parameter {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut fields = serializer.serialize_struct("Parameter", 4)?;
        fields.serialize_field("name", &self.name)?;
        fields.serialize_field("description", &self.description)?;
        fields.serialize_field("dtype", &self.dtype())?;
        fields.serialize_field("default", &self.default)?;
        fields.end()
    }
}

impl From<&str> for ParameterValue {
    fn from(value: &str) -> Self {
        Self::Str(value.to_owned())
    }
}

impl From<i64> for ParameterValue {
    fn from(value: i64) -> Self {
        Self::Int(value)
    }
}

impl From<f64> for ParameterValue {
    fn from(value: f64) -> Self {
        Self::Float(value)
    }
}

impl From<bool> for ParameterValue {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_description_is_the_json_that_the_interface_asks_for() {
        let json =
            |default: ParameterValue| serde_json::to_string(&Parameter::new("p", "What it is", default)).unwrap();
        let expected = |dtype: &str, default: &str| {
            format!(r#"{{"name":"p","description":"What it is","dtype":"{dtype}","default":{default}}}"#)
        };
        assert_eq!(json(5.into()), expected("int", "5"));
        assert_eq!(json(2.0.into()), expected("float", "2.0"));
        assert_eq!(json(true.into()), expected("bool", "true"));
        assert_eq!(json("x".into()), expected("str", r#""x""#));
        assert_eq!(json(ParameterValue::Binary("AB".to_owned())), expected("binary", r#""AB""#));
    }
}
