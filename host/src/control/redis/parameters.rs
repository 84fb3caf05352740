//! The controller's parameters: which versions we have, and which of our sources need their values; and the
//! descriptions of our sources' own parameters.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    sync::Arc,
};

use serde_json::json;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::{
    Context, keys,
    link::{Link, Unusable},
};
use crate::source::parameter::Parameter;
use crate::{
    control::{Stopped, report::FaultSubject},
    counter::Counter,
    ingester::command::Command,
    names::StreamName,
};

/// The versions of all fetched values.
#[derive(Debug, Default)]
pub(super) struct Parameters {
    versions: BTreeMap<String, Uuid>,
    /// Those whose values Redis denied to our user. The next update tries again.
    denied: BTreeSet<String>,
}

impl Parameters {
    /// Fetches new values that concern us, and forwards them. A missing value counts as not fetched. Values for others,
    /// such as a detector's mask for the workers, may be large, and are not fetched.
    pub(super) async fn update(
        &mut self,
        announced: &BTreeMap<String, Uuid>,
        link: &mut Link,
        context: &Context,
    ) -> Result<(), Stopped> {
        // Every update names all parameters; a parameter that a new controller does not know would keep the hash wrong for ever.
        self.versions.retain(|name, _| announced.contains_key(name));
        let mut is_denied = false;
        for (name, version) in announced {
            if !self.denied.remove(name) && self.versions.get(name) == Some(version) {
                continue;
            }
            if !is_ours(name, &context.ingester.streams) {
                self.versions.insert(name.clone(), *version);
                continue;
            }
            if is_denied {
                // One refusal is enough: each takes a while.
                self.versions.insert(name.clone(), *version);
                self.denied.insert(name.clone());
                continue;
            }
            let key = keys::parameter(name, *version);
            let subject = FaultSubject::Parameter(name.clone());
            let answer = loop {
                if let Some(answer) = link.ask_once::<Option<Vec<u8>>>(redis::cmd("GET").arg(&key)).await {
                    break answer;
                }
            };
            match answer {
                Ok(Some(value)) => {
                    tracing::info!(parameter = name, bytes = value.len(), "a parameter is set");
                    self.versions.insert(name.clone(), *version);
                    context.health.resolve(&subject);
                    hand_on(name, value, context).await?;
                }
                // As with a value that its source refuses: the scan can begin, with the old value.
                Err(problem @ Unusable::TooLarge(_)) => {
                    self.versions.insert(name.clone(), *version);
                    context.health.fault(subject, &format!("{key}: {problem}; the old value stays"));
                }
                // In this case too; status names the right.
                Err(Unusable::Denied) => {
                    is_denied = true;
                    self.versions.insert(name.clone(), *version);
                    self.denied.insert(name.clone());
                }
                // The controller writes the value again, and repeats its update until our hash is right.
                Ok(None) => context.health.complain(Counter::ParameterValuesMissing, &key),
                Err(problem) => context.health.complain(Counter::RedisKeysOfAnotherType, &format!("{key}: {problem}")),
            }
        }
        Ok(())
    }

    /// Hex SHA-256 over the versions' 16-byte uuids, sorted by name (dranspose 0.2.0, `helpers/utils.py`).
    pub(super) fn hash(&self) -> String {
        let mut hasher = Sha256::new();
        for version in self.versions.values() {
            hasher.update(version.as_bytes());
        }
        hasher.finalize().iter().fold(String::new(), |mut hex, byte| {
            write!(hex, "{byte:02x}").expect("writing to a String cannot fail");
            hex
        })
    }
}

/// Whether a parameter belongs to our streams' sources, or to the ingester itself.
fn is_ours(name: &str, streams: &[StreamName]) -> bool {
    name == DUMP_PREFIX || streams.iter().any(|stream| own_name(stream, name).is_some())
}

/// The parameter with the path of captures.
const DUMP_PREFIX: &str = "dump_prefix";

