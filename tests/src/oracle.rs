//! The accounting of a scan. Every event that a detector has sent must arrive in order and exactly once at each worker
//! that it was assigned to, or be counted under the reason why not.
//!
//! Compares what was sent, assigned and received with the ingester's own status. It knows nothing of how the ingester
//! works.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::{protocols::Parts, worker::Message};

/// For each event, the streams with their workers.
pub type Assignments = Vec<BTreeMap<String, Vec<String>>>;

/// What was sent, assigned and received in a scan.
#[derive(Debug, Default)]
pub struct Account {
    /// The events that each detector has sent.
    pub events: BTreeMap<String, Vec<Parts>>,
    /// Streams whose source failed after its events: they are empty in later messages.
    pub failed: BTreeSet<String>,
    /// The controller's assignments.
    pub assignments: Assignments,
    /// The messages at each worker, in order.
    pub arrived: BTreeMap<String, Vec<Message>>,
    /// How often a worker's connection ended: messages in it may be lost.
    pub lost_connections: BTreeMap<String, usize>,
}

/// The outcome of a scan's messages.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Outcome {
    /// Events that were to be forwarded, to any number of workers.
    pub events: u64,
    /// Messages that arrived.
    pub arrived: u64,
    /// Messages that were dropped with a given-up worker, and counted.
    pub dropped: u64,
    /// Messages lost with a connection that ended.
    pub in_dead_connections: u64,
}

/// A message that must arrive: the event's number, and the index of the stream's event for each of its streams.
type Expected<'a> = (u64, BTreeMap<&'a str, usize>);

impl Account {
    /// Number of events that can be complete: those with a stream, up to the first that lacks a stream's event.
    #[must_use]
    pub fn whole_events(&self) -> u64 {
        let up_to = self.walk(|_, _, _| {});
        self.assignments[..up_to].iter().filter(|assignment| !assignment.is_empty()).count() as u64
    }

