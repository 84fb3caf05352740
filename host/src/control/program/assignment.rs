//! Which workers get an event, as the program says it and as an ingester takes it.

use std::{collections::HashMap, sync::Arc};

use super::error::ScanError;
use crate::{
    ingester::command::{self, Assignments},
    names::{EventNumber, ScanId, StreamName, WorkerName},
};

/// The workers of one event of a scan, for each stream that the event has.
///
/// The k-th event of a stream belongs to the k-th assignment that names the stream.
///
/// ```
/// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/counter.rs"));
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let host = host()?;
/// use std::time::Duration;
///
/// use framegate::{Assignment, names::{StreamName, WorkerName}};
///
/// let (camera, name) = (StreamName::new("camera")?, WorkerName::new("w1")?);
/// let mut worker = host.worker(name.clone()).queue()?;
/// let mut scan = host.scan().assigned().begin()?;
/// // The worker gets events 0 and 2; event 1 is read and discarded.
/// let event = |number| Assignment::new(number).stream(&camera, (number != 1).then_some(&name));
/// scan.assign((0..3).map(event), Duration::from_secs(10))?;
/// assert_eq!(worker.wait(Duration::from_secs(10))?.number(), 0);
/// assert_eq!(worker.wait(Duration::from_secs(10))?.number(), 2);
/// let counts = &scan.finish(Duration::from_secs(10))?.streams["camera"];
/// assert_eq!((counts.forwarded, counts.discarded), (2, 1));
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assignment {
    pub(super) number: EventNumber,
    pub(super) streams: Vec<(StreamName, Vec<WorkerName>)>,
}

impl Assignment {
    /// The event with this number; it has no stream yet. Events are numbered from 0 in each scan.
    #[must_use]
    pub fn new(number: EventNumber) -> Self {
        Self { number, streams: Vec::new() }
    }

    /// The event has this stream, and these workers get its frames. Without a worker the frames are read and discarded.
    #[must_use]
    pub fn stream<'a>(mut self, stream: &StreamName, workers: impl IntoIterator<Item = &'a WorkerName>) -> Self {
        self.streams.push((stream.clone(), workers.into_iter().cloned().collect()));
        self
    }
}

/// Checks that the events follow each other from `next` on, and name each stream of the scan once at most.
pub(super) fn check(events: &[Assignment], next: EventNumber, active: &[StreamName]) -> Result<(), ScanError> {
    for (expected, event) in (next..).zip(events) {
        if event.number != expected {
            return Err(ScanError::OutOfOrder { expected, given: event.number });
        }
        for (place, (stream, _)) in event.streams.iter().enumerate() {
            let (event, stream, before) = (event.number, stream.clone(), &event.streams[..place]);
            if !active.contains(&stream) {
                return Err(ScanError::TakesNoPart { event, stream });
            }
            if before.iter().any(|(earlier, _)| *earlier == stream) {
                return Err(ScanError::StreamTwice { event, stream });
            }
        }
    }
    Ok(())
}

/// The assignments for an ingester with these streams.
pub(super) fn for_ingester(scan: ScanId, events: &[Assignment], own: &[StreamName]) -> Assignments {
    let (mut workers, mut places) = (Vec::new(), HashMap::new());
    let mut index = |worker: &WorkerName| {
        *places.entry(worker.clone()).or_insert_with(|| {
            workers.push(worker.clone());
            workers.len() - 1
        })
    };
    let events = events.iter().map(|event| {
        let streams = event.streams.iter().filter_map(|(stream, named)| {
            let place = own.iter().position(|own| own == stream)?;
            Some((place, named.iter().map(&mut index).collect()))
        });
        command::Assignment { number: event.number, streams: streams.collect() }
    });
    let events = events.collect();
    Assignments { scan, workers: Arc::new(workers), events }
}
