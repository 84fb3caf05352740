//! Parses replies of Redis, for `tests/fuzz`.

use super::{messages::ControllerUpdate, tail, work::WorkReader};
use crate::names::StreamName;

/// The texts in a reply; invalid replies are used as a text themselves.
fn texts(bytes: &[u8]) -> Vec<Vec<u8>> {
    match redis::parse_redis_value(bytes) {
        Ok(reply) => tail::entries(reply).into_iter().map(|entry| entry.data).collect(),
        Err(_) => vec![bytes.to_vec()],
    }
}

/// The controller's updates.
pub fn updates(bytes: &[u8]) {
    for text in texts(bytes) {
        if let Ok(update) = serde_json::from_slice::<ControllerUpdate>(&text) {
            assert_eq!(update.mapping_uuid.get_version_num(), 4, "it is published again");
        }
    }
}

/// A controller's assignments, for an ingester with the streams `one` and `two`.
pub fn assignments(bytes: &[u8]) {
    let own = ["one", "two"].map(|name| StreamName::new(name).expect("a good name"));
    let mut reader = WorkReader::new(&own);
    for text in texts(bytes) {
        for event in reader.read(&text).unwrap_or_default() {
            for (place, (stream, workers)) in event.streams.iter().enumerate() {
                assert!(*stream < own.len(), "streams of others are left out");
                assert!(workers.iter().all(|worker| *worker < reader.workers.len()), "every worker has a name");
                assert!(event.streams[..place].iter().all(|(other, _)| other != stream), "a stream occurs once");
            }
        }
    }
}
