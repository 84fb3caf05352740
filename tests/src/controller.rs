//! A simulated controller: writes to Redis as a dranspose controller does, when a test asks for it.
//!
//! It does nothing by itself. Its JSON has the fields that dranspose 0.2.0 writes, in the same order.

use std::{collections::BTreeMap, fmt::Write as _, time::Duration};

use redis::{Commands, Connection};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::{process::wait_for, redis::RedisServer};

/// The stream of the controller's updates.
pub const UPDATES: &str = "dranspose:controller:updates";
/// Time limit for a condition to become true.
pub const LIMIT: Duration = Duration::from_secs(60);

/// See the module.
pub struct Controller {
    redis: Option<Connection>,
    /// The current mapping.
    pub mapping: Uuid,
    /// The versions of the parameters, by name.
    pub parameters: BTreeMap<String, Uuid>,
    next_event: u64,
}

impl Controller {
    /// A controller with a mapping that is not published yet.
    #[must_use]
    pub fn new(server: &RedisServer) -> Self {
        Self { redis: Some(server.connect()), ..Self::waiting() }
    }

    /// The same, before Redis is started; call [`Controller::reconnect`] first.
    #[must_use]
    pub fn waiting() -> Self {
        Self { redis: None, mapping: Uuid::new_v4(), parameters: BTreeMap::new(), next_event: 0 }
    }

    /// For requests that only one test needs.
    ///
    /// # Panics
    /// It is not connected to Redis yet.
    pub fn redis(&mut self) -> &mut Connection {
        self.redis.as_mut().expect("it is connected")
    }

    /// Reconnects, to a server that was restarted.
    pub fn reconnect(&mut self, server: &RedisServer) {
        self.redis = Some(server.connect());
    }

    /// The state that an ingester publishes; `None` if there is none, or it is not JSON.
    pub fn state(&mut self, ingester: &str) -> Option<Value> {
        let text: Option<String> = self.redis().get(format!("dranspose:ingester:{ingester}:config")).ok()?;
        serde_json::from_str(&text?).ok()
    }

    /// Waits until an ingester publishes a state for which `wanted` is true.
    ///
    /// # Panics
    /// It publishes no such state within [`LIMIT`].
    pub fn wait_state(&mut self, ingester: &str, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        self.wait_state_within(LIMIT, ingester, what, wanted)
    }

