//! All messages except assignments: the parser is as lenient as the controller may write them, the output as strict as
//! the controller's models demand.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize, de::Error as _};
use uuid::{Uuid, Variant};

use super::build::BuildMeta;
use crate::{
    control::IngesterHandle,
    ingester::report::{Report, WorkerReport},
    names::StreamName,
};

/// The controller's update (`ControllerUpdate`).
#[derive(Debug, Clone, Deserialize, PartialEq)]
pub(super) struct ControllerUpdate {
    #[serde(deserialize_with = "uuid4")]
    pub(super) mapping_uuid: Uuid,
    /// All parameters, with their current versions.
    pub(super) parameters_version: BTreeMap<String, Uuid>,
    #[serde(default)]
    pub(super) active_streams: Vec<String>,
    #[serde(default)]
    pub(super) finished: bool,
}

/// We publish the mapping's uuid again, and the peer's model accepts only version 4 there.
fn uuid4<'de, D: Deserializer<'de>>(from: D) -> Result<Uuid, D::Error> {
    let uuid = Uuid::deserialize(from)?;
    if uuid.get_version_num() == 4 && uuid.get_variant() == Variant::RFC4122 {
        Ok(uuid)
    } else {
        Err(D::Error::custom(format!("{uuid} is not a version 4 uuid")))
    }
}

/// An ingester's state (dranspose's `IngesterState`). One invalid field ends the connection task of every Python worker, so all
/// fields are typed.
#[derive(Debug, Serialize)]
pub(super) struct PublishedState<'a> {
    service_uuid: Uuid,
    mapping_uuid: Option<Uuid>,
    dranspose_version: &'static str,
    mapreduce_version: Option<&'a BuildMeta>,
    parameters_hash: Option<&'a str>,
    processed_events: u64,
    event_rate: f64,
    name: &'a str,
    url: &'a str,
    connected_workers: BTreeMap<Uuid, ConnectedWorker<'a>>,
    streams: &'a [StreamName],
}

#[derive(Debug, Serialize)]
struct ConnectedWorker<'a> {
    name: &'a str,
    service_uuid: Uuid,
    last_seen: f64,
}

/// Shown to people: the program, and the version of the wire format.
const VERSION: &str = concat!("framegate ", env!("CARGO_PKG_VERSION"), " (wire of dranspose 0.2.0)");

impl<'a> PublishedState<'a> {
    pub(super) fn new(
        ingester: &'a IngesterHandle,
        report: &'a Report,
        build: Option<&'a BuildMeta>,
        parameters_hash: Option<&'a str>,
    ) -> Self {
        let worker = |worker: &'a WorkerReport| {
            let service_uuid = worker.service_uuid.filter(|_| worker.connected)?;
            let name = worker.name.as_str();
            Some((service_uuid, ConnectedWorker { name, service_uuid, last_seen: worker.last_seen }))
        };
        Self {
            service_uuid: ingester.service_uuid,
            mapping_uuid: report.ready.map(|scan| scan.0),
            dranspose_version: VERSION,
            mapreduce_version: build,
            parameters_hash,
            processed_events: report.processed_events,
            // JSON has no NaN: it would be written as null, which the model refuses.
            event_rate: if report.event_rate.is_finite() { report.event_rate } else { 0.0 },
            name: ingester.name.as_str(),
            url: &ingester.url,
            connected_workers: report.workers.iter().filter_map(worker).collect(),
            streams: &ingester.streams,
        }
    }

    pub(super) fn json(&self) -> String {
        serde_json::to_string(self).expect("it has only string keys and finite numbers")
    }
}

/// The notice that a scan is finished (`IngesterUpdate`).
pub(super) fn finished(ingester: &IngesterHandle) -> String {
    serde_json::json!({"state": "finished", "source": "ingester", "ingester": ingester.name.as_str()}).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(more: &str) -> Result<ControllerUpdate, serde_json::Error> {
        serde_json::from_str(&format!(r#"{{"parameters_version":{{}}{more}}}"#))
    }

    #[test]
    fn an_update_needs_no_more_than_the_peers_model_does() {
        let uuid = r#","mapping_uuid":"6F9619FF8B864011B42D00C04FC964FF""#;
        let update = read(uuid).unwrap();
        assert!(!update.finished && update.active_streams.is_empty());
        assert!(read(&format!(r#"{uuid},"target_parameters_hash":null,"of another version":[{{}}]"#)).is_ok());
        assert!(read("").is_err());
    }

    #[test]
    fn a_mapping_uuid_that_could_not_be_published_is_refused() {
        for wrong in ["6f9619ff-8b86-d011-b42d-00c04fc964ff", "6f9619ff-8b86-4011-342d-00c04fc964ff"] {
            let problem = read(&format!(r#","mapping_uuid":"{wrong}""#)).unwrap_err().to_string();
            assert!(problem.contains("version 4"), "{problem}");
        }
    }
}
