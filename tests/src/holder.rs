//! A dranspose worker that reports all its work as done, but reads none of it: its messages stay in the network and the
//! ingester.
//!
//! Simulated, because a real worker that stops reading would stop its scan. A thread talks to the controller through
//! Redis as dranspose 0.2.0's `worker.py` does: it publishes its state, and sends `ready`, `idle` with the completed
//! events, and `finished`.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use redis::{Commands, Connection, streams::StreamReadReply};
use serde_json::{Value, json};

use crate::{
    controller::UPDATES,
    redis::RedisServer,
    worker::{Message, Worker},
};

/// See the module. Dropping it ends it.
#[derive(Debug)]
pub struct Holder {
    worker: Worker,
    stop: Arc<AtomicBool>,
    thread: Option<thread::JoinHandle<()>>,
}

/// State of the thread.
struct Life {
    redis: Connection,
    name: String,
    service_uuid: String,
    /// The worker from which it copies the parameters and ingesters.
    colleague: String,
    mapping: Option<String>,
    last_update: String,
    last_assigned: String,
    published_at: Option<Instant>,
}

impl Holder {
    /// Connects to the ingester and joins the controller's workers; `colleague` is one of them.
    ///
    /// # Panics
    /// Redis does not answer.
    #[must_use]
    pub fn start(name: &str, colleague: &str, ingester_url: &str, redis: &RedisServer) -> Self {
        let worker = Worker::stalled(name, ingester_url);
        let mut life = Life {
            redis: redis.connect(),
            name: name.to_owned(),
            service_uuid: worker.service_uuid().to_string(),
            colleague: colleague.to_owned(),
            mapping: None,
            last_update: "0".to_owned(),
            last_assigned: "0".to_owned(),
            published_at: None,
        };
        let stop = Arc::new(AtomicBool::new(false));
        let asked = stop.clone();
        let thread = thread::spawn(move || {
            while !asked.load(Ordering::Relaxed) {
                life.step();
            }
            let _: u64 = life.redis.del(life.config()).expect("DEL");
        });
        Self { worker, stop, thread: Some(thread) }
    }

    /// Leaves the controller, and reads all messages sent to it so far.
    ///
    /// # Panics
    /// Its thread has panicked.
    pub fn let_go(&mut self) -> Vec<Message> {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.join().expect("it has not panicked");
        }
        self.worker.read(true);
        std::iter::from_fn(|| self.worker.within(SILENCE)).collect()
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Life {
    fn config(&self) -> String {
        format!("dranspose:worker:{}:config", self.name)
    }

    fn step(&mut self) {
        if self.published_at.is_none_or(|at| at.elapsed() > EVERY) {
            self.publish();
        }
        for update in self.read(UPDATES.to_owned(), self.last_update.clone(), |life, id| life.last_update = id) {
            let mapping = update["mapping_uuid"].as_str().expect("an update has a mapping").to_owned();
            if self.mapping.as_ref() != Some(&mapping) {
                let is_first = self.mapping.replace(mapping).is_none();
                self.last_assigned = "0".to_owned();
                self.publish();
                // The controller does not know this worker yet, and would fail on a message from it.
                if !is_first {
                    self.say(json!({"state": "ready", "source": "worker", "worker": self.name}));
                }
            }
            if update["finished"] == true {
                self.say(json!({"state": "finished", "source": "worker", "worker": self.name}));
            }
        }
        let Some(mapping) = &self.mapping else { return };
        let key = format!("dranspose:assigned:{mapping}");
        for list in self.read(key, self.last_assigned.clone(), |life, id| life.last_assigned = id) {
            let own = |event: &&Value| {
                let mut streams = event["assignments"].as_object().into_iter().flatten();
                streams.any(|(_, workers)| workers.as_array().is_some_and(|all| all.contains(&json!(self.name))))
            };
            let events: Vec<_> =
                list.as_array().into_iter().flatten().filter(own).map(|e| e["event_number"].clone()).collect();
            if !events.is_empty() {
                let none = vec![false; events.len()];
                self.say(json!({"state": "idle", "source": "worker", "completed": events, "worker": self.name,
                                "has_result": none}));
            }
        }
    }

    fn publish(&mut self) {
        let colleague: Option<String> =
            self.redis.get(format!("dranspose:worker:{}:config", self.colleague)).expect("GET");
        let colleague: Value = serde_json::from_str(&colleague.unwrap_or_default()).unwrap_or_default();
        let state = json!({
            "service_uuid": self.service_uuid, "mapping_uuid": self.mapping, "name": self.name,
            "parameters_hash": colleague["parameters_hash"], "ingesters": colleague["ingesters"], "tags": colleague["tags"],
        });
        let _: () = self.redis.set_ex(self.config(), state.to_string(), 10).expect("SETEX");
        self.published_at = Some(Instant::now());
    }

    fn say(&mut self, what: Value) {
        let mapping = self.mapping.as_ref().expect("it has joined a scan");
        let _: String =
            self.redis.xadd(format!("dranspose:ready:{mapping}"), "*", &[("data", what.to_string())]).expect("XADD");
    }

    /// New entries of a stream, in order.
    fn read(&mut self, key: String, after: String, mut note: impl FnMut(&mut Self, String)) -> Vec<Value> {
        let options = redis::streams::StreamReadOptions::default().block(BLOCK);
        let reply: Option<StreamReadReply> = self.redis.xread_options(&[key], &[after], &options).expect("XREAD");
        let mut values = Vec::new();
        for entry in reply.into_iter().flat_map(|reply| reply.keys).flat_map(|key| key.ids) {
            let data: String = entry.get("data").expect("an entry has data");
            values.push(serde_json::from_str(&data).expect("it is JSON"));
            note(self, entry.id);
        }
        values
    }
}

/// dranspose's workers publish their state every 1.3 s.
const EVERY: Duration = Duration::from_secs(1);
/// How long a read from Redis waits, in milliseconds; there are two, one after the other.
const BLOCK: usize = 30;
/// After this time without a message, there are no more.
const SILENCE: Duration = Duration::from_secs(2);