async fn hand_on(name: &str, value: Vec<u8>, context: &Context) -> Result<(), Stopped> {
    let commands = &context.ingester.commands;
    if name == DUMP_PREFIX {
        match String::from_utf8(value) {
            Ok(prefix) => commands.command(Command::DumpPrefix(prefix)).await?,
            Err(_) => {
                let subject = FaultSubject::Parameter(name.to_owned());
                context.health.fault(subject, "its value is not text; the old one stays");
            }
        }
        return Ok(());
    }
    let value: Arc<[u8]> = value.into();
    for stream in &context.ingester.streams {
        // Includes parameters that the source lacks: its replacement may have them.
        if let Some(name) = own_name(stream, name) {
            let name = name.to_owned();
            commands.command(Command::SetParameter { stream: stream.clone(), name, value: value.clone() }).await?;
        }
    }
    Ok(())
}

/// Parameter names are global to a beamline: the published name is the stream's name and the source's own name.
fn published_name(stream: &StreamName, parameter: &str) -> String {
    format!("{stream}_{parameter}")
}

/// The reverse of [`published_name`].
fn own_name<'a>(stream: &StreamName, published: &'a str) -> Option<&'a str> {
    published.strip_prefix(stream.as_str())?.strip_prefix('_')
}

/// A description in the form of the controller's model.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Description {
    pub(super) name: String,
    pub(super) json: String,
}

/// The descriptions of parameters, and the errors of descriptions that the controller could not read: one such
/// description would end its task that sets defaults, for the whole beamline.
pub(super) fn descriptions(parameters: &[(StreamName, Parameter)]) -> (Vec<Description>, Vec<String>) {
    let mut good = Vec::new();
    let mut wrong = Vec::new();
    for (stream, parameter) in parameters {
        match description(stream, parameter) {
            Ok(description) => good.push(description),
            Err(why) => wrong.push(why),
        }
    }
    (good, wrong)
}

fn description(stream: &StreamName, parameter: &Parameter) -> Result<Description, String> {
    let name = published_name(stream, &parameter.name);
    let default = parameter.default_of_type().map_err(|why| {
        format!(
            "parameter {name} is not published: {why}; this is a fault of the plugin of stream {stream}, which \
             `framegate plugin check` finds too"
        )
    })?;
    let dtype = parameter.dtype;
    let json = json!({"name": name, "description": parameter.description, "dtype": dtype, "default": default});
    Ok(Description { name, json: json.to_string() })
}

#[cfg(test)]
mod tests {
    use framegate_plugin_api::ParameterType;
    use serde_json::Value;

    use super::*;

    fn described(dtype: ParameterType, default: Value) -> Result<String, String> {
        let parameter = Parameter { name: "gain".to_owned(), description: "How much".to_owned(), dtype, default };
        description(&StreamName::new("eiger").unwrap(), &parameter).map(|description| description.json)
    }

    #[test]
    fn the_hash_of_the_reference_is_met() {
        // Expected value: parameters_hash of dranspose 0.2.0 on the same uuids.
        let uuid = |last: u8| Uuid::from_bytes([1, 1, 1, 1, 1, 1, 0x41, 1, 0x81, 1, 1, 1, 1, 1, 1, last]);
        let mut parameters = Parameters::default();
        assert_eq!(parameters.hash(), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
        parameters.versions = [("b", uuid(2)), ("a", uuid(1)), ("Z", uuid(3)), ("ä", uuid(4))]
            .map(|(name, version)| (name.to_owned(), version))
            .into();
        assert_eq!(parameters.hash(), EXPECTED_HASH);
    }

    const EXPECTED_HASH: &str = "ac77e9abf5d6e9f2046f7412df98a6913cd9c3b69f97b475d1b640709da00163";

    #[test]
    fn descriptions_have_the_fields_of_the_reference_in_its_order() {
        assert_eq!(
            described(ParameterType::Float, json!(5)).unwrap(),
            r#"{"name":"eiger_gain","description":"How much","dtype":"float","default":5.0}"#
        );
        assert!(described(ParameterType::Binary, Value::Null).unwrap().ends_with(r#""dtype":"binary","default":""}"#));
        assert!(described(ParameterType::Bool, json!(true)).unwrap().ends_with(r#""dtype":"bool","default":true}"#));
    }

    #[test]
    fn a_default_that_would_end_the_controllers_task_is_not_published() {
        for (dtype, default) in [
            (ParameterType::Int, json!(5.5)),
            (ParameterType::Int, json!("5")),
            (ParameterType::Str, json!(5)),
            (ParameterType::Bool, json!("True")),
            (ParameterType::Float, json!([])),
        ] {
            assert!(described(dtype, default).unwrap_err().contains("eiger_gain"));
        }
    }
}
