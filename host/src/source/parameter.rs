//! Descriptions of a source's run-time parameters, as plugins give them.

use framegate_plugin_api::ParameterType;
use serde::Deserialize;
use serde_json::Value;

/// One parameter. The name is the one within the source.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(crate) struct Parameter {
    pub(crate) name: String,
    /// One sentence for the person who sets it.
    pub(crate) description: String,
    pub(crate) dtype: ParameterType,
    /// The value until somebody sets another. A plugin may give a wrong one: it is checked before it is published.
    pub(crate) default: Value,
}
