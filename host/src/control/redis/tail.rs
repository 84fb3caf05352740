//! A position in a Redis stream: returns the entries after it, in order, and never gets stuck.
//!
//! An entry with any content (bytes that are not text, unknown fields) is skipped or returned once. If the stream
//! restarts, because Redis lost it or its writer deleted it, reading continues at its first entry.

use std::{cmp::Ordering, time::Duration};

use redis::Value;

use super::{
    health::Health,
    keys,
    link::{BLOCK, Link, Unusable},
    wire::MOST,
};
use crate::counter::Counter;

/// See the module.
#[derive(Debug)]
pub(super) struct Tail {
    key: String,
    /// The id of the last returned entry.
    last: String,
    /// Number of entries for the next read: as many as fitted into [`BYTES_AT_ONCE`] in the last read.
    count: usize,
    /// Size of the last returned entry in bytes.
    size: usize,
    /// The value of [`Link::connections`] at the last check whether the stream restarted; and how often the check was
    /// skipped since.
    looked: (u64, u32),
    /// While a restarted stream is read: its newest entry at the time of the check.
    found: Option<String>,
    health: Health,
}

/// One entry of a stream.
#[derive(Debug, PartialEq)]
pub(super) struct Entry {
    pub(super) id: String,
    /// The field that holds the JSON; empty if there is none, which is not valid JSON either.
    pub(super) data: Vec<u8>,
    /// The entry existed when we noticed that the stream had restarted: it may be old data of a restarted Redis, or new
    /// data that arrived before the check.
    pub(super) found: bool,
}

/// The id before the first entry of any stream.
const START: &str = "0-0";
/// Limits what one read loads into memory; a single entry may be larger.
const BYTES_AT_ONCE: usize = 4 << 20;
const ENTRIES_AT_ONCE: usize = 256;
/// Maximum size of an answer with several entries. If there are more bytes, each entry is requested separately.
const SEVERAL: usize = 32 << 20;
/// If the newest entry is larger, it is not fetched each second to check for a restart, while the connection is the same.
const SMALL: usize = 64 << 10;
/// It is then fetched after this many seconds.
const PATIENCE: u32 = 30;
/// Number of entries in a read before their size is known.
const ENTRIES_AT_FIRST: usize = 4;

impl Tail {
    /// A position before the first entry.
    pub(super) fn from_start(key: String, health: &Health) -> Self {
        Self {
            key,
            last: START.to_owned(),
            count: ENTRIES_AT_FIRST,
            size: 0,
            looked: (0, 0),
            found: None,
            health: health.clone(),
        }
    }

    /// A position after the newest entry. For a stream of small entries, to be read many at once.
    pub(super) async fn from_newest(key: String, link: &mut Link, health: &Health) -> Self {
        let mut tail = Self { count: ENTRIES_AT_ONCE, ..Self::from_start(key, health) };
        // A key that holds no stream has no entries: all later entries are new.
        tail.last = tail.newest(link).await.unwrap_or_else(|| START.to_owned());
        tail
    }

    /// The next entries; empty if none came within [`BLOCK`].
    pub(super) async fn next(&mut self, link: &mut Link) -> Vec<Entry> {
        let mut command = redis::cmd("XREAD");
        command.arg("COUNT").arg(self.count).arg("BLOCK").arg(BLOCK.as_millis() as u64);
        command.arg("STREAMS").arg(&self.key).arg(&self.last);
        let mut entries = match link.ask_for::<Value>(&command, most(self.count)).await {
            Ok(reply) => {
                let came = entries(reply);
                self.size = came.last().map_or(self.size, |last| last.data.len());
                came
            }
            Err(Unusable::TooLarge(_)) if self.count > 1 => {
                self.count = 1;
                return Vec::new();
            }
            Err(problem) => self.unusable(problem, link).await,
        };
        self.mark(&mut entries);
        if let Some(last) = entries.last() {
            self.last.clone_from(&last.id);
            let bytes: usize = entries.iter().map(|entry| entry.data.len()).sum();
            self.count = (BYTES_AT_ONCE * entries.len() / bytes.max(1)).clamp(1, ENTRIES_AT_ONCE);
        } else if self.is_time_to_look(link.connections())
            && let Some(newest) = self.newest(link).await
            && order(&newest, &self.last) == Ordering::Less
        {
            // A writer that ends deletes its stream; only a stream that already has new entries is worth a log line.
            if newest != START {
                tracing::info!("{} has started over; reading it from its first entry", self.key);
            }
            self.last = START.to_owned();
            self.size = 0;
            self.found = Some(newest);
        }
        entries
    }

