//! A controller's list of assignments (`list[WorkAssignment]`), parsed with few allocations: there are as many
//! assignments as events.
//!
//! Streams of other ingesters are skipped while parsing, and a worker's name is allocated once, not once for each
//! event. Names are looked up where they are read, without a copy.

use std::{collections::HashMap, fmt, sync::Arc};

use serde::{
    Deserialize,
    de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor},
};

use crate::{
    ingester::command::{Assignment, StreamWorkers, WorkerIndexes},
    names::{StreamName, WorkerName},
};

/// Reads lists for one ingester.
#[derive(Debug)]
pub(super) struct WorkReader {
    own: Vec<StreamName>,
    /// Names seen so far; the parsed events refer to them by index.
    pub(super) workers: Arc<Vec<WorkerName>>,
    /// Their indexes.
    places: HashMap<WorkerName, usize>,
    /// Invalid worker names, since they were last taken. An event is not sent to such a worker.
    pub(super) impossible: Vec<String>,
}

/// So many names are compared sooner than one is hashed.
const FEW: usize = 16;
/// Maximum number of names that are kept from list to list; a beamline has some hundred.
const MOST_NAMES: usize = 10_000;

impl WorkReader {
    pub(super) fn new(own: &[StreamName]) -> Self {
        Self { own: own.to_vec(), workers: Arc::default(), places: HashMap::new(), impossible: Vec::new() }
    }

    /// Every event of the list; also events without our streams, because the numbers reveal gaps.
    pub(super) fn read(&mut self, text: &[u8]) -> Result<Vec<Assignment>, serde_json::Error> {
        if self.places.len() > MOST_NAMES {
            self.workers = Arc::default();
            self.places.clear();
        }
        // Checked at once, and not string by string.
        let text = std::str::from_utf8(text).map_err(serde::de::Error::custom)?;
        let mut from = serde_json::Deserializer::from_str(text);
        let list = from.deserialize_seq(List(self))?;
        from.end()?;
        Ok(list)
    }

    fn worker(&mut self, name: &str) -> Option<usize> {
        let place = match self.workers.len() {
            ..=FEW => self.workers.iter().position(|known| known.as_str() == name),
            _ => self.places.get(name).copied(),
        };
        if place.is_some() {
            return place;
        }
        let Ok(worker) = WorkerName::new(name) else {
            if self.impossible.len() < MOST_NAMES {
                self.impossible.push(name.to_owned());
            }
            return None;
        };
        let place = self.workers.len();
        self.places.insert(worker.clone(), place);
        // Copied if the ingester still holds it: new names are rare.
        Arc::make_mut(&mut self.workers).push(worker);
        Some(place)
    }
}

/// Parses with a visitor.
struct With<V>(V);

impl<'de, V: Visitor<'de>> DeserializeSeed<'de> for With<V> {
    type Value = V::Value;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<V::Value, D::Error> {
        from.deserialize_any(self.0)
    }
}

struct List<'a>(&'a mut WorkReader);
struct OneEvent<'a>(&'a mut WorkReader);
struct Streams<'a>(&'a mut WorkReader);
struct Workers<'a>(&'a mut WorkReader);
/// A stream's place, if it is one of these.
struct OwnStream<'a>(&'a [StreamName]);
/// A worker's place.
struct OneWorker<'a>(&'a mut WorkReader);

#[derive(Deserialize)]
#[serde(field_identifier, rename_all = "snake_case")]
enum Field {
    EventNumber,
    Assignments,
    #[serde(other)]
    Other,
}

impl<'de> Visitor<'de> for List<'_> {
    type Value = Vec<Assignment>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of assignments")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let mut events = Vec::new();
        while let Some(event) = list.next_element_seed(With(OneEvent(self.0)))? {
            events.push(event);
        }
        Ok(events)
    }
}

impl<'de> Visitor<'de> for OneEvent<'_> {
    type Value = Assignment;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with event_number and assignments")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Assignment, A::Error> {
        let (mut number, mut streams) = (None, None);
        while let Some(field) = fields.next_key()? {
            match field {
                Field::EventNumber => number = Some(fields.next_value()?),
                Field::Assignments => streams = Some(fields.next_value_seed(With(Streams(self.0)))?),
                Field::Other => drop(fields.next_value::<IgnoredAny>()?),
            }
        }
        let missing = <A::Error as serde::de::Error>::missing_field;
        Ok(Assignment {
            number: number.ok_or_else(|| missing("event_number"))?,
            streams: streams.ok_or_else(|| missing("assignments"))?,
        })
    }
}

