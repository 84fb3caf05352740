//! Descriptions of a source's run-time parameters, as plugins give them.

use framegate_plugin_api::ParameterType;
use serde::Deserialize;
use serde_json::{Value, json};

/// One parameter. The name is the one within the source.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(crate) struct Parameter {
    pub(crate) name: String,
    /// One sentence for the person who sets it.
    pub(crate) description: String,
    pub(crate) dtype: ParameterType,
    /// The value until somebody sets another. A plugin may give a wrong one: see [`Parameter::default_of_type`].
    pub(crate) default: Value,
}

impl Parameter {
    /// The default, for `null` that of its type.
    ///
    /// # Errors
    /// It is not of the declared type.
    pub(crate) fn default_of_type(&self) -> Result<Value, String> {
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
}