    /// Whether to check now if the stream restarted. The check fetches its newest entry.
    fn is_time_to_look(&mut self, connections: u64) -> bool {
        let (looked_on, idle) = self.looked;
        let is_time = self.size <= SMALL || looked_on != connections || idle >= PATIENCE;
        self.looked = if is_time { (connections, 0) } else { (looked_on, idle + 1) };
        is_time
    }

    /// Marks the entries that existed when the restart was noticed.
    fn mark(&mut self, entries: &mut [Entry]) {
        let Some(newest) = &self.found else { return };
        for entry in &mut *entries {
            entry.found = order(&entry.id, newest) != Ordering::Greater;
        }
        if entries.last().is_some_and(|last| !last.found) {
            self.found = None;
        }
    }

    /// The id of the last returned entry, or of the entry before the start.
    pub(super) fn last(&self) -> &str {
        &self.last
    }

    /// A page of entries, newest first, backwards from `before` (not included); `None`: from the newest on.
    pub(super) async fn back(&self, link: &mut Link, before: Option<&str>) -> Vec<Entry> {
        let from = before.map_or_else(|| "+".to_owned(), |id| format!("({id}"));
        for count in [ENTRIES_AT_ONCE, 1] {
            let mut command = redis::cmd("XREVRANGE");
            command.arg(&self.key).arg(&from).arg("-").arg("COUNT").arg(count);
            match link.ask_for::<Value>(&command, most(count)).await {
                Ok(reply) => return entries(reply),
                Err(Unusable::TooLarge(_)) if count > 1 => {}
                Err(problem) => {
                    self.complain(&problem);
                    break;
                }
            }
        }
        Vec::new()
    }

    /// The id of the newest entry; [`START`] if there is none, `None` if the key holds no stream.
    async fn newest(&mut self, link: &mut Link) -> Option<String> {
        let mut command = redis::cmd("XREVRANGE");
        command.arg(&self.key).arg("+").arg("-").arg("COUNT").arg(1);
        match link.ask::<Value>(&command).await {
            Ok(reply) => Some(entries(reply).pop().map_or_else(|| START.to_owned(), |entry| entry.id)),
            Err(Unusable::TooLarge(most)) => self.aborted(most, link),
            Err(_) => None,
        }
    }

    /// The newest entry is too large, and aborting its answer has ended the connection. The next connection, which replaces it,
    /// is no reason to fetch the entry again. Returns the entry's id.
    fn aborted(&mut self, most: usize, link: &Link) -> Option<String> {
        (self.size, self.looked) = (most, (link.connections() + 1, 0));
        first_id(&link.beginning())
    }

    /// A replacement for an unusable answer: an entry that is too large is skipped, like an entry without data.
    async fn unusable(&mut self, problem: Unusable, link: &Link) -> Vec<Entry> {
        self.complain(&problem);
        if let Unusable::TooLarge(most) = problem
            && let Some(id) = self.aborted(most, link)
        {
            return vec![Entry { id, data: Vec::new(), found: false }];
        }
        tokio::time::sleep(RETRY).await;
        Vec::new()
    }

    fn complain(&self, problem: &Unusable) {
        self.health.complain(Counter::RedisKeysOfAnotherType, &format!("{}: {problem}", self.key));
    }
}

/// Maximum size of an answer with this many entries.
fn most(entries: usize) -> usize {
    if entries > 1 { SEVERAL } else { MOST }
}

/// Pause before a retry if the key holds another type.
const RETRY: Duration = Duration::from_millis(500);