    /// The messages that must arrive at each worker.
    #[must_use]
    pub fn expected(&self) -> BTreeMap<&str, Vec<Expected<'_>>> {
        let mut expected = BTreeMap::<&str, Vec<Expected<'_>>>::new();
        self.walk(|event, stream, index| {
            for worker in &self.assignments[event][stream] {
                let messages = expected.entry(worker).or_default();
                if messages.last().is_none_or(|(last, _)| *last != event as u64) {
                    messages.push((event as u64, BTreeMap::new()));
                }
                if let Some((_, streams)) = messages.last_mut() {
                    streams.insert(stream, index);
                }
            }
        });
        expected
    }

    /// Visits the events, each with its streams and the indexes of their own events, until one cannot be complete. The
    /// k-th event of a stream belongs to the k-th assignment that names it.
    fn walk<'a>(&'a self, mut each: impl FnMut(usize, &'a str, usize)) -> usize {
        let mut taken = BTreeMap::<&str, usize>::new();
        for (event, assignment) in self.assignments.iter().enumerate() {
            let has = |stream: &String| {
                if self.failed.contains(stream) {
                    return true;
                }
                let there = self.events.get(stream).map_or(0, Vec::len);
                taken.get(stream.as_str()).copied().unwrap_or(0) < there
            };
            if !assignment.keys().all(has) {
                return event;
            }
            for stream in assignment.keys() {
                let index = taken.entry(stream).or_default();
                each(event, stream, *index);
                *index += 1;
            }
        }
        self.assignments.len()
    }

    /// Compares received with expected messages only. For a scan in which the ingester was killed, so that it has no
    /// counts.
    ///
    /// # Errors
    /// The errors as texts: a message that must not arrive, a duplicate, or a wrong order.
    pub fn check_order(&self) -> Result<Outcome, Vec<String>> {
        let mut wrong = Vec::new();
        let outcome = self.compare(&mut wrong, |_, _, _, _| {});
        if wrong.is_empty() { Ok(outcome) } else { Err(wrong) }
    }

    /// Compares received messages and the ingester's status with the expected messages.
    ///
    /// # Errors
    /// The errors as texts: also messages that are missing and not counted.
    pub fn check(&self, status: &Value) -> Result<Outcome, Vec<String>> {
        let mut wrong = Vec::new();
        let mut dropped = 0;
        let mut outcome = self.compare(&mut wrong, |wrong, worker, expected, gaps| {
            let worker_status =
                status["workers"].as_array().and_then(|all| all.iter().find(|one| one["name"] == worker));
            let count = |what: &str| worker_status.and_then(|one| one[what].as_u64()).unwrap_or(0);
            let (sent, given_up) = (count("sent"), count("dropped"));
            dropped += given_up;
            if sent + given_up != expected {
                wrong.push(format!("{worker}: {expected} messages, of which {sent} were sent and {given_up} dropped"));
            }
            let missing: u64 = gaps.iter().sum();
            let ends = self.lost_connections.get(worker).copied().unwrap_or(0);
            // A given-up worker causes at most one gap, and so does a connection that ends.
            if ends == 0 && missing != given_up || gaps.len() > ends + usize::from(given_up > 0) || missing < given_up {
                let gaps = format!("in gaps of {gaps:?}; {given_up} are counted as dropped");
                wrong.push(format!(
                    "{worker}: {missing} messages do not arrive, {gaps}; its connection ended {ends} times"
                ));
            }
        });
        outcome.dropped = dropped;
        outcome.in_dead_connections -= dropped.min(outcome.in_dead_connections);
        self.check_streams(status, &mut wrong);
        if wrong.is_empty() { Ok(outcome) } else { Err(wrong) }
    }

    fn compare(&self, wrong: &mut Vec<String>, mut each: impl FnMut(&mut Vec<String>, &str, u64, &[u64])) -> Outcome {
        let mut outcome = Outcome { events: self.whole_events(), ..Outcome::default() };
        let expected = self.expected();
        for worker in self.arrived.keys().filter(|worker| !expected.contains_key(worker.as_str())) {
            if !self.arrived[worker].is_empty() {
                wrong.push(format!("{worker} got messages and is assigned to none"));
            }
        }
        for (worker, expected) in expected {
            let arrived = self.arrived.get(worker).map_or(&[][..], Vec::as_slice);
            let mut left = arrived.iter().peekable();
            // The lengths of all gaps.
            let mut gaps = Vec::new();
            let mut gap = 0;
            for (event, streams) in &expected {
                if left.peek().is_some_and(|message| message.number() == *event) {
                    if let Some(message) = left.next() {
                        self.compare_message(worker, *event, streams, message, wrong);
                    }
                    gaps.extend((gap > 0).then_some(gap));
                    gap = 0;
                } else {
                    gap += 1;
                }
            }
            gaps.extend((gap > 0).then_some(gap));
            if let Some(message) = left.next() {
                let numbers: Vec<_> = arrived.iter().map(Message::number).collect();
                wrong.push(format!("{worker}: event {} is not the next one in {numbers:?}", message.number()));
            }
            outcome.arrived += arrived.len() as u64;
            outcome.in_dead_connections += gaps.iter().sum::<u64>();
            each(wrong, worker, expected.len() as u64, &gaps);
        }
        outcome
    }

    fn compare_message(
        &self,
        worker: &str,
        event: u64,
        streams: &BTreeMap<&str, usize>,
        message: &Message,
        wrong: &mut Vec<String>,
    ) {
        let header = message.header();
        let names = header["streams"].as_object().into_iter().flatten().map(|(name, _)| name.as_str());
        if !names.clone().all(|name| streams.contains_key(name)) || names.count() != streams.len() {
            wrong.push(format!("{worker}, event {event}: {header} instead of {streams:?}"));
            return;
        }
        for (stream, index) in streams {
            let expected = self.events[*stream].get(*index).map_or(&[][..], Vec::as_slice);
            if message.stream(stream) != Some(expected) {
                wrong.push(format!("{worker}, event {event}: {stream} has other bytes than its event {index}"));
            }
        }
    }

    fn check_streams(&self, status: &Value, wrong: &mut Vec<String>) {
        let (mut forwarded, mut missing) = (BTreeMap::<&str, u64>::new(), BTreeMap::<&str, u64>::new());
        self.walk(|event, stream, index| match index < self.events[stream].len() {
            false => *missing.entry(stream).or_default() += 1,
            true => *forwarded.entry(stream).or_default() += u64::from(!self.assignments[event][stream].is_empty()),
        });
        for (stream, events) in &self.events {
            let counts = &status["streams"][stream];
            let count = |what: &str| counts[what].as_u64().unwrap_or(u64::MAX);
            let is_closed = count("read") == count("forwarded") + count("dropped") + count("discarded");
            let there = events.len() as u64;
            let expected = forwarded.get(stream.as_str()).copied().unwrap_or(0);
            let is_missing = count("missing") == missing.get(stream.as_str()).copied().unwrap_or(0);
            let is_right = count("read") <= there && count("forwarded") == expected && count("dropped") == 0;
            if !(is_closed && is_right && is_missing) {
                wrong.push(format!("{stream}: {there} events handed over, {expected} to be forwarded: {counts}"));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn message(number: u64, stream: &str, byte: u8) -> Message {
        let header = json!({"event_number": number, "streams": {stream: {"typ": "x", "length": 1}}});
        Message { header: header.to_string().into_bytes(), frames: vec![vec![byte]] }
    }

    /// Four events of one stream, for one worker, which got the events in `got`.
    fn account(got: &[(u64, u8)]) -> Account {
        let events = (0..4).map(|byte| vec![vec![byte]]).collect();
        let assignment = BTreeMap::from([("a".to_owned(), vec!["w1".to_owned()])]);
        Account {
            events: BTreeMap::from([("a".to_owned(), events)]),
            assignments: vec![assignment; 4],
            arrived: BTreeMap::from([(
                "w1".into(),
                got.iter().map(|(number, byte)| message(*number, "a", *byte)).collect(),
            )]),
            lost_connections: BTreeMap::new(),
            failed: BTreeSet::new(),
        }
    }

    fn status(sent: u64, dropped: u64) -> Value {
        json!({
            "workers": [{"name": "w1", "sent": sent, "dropped": dropped}],
            "streams": {"a": {"read": 4, "forwarded": 4, "dropped": 0, "discarded": 0, "missing": 0}},
        })
    }

    const ALL: &[(u64, u8)] = &[(0, 0), (1, 1), (2, 2), (3, 3)];

    #[test]
    fn what_arrives_whole_or_is_counted_is_right() {
        assert_eq!(account(ALL).check(&status(4, 0)).map(|outcome| outcome.arrived), Ok(4));
        let dropped = account(&ALL[..2]).check(&status(2, 2));
        assert_eq!(dropped.map(|outcome| (outcome.arrived, outcome.dropped)), Ok((2, 2)));
        let mut with_end = account(&[ALL[0], ALL[3]]);
        with_end.lost_connections.insert("w1".into(), 1);
        assert_eq!(with_end.check(&status(4, 0)).map(|outcome| outcome.in_dead_connections), Ok(2));
    }

    #[test]
    fn what_is_missing_twice_late_or_changed_is_found() {
        type Arrived<'a> = &'a [(u64, u8)];
        let cases: [(&str, Arrived<'_>, Value); 7] = [
            ("missing", &ALL[..3], status(4, 0)),
            ("missing and counted twice", &ALL[..3], status(3, 2)),
            ("twice", &[ALL[0], ALL[0], ALL[1], ALL[2], ALL[3]], status(4, 0)),
            ("late", &[ALL[1], ALL[0], ALL[2], ALL[3]], status(4, 0)),
            ("changed", &[(0, 1), ALL[1], ALL[2], ALL[3]], status(4, 0)),
            ("one too many", &[ALL[0], ALL[1], ALL[2], ALL[3], (4, 4)], status(4, 0)),
            ("dropped and arrived", ALL, status(3, 1)),
        ];
        for (what, got, status) in cases {
            assert!(account(got).check(&status).is_err(), "{what}");
        }
        let mut streams = status(4, 0);
        streams["streams"]["a"]["read"] = json!(5);
        assert!(account(ALL).check(&streams).is_err(), "more read than counted");
    }
}
