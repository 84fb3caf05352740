//! Descriptions of a source's run-time parameters, as plugins give them.

use framegate_plugin_api::ParameterType;
use serde::Deserialize;
use serde_json::{Value, json};

/// One run-time parameter of a source, as a plugin describes it. The name is the one within the source.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[non_exhaustive]
pub struct Parameter {
    /// Its name.
    pub name: String,
    /// One sentence for the person who sets it.
    pub description: String,
    /// The type of its value.
    pub dtype: ParameterType,
    /// The value until somebody sets another. A plugin may give a wrong one: see [`Parameter::default_of_type`].
    pub default: Value,
}

impl Parameter {
    /// The default, for `null` that of its type.
    ///
    /// # Errors
    /// It is not of the declared type.
    pub fn default_of_type(&self) -> Result<Value, String> {
        let default = &self.default;
        let nothing = default.is_null();
        Ok(match self.dtype {
            ParameterType::Str | ParameterType::Binary if nothing => json!(""),
            ParameterType::Str | ParameterType::Binary if default.is_string() => default.clone(),
            ParameterType::Int if nothing => json!(0),
            ParameterType::Int if default.is_i64() || default.is_u64() => default.clone(),
            ParameterType::Float if nothing => json!(0.0),
            ParameterType::Float if default.is_number() => default.as_f64().map_or(Value::Null, |number| json!(number)),
            ParameterType::Bool if nothing => json!(false),
            ParameterType::Bool if default.is_boolean() => default.clone(),
            dtype => return Err(format!("its default {default} is not of type {}", json!(dtype))),
        })
    }

    /// The required type, if a value has the wrong one. Texts are as a controller writes them: Python's `str()`.
    pub(crate) fn mismatch(&self, value: &str) -> Option<&'static str> {
        match self.dtype {
            ParameterType::Int if value.parse::<i128>().is_err() => Some("a whole number"),
            ParameterType::Float if value.parse::<f64>().is_err() => Some("a number"),
            ParameterType::Bool if !["true", "false"].contains(&value.to_lowercase().as_str()) => Some("true or false"),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_fits_a_parameter_as_a_controller_would_write_it() {
        for (dtype, good, bad) in [
            (ParameterType::Int, &["0", "-7", "18446744073709551615"][..], &["", "1.0", "abc", "0x10"][..]),
            (ParameterType::Float, &["2", "-1.5e3", "inf"], &["", "abc", "1,5"]),
            (ParameterType::Bool, &["True", "false"], &["", "1", "yes"]),
            (ParameterType::Str, &["", "abc"], &[]),
            (ParameterType::Binary, &["\u{0}"], &[]),
        ] {
            let (name, description) = (String::new(), String::new());
            let parameter = Parameter { name, description, dtype, default: Value::Null };
            good.iter().for_each(|value| assert_eq!(parameter.mismatch(value), None, "{dtype:?} {value:?}"));
            bad.iter().for_each(|value| assert!(parameter.mismatch(value).is_some(), "{dtype:?} {value:?}"));
        }
    }
}