/// The entries in a reply of XREAD for one key (`[[key, entries]]`), or of XREVRANGE (`entries`).
pub(super) fn entries(reply: Value) -> Vec<Entry> {
    let Value::Array(items) = reply else { return Vec::new() };
    let mut found = Vec::new();
    for item in items {
        let Value::Array(pair) = item else { continue };
        let Ok([id, content]) = <[Value; 2]>::try_from(pair) else { continue };
        match content {
            Value::Array(inside) if matches!(inside.first(), Some(Value::Array(_))) => {
                found.extend(entries(Value::Array(inside)));
            }
            Value::Array(fields) => found.extend(entry(id, fields)),
            // A deleted entry that is still listed is empty.
            _ => found.extend(entry(id, Vec::new())),
        }
    }
    found
}

/// The id of the first entry in an answer whose end is missing.
fn first_id(beginning: &[u8]) -> Option<String> {
    let is_id = |line: &&str| {
        line.split_once('-').is_some_and(|(time, sequence)| {
            let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
            is_number(time) && is_number(sequence)
        })
    };
    // The data, which comes after it, may be anything.
    let mut lines = beginning.split(|byte| *byte == b'\n').map_while(|line| std::str::from_utf8(line).ok());
    lines.find_map(|line| Some(line.trim_end()).filter(is_id)).map(str::to_owned)
}

fn entry(id: Value, fields: Vec<Value>) -> Option<Entry> {
    let Value::BulkString(id) = id else { return None };
    let mut fields = fields.into_iter();
    let mut data = Vec::new();
    while let (Some(name), Some(value)) = (fields.next(), fields.next()) {
        if let (Value::BulkString(name), Value::BulkString(value)) = (name, value)
            && name == keys::DATA.as_bytes()
        {
            data = value;
        }
    }
    Some(Entry { id: String::from_utf8(id).ok()?, data, found: false })
}

/// Ids compare as milliseconds and sequence.
pub(super) fn order(one: &str, other: &str) -> Ordering {
    let parse = |id: &str| {
        let (time, sequence) = id.split_once('-').unwrap_or((id, "0"));
        (time.parse().unwrap_or(0_u64), sequence.parse().unwrap_or(0_u64))
    };
    parse(one).cmp(&parse(other))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Value {
        Value::BulkString(text.as_bytes().to_vec())
    }

    fn stored(id: &str, fields: &[&str]) -> Value {
        Value::Array(vec![text(id), Value::Array(fields.iter().map(|field| text(field)).collect())])
    }

    #[test]
    fn entries_are_found_in_both_kinds_of_reply() {
        let list = Value::Array(vec![stored("1-0", &["x", "y", "data", "one"]), stored("2-0", &["x", "y"])]);
        let entry = |id: &str, data: &[u8]| Entry { id: id.to_owned(), data: data.to_vec(), found: false };
        let expected = [entry("1-0", b"one"), entry("2-0", b"")];
        assert_eq!(entries(list.clone()), expected);
        assert_eq!(entries(Value::Array(vec![Value::Array(vec![text("key"), list])])), expected);
        assert_eq!(entries(Value::Nil), []);
    }

    #[test]
    fn a_field_name_that_is_no_text_does_not_hide_the_data() {
        let fields = Value::Array(vec![Value::BulkString(vec![0xff]), text("?"), text("data"), text("one")]);
        assert_eq!(entries(Value::Array(vec![Value::Array(vec![text("1-0"), fields])]))[0].data, b"one");
    }

    #[test]
    fn the_id_of_an_entry_is_found_before_its_data() {
        let before =
            "*1\r\n*2\r\n$28\r\ndranspose:controller:updates\r\n*1\r\n*2\r\n$6\r\n1764-3\r\n*2\r\n$4\r\ndata\r\n$9\r\n";
        let answer = [before.as_bytes(), b"\xff\n7-7\r\n"].concat();
        assert_eq!(first_id(&answer).as_deref(), Some("1764-3"));
        assert_eq!(first_id(b"*1\r\n*2\r\n$6\r\n1764-3\r\n*2\r\n").as_deref(), Some("1764-3"));
        assert_eq!(first_id(b"*0\r\n"), None);
    }

    #[test]
    fn ids_compare_as_numbers() {
        assert_eq!(order("9-0", "10-0"), Ordering::Less);
        assert_eq!(order("10-2", "10-10"), Ordering::Less);
        assert_eq!(order("10-2", "10-2"), Ordering::Equal);
    }
}