impl<'de> Visitor<'de> for Streams<'_> {
    type Value = StreamWorkers;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of lists of workers by stream")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut streams: A) -> Result<Self::Value, A::Error> {
        let mut ours = Self::Value::new();
        while let Some(own) = streams.next_key_seed(With(OwnStream(&self.0.own)))? {
            let Some(stream) = own else {
                streams.next_value::<IgnoredAny>()?;
                continue;
            };
            let workers = streams.next_value_seed(With(Workers(self.0)))?;
            // A stream occurs once; as in Python, the last one wins.
            ours.retain(|(known, _)| *known != stream);
            ours.push((stream, workers));
        }
        Ok(ours)
    }
}

impl<'de> Visitor<'de> for Workers<'_> {
    type Value = WorkerIndexes;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of workers' names")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let mut workers = Self::Value::new();
        while let Some(place) = list.next_element_seed(With(OneWorker(self.0)))? {
            workers.extend(place);
        }
        Ok(workers)
    }
}

impl<'de> Visitor<'de> for OwnStream<'_> {
    type Value = Option<usize>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string with a stream's name")
    }

    fn visit_str<E>(self, name: &str) -> Result<Self::Value, E> {
        Ok(self.0.iter().position(|own| own.as_str() == name))
    }
}

impl<'de> Visitor<'de> for OneWorker<'_> {
    type Value = Option<usize>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string with a worker's name")
    }

    fn visit_str<E>(self, name: &str) -> Result<Self::Value, E> {
        Ok(self.0.worker(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Event = (u64, Vec<(String, Vec<String>)>);

    fn read(text: &str) -> Result<Vec<Event>, String> {
        let own = ["one", "two"].map(|name| StreamName::new(name).unwrap());
        let mut reader = WorkReader::new(&own);
        let list = reader.read(text.as_bytes()).map_err(|problem| problem.to_string())?;
        let named = |(stream, workers): &(usize, WorkerIndexes)| {
            (own[*stream].to_string(), workers.iter().map(|place| reader.workers[*place].to_string()).collect())
        };
        Ok(list.iter().map(|event| (event.number, event.streams.iter().map(named).collect())).collect())
    }

    #[test]
    fn own_streams_are_kept_and_every_number() {
        let text = r#"[{"event_number":0,"assignments":{"other":["w"],"t\u0077o":["w1","w\u0032"],"one":[]}},
                       {"assignments":{"other":["w"]},"event_number":1,"more":{"x":[null]}}]"#;
        let two = ("two".to_owned(), vec!["w1".to_owned(), "w2".to_owned()]);
        assert_eq!(read(text), Ok(vec![(0, vec![two, ("one".to_owned(), vec![])]), (1, vec![])]));
    }

    #[test]
    fn what_is_no_list_of_assignments_says_what_is_wrong() {
        for (wrong, says) in [
            ("", "EOF"),
            ("null", "a list of assignments"),
            ("{}", "a list of assignments"),
            (r#"[{"event_number":-1,"assignments":{}}]"#, "u64"),
            (r#"[{"event_number":1.5,"assignments":{}}]"#, "u64"),
            (r#"[{"event_number":99999999999999999999999,"assignments":{}}]"#, "u64"),
            (r#"[{"event_number":1}]"#, "assignments"),
            (r#"[{"assignments":{}}]"#, "event_number"),
            (r#"[{"event_number":1,"assignments":[]}]"#, "by stream"),
            (r#"[{"event_number":1,"assignments":{"one":"w"}}]"#, "names"),
            (r#"[{"event_number":1,"assignments":{"one":[1]}}]"#, "a worker's name"),
            ("[] x", "trailing"),
        ] {
            let problem = read(wrong).unwrap_err();
            assert!(problem.contains(says), "{wrong}: {problem}");
        }
        let deep = format!(r#"[{{"event_number":1,"assignments":{{}},"x":{}"#, "[".repeat(1_000_000));
        assert!(read(&deep).is_err());
    }

    #[test]
    fn a_name_that_no_worker_can_have_is_left_out_and_told() {
        let mut reader = WorkReader::new(&[StreamName::new("one").unwrap()]);
        let list = reader.read(br#"[{"event_number":0,"assignments":{"one":["a:b","w"]}}]"#).unwrap();
        assert_eq!(list[0].streams[0].1.as_slice(), [0]);
        assert_eq!(*reader.workers, [WorkerName::new("w").unwrap()]);
        assert_eq!(reader.impossible, ["a:b"]);
    }
}
