//! All keys of dranspose (dranspose 0.2.0, `protocol.py`, `RedisKeys`), and our own.
//! docs/reference/redis.md lists them with the rights that we need.

use uuid::Uuid;

use crate::names::{IngesterName, ScanId};

/// Stream of the controller's updates.
pub(super) const UPDATES: &str = "dranspose:controller:updates";
/// Stream of log lines of all services.
pub(super) const LOGS: &str = "dranspose_logs";
/// Field of a stream entry that holds the JSON.
pub(super) const DATA: &str = "data";

/// An ingester's state.
pub(super) fn config(ingester: &IngesterName) -> String {
    format!("dranspose:ingester:{ingester}:config")
}

/// Marks an instance with our name that has stepped back for us: our own key, not dranspose's.
pub(super) fn stepped_back(ingester: &IngesterName) -> String {
    format!("framegate:ingester:{ingester}:stepped_back")
}

/// Stream of a scan's assignments.
pub(super) fn assigned(scan: ScanId) -> String {
    format!("dranspose:assigned:{scan}")
}

/// Stream in which services report that they have finished a scan.
pub(super) fn ready(scan: ScanId) -> String {
    format!("dranspose:ready:{scan}")
}

/// A parameter's value.
pub(super) fn parameter(name: &str, version: Uuid) -> String {
    format!("dranspose:parameters:{name}:{version}")
}

/// A parameter's description.
pub(super) fn parameter_description(name: &str) -> String {
    format!("dranspose:parameter_description:{name}")
}
