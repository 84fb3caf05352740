//! Descriptions of run-time parameters: values that people change between scans without a restart.

use serde::{Deserialize, Serialize};

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

/// One run-time parameter. The host publishes it as `{stream}_{name}`, because names are global to a beamline.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Parameter {
    /// The name within the source.
    pub name: String,
    /// One sentence for the person who sets it.
    pub description: String,
    /// The type of its value.
    pub dtype: ParameterType,
    /// The value until somebody sets another; JSON of the right type.
    pub default: serde_json::Value,
}
