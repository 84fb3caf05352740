//! The parameters that the controller announces: which versions we have, and whom their values concern.

use std::{collections::BTreeMap, fmt::Write as _, sync::Arc};

use redis::RedisResult;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::{Link, keys};
use crate::{
    control::{Line, Stopped},
    ingester::command::Command,
};

/// The versions whose values were fetched.
#[derive(Debug, Default)]
pub(super) struct Parameters {
    versions: BTreeMap<String, Uuid>,
}

impl Parameters {
    /// Fetches what is new and hands it on. A value that is not there (yet) does not count as fetched.
    pub(super) async fn update(
        &mut self,
        announced: &BTreeMap<String, Uuid>,
        link: &mut Link,
        line: &Line,
    ) -> Result<(), Stopped> {
        for (name, version) in announced {
            if self.versions.get(name) == Some(version) {
                continue;
            }
            let key = keys::parameter(name, *version);
            let value: RedisResult<Option<Vec<u8>>> = redis::cmd("GET").arg(&key).query_async(link.get().await).await;
            match value {
                Ok(Some(value)) => {
                    tracing::info!(ingester = %line.name, parameter = name, bytes = value.len(), "a parameter is set");
                    self.versions.insert(name.clone(), *version);
                    hand_on(name, value, line).await?;
                }
                // The controller repeats its update until our hash is right.
                Ok(None) => {}
                Err(problem) => link.failed(&problem),
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

async fn hand_on(name: &str, value: Vec<u8>, line: &Line) -> Result<(), Stopped> {
    if name == "dump_prefix" {
        let prefix = String::from_utf8_lossy(&value).into_owned();
        line.commands.command(Command::DumpPrefix(prefix)).await?;
        return Ok(());
    }
    let value: Arc<[u8]> = value.into();
    for (stream, parameter) in &line.parameters {
        if published_name(stream, &parameter.name) == name {
            let (stream, name) = (stream.clone(), parameter.name.clone());
            line.commands.command(Command::SetParameter { stream, name, value: value.clone() }).await?;
        }
    }
    Ok(())
}

/// Names of parameters are global to a beamline: a source's own name is prefixed with its stream's.
pub(super) fn published_name(stream: &crate::names::StreamName, parameter: &str) -> String {
    format!("{stream}_{parameter}")
}