    /// The same, with its own limit.
    ///
    /// # Panics
    /// It publishes no such state within `limit`.
    pub fn wait_state_within(
        &mut self,
        limit: Duration,
        ingester: &str,
        what: &str,
        wanted: impl Fn(&Value) -> bool,
    ) -> Value {
        let mut last = None;
        let found = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            wait_for(&format!("{ingester}: {what}"), limit, || {
                last = self.state(ingester);
                last.clone().filter(&wanted)
            })
        }));
        found.unwrap_or_else(|panic| {
            eprintln!("the last state of {ingester}: {last:?}");
            std::panic::resume_unwind(panic)
        })
    }

    /// Returns an update with the current mapping.
    #[must_use]
    pub fn update(&self, active_streams: &[&str], finished: bool) -> Value {
        json!({
            "mapping_uuid": self.mapping,
            "parameters_version": self.parameters,
            "target_parameters_hash": null,
            "active_streams": active_streams,
            "finished": finished,
        })
    }

    /// Publishes any update.
    ///
    /// # Panics
    /// Redis refuses it.
    pub fn publish(&mut self, update: &Value) {
        let _: String = self.redis().xadd(UPDATES, "*", &[("data", update.to_string())]).expect("XADD");
    }

    /// Publishes several updates in one call, so that they can be read in one call.
    ///
    /// # Panics
    /// Redis refuses them.
    pub fn publish_together(&mut self, updates: &[Value]) {
        let mut pipe = redis::pipe();
        pipe.atomic();
        for update in updates {
            pipe.xadd(UPDATES, "*", &[("data", update.to_string())]).ignore();
        }
        pipe.query::<()>(self.redis()).expect("XADD");
    }

    /// Starts a scan with a new mapping.
    pub fn start_scan(&mut self, streams: &[&str]) -> Uuid {
        self.new_mapping();
        self.publish(&self.update(streams, false));
        self.mapping
    }

    /// Creates a new mapping, but does not publish it.
    pub fn new_mapping(&mut self) -> Uuid {
        self.mapping = Uuid::new_v4();
        self.next_event = 0;
        self.mapping
    }

    /// Starts a scan, and waits until the ingester publishes it.
    pub fn scan(&mut self, ingester: &str, streams: &[&str]) -> Uuid {
        let mapping = self.start_scan(streams);
        self.wait_ready(ingester);
        mapping
    }

    /// Waits until the ingester publishes the current mapping.
    pub fn wait_ready(&mut self, ingester: &str) {
        let mapping = json!(self.mapping);
        self.wait_state(ingester, "the new mapping", |state| state["mapping_uuid"] == mapping);
    }

    /// Repeats the current mapping and parameters, as a controller does until the hashes match.
    pub fn repeat(&mut self) {
        self.publish(&self.update(&[], false));
    }

    /// Stores a new value of a parameter, and publishes it.
    pub fn set_parameter(&mut self, name: &str, value: &[u8]) {
        self.store_parameter(name, value);
        self.repeat();
    }

    /// Stores a new value of a parameter, but does not publish it yet.
    ///
    /// # Panics
    /// Redis refuses it.
    pub fn store_parameter(&mut self, name: &str, value: &[u8]) {
        let version = Uuid::new_v4();
        let _: () = self.redis().set(format!("dranspose:parameters:{name}:{version}"), value).expect("SET");
        self.parameters.insert(name.to_owned(), version);
    }

    /// The result of the reference's `parameters_hash` for the current parameters.
    #[must_use]
    pub fn hash(&self) -> String {
        let mut hasher = Sha256::new();
        self.parameters.values().for_each(|version| hasher.update(version.as_bytes()));
        hasher.finalize().iter().fold(String::new(), |mut hex, byte| {
            let _ = write!(hex, "{byte:02x}");
            hex
        })
    }

    /// Waits until an ingester has all parameters.
    pub fn wait_hash(&mut self, ingester: &str) -> Value {
        let hash = json!(self.hash());
        self.wait_state(ingester, "the hash of the parameters", |state| state["parameters_hash"] == hash)
    }

    /// Assigns the next events, in one list; each event is a list of streams with their workers.
    pub fn assign(&mut self, events: &[&[(&str, &[&str])]]) {
        let list: Vec<Value> = events
            .iter()
            .map(|streams| {
                let streams: serde_json::Map<_, _> =
                    streams.iter().map(|(stream, workers)| ((*stream).to_owned(), json!(workers))).collect();
                let event = json!({"event_number": self.next_event, "assignments": streams});
                self.next_event += 1;
                event
            })
            .collect();
        self.assign_raw(json!(list).to_string());
    }

    /// Writes any data as an assignment.
    ///
    /// # Panics
    /// Redis refuses it.
    pub fn assign_raw(&mut self, data: impl redis::ToSingleRedisArg) {
        let key = format!("dranspose:assigned:{}", self.mapping);
        let _: String = self.redis().xadd(key, "*", &[("data", data)]).expect("XADD");
    }

    /// Ends the scan.
    pub fn finish(&mut self) {
        self.publish(&self.update(&[], true));
    }

    /// The notices of the current scan.
    pub fn notices(&mut self) -> Vec<String> {
        let key = format!("dranspose:ready:{}", self.mapping);
        let reply: redis::streams::StreamRangeReply = self.redis().xrange_all(key).unwrap_or_default();
        reply.ids.iter().filter_map(|entry| entry.get("data")).collect()
    }

    /// Ends the scan, and waits for the ingester's notice.
    ///
    /// # Panics
    /// It does not arrive within [`LIMIT`], or more than once.
    pub fn finish_and_wait(&mut self, ingester: &str) {
        self.finish();
        self.wait_notice(ingester);
    }

    /// Waits for an ingester's notice that the scan is finished.
    ///
    /// # Panics
    /// It does not arrive within [`LIMIT`], or more than once.
    pub fn wait_notice(&mut self, ingester: &str) {
        let notice = format!(r#"{{"state":"finished","source":"ingester","ingester":"{ingester}"}}"#);
        let found = wait_for(&format!("the notice of {ingester}"), LIMIT, || {
            let count = self.notices().iter().filter(|one| **one == notice).count();
            (count > 0).then_some(count)
        });
        assert_eq!(found, 1, "{ingester} says it more than once");
    }
}

impl std::fmt::Debug for Controller {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Controller").field("mapping", &self.mapping).finish_non_exhaustive()
    }
}
