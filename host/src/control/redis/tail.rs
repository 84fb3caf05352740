//! A place in a Redis stream: gives what comes after it, in order, and never gets stuck.
//!
//! Whatever an entry holds (bytes that are no text, fields that are not ours), it is passed over or handed on once. A stream
//! that begins anew, because Redis lost it or its writer deleted it, is followed from its first entry.

use std::{cmp::Ordering, time::Duration};

use redis::{Cmd, Value};

use super::{
    health::Health,
    keys,
    link::{BLOCK, Link},
};

/// See the module.
#[derive(Debug)]
pub(super) struct Tail {
    key: String,
    /// The id of the last entry that was given.
    last: String,
    /// Entries for the next read: as many as were good for [`BYTES_AT_ONCE`] in the last.
    count: usize,
    health: Health,
}

/// One entry of a stream.
#[derive(Debug, PartialEq)]
pub(super) struct Entry {
    pub(super) id: String,
    /// The field that holds the JSON; empty if there is none, which is no JSON either.
    pub(super) data: Vec<u8>,
}

/// Before the first entry of any stream.
const START: &str = "0-0";
/// Bounds what one read brings into memory; a single entry may be larger.
const BYTES_AT_ONCE: usize = 4 << 20;
const ENTRIES_AT_ONCE: usize = 256;
/// Before it is known how large they are.
const ENTRIES_AT_FIRST: usize = 4;

impl Tail {
    /// A place before the first entry.
    pub(super) fn from_start(key: String, health: &Health) -> Self {
        Self { key, last: START.to_owned(), count: ENTRIES_AT_FIRST, health: health.clone() }
    }

    /// A place after the newest entry. For a stream of small entries, of which many shall come in one read.
    pub(super) async fn from_newest(key: String, link: &mut Link, health: &Health) -> Self {
        let mut tail = Self { count: ENTRIES_AT_ONCE, ..Self::from_start(key, health) };
        // A key that holds no stream has no entries: those that come later are all new.
        tail.last = tail.newest(link).await.unwrap_or_else(|| START.to_owned());
        tail
    }

    /// What came next; empty if nothing came within [`BLOCK`].
    pub(super) async fn next(&mut self, link: &mut Link) -> Vec<Entry> {
        let mut command = redis::cmd("XREAD");
        command.arg("COUNT").arg(self.count).arg("BLOCK").arg(BLOCK.as_millis() as u64);
        command.arg("STREAMS").arg(&self.key).arg(&self.last);
        let entries = self.ask(link, &command).await;
        if let Some(last) = entries.last() {
            self.last.clone_from(&last.id);
            let bytes: usize = entries.iter().map(|entry| entry.data.len()).sum();
            self.count = (BYTES_AT_ONCE * entries.len() / bytes.max(1)).clamp(1, ENTRIES_AT_ONCE);
        } else if let Some(newest) = self.newest(link).await
            && order(&newest, &self.last) == Ordering::Less
        {
            // A writer that ends deletes its stream; only one that already has new entries is worth a word.
            if newest != START {
                tracing::info!("{} begins anew; reading it from its first entry", self.key);
            }
            self.last = START.to_owned();
        }
        entries
    }

    /// A page of entries, newest first, from `before` (not included) backwards; None: from the newest on.
    pub(super) async fn back(&self, link: &mut Link, before: Option<&str>) -> Vec<Entry> {
        let from = before.map_or_else(|| "+".to_owned(), |id| format!("({id}"));
        let mut command = redis::cmd("XREVRANGE");
        command.arg(&self.key).arg(from).arg("-").arg("COUNT").arg(ENTRIES_AT_ONCE);
        self.ask(link, &command).await
    }

    /// The id of the newest entry; [`START`] if there is none, None if the key holds no stream.
    async fn newest(&self, link: &mut Link) -> Option<String> {
        let mut command = redis::cmd("XREVRANGE");
        command.arg(&self.key).arg("+").arg("-").arg("COUNT").arg(1);
        let reply = link.ask::<Value>(&command).await.ok()?;
        Some(entries(reply).pop().map_or_else(|| START.to_owned(), |entry| entry.id))
    }

    async fn ask(&self, link: &mut Link, command: &Cmd) -> Vec<Entry> {
        match link.ask::<Value>(command).await {
            Ok(reply) => entries(reply),
            Err(problem) => {
                self.health.complain("keys of Redis that hold something else", &format!("{}: {problem}", self.key));
                tokio::time::sleep(RETRY).await;
                Vec::new()
            }
        }
    }
}

/// How long a key that holds something else is left alone.
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
            // A deleted entry that is still listed has nothing in it.
            _ => found.extend(entry(id, Vec::new())),
        }
    }
    found
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
    Some(Entry { id: String::from_utf8(id).ok()?, data })
}

/// Ids compare as milliseconds and sequence.
fn order(one: &str, other: &str) -> Ordering {
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
        let expected =
            [Entry { id: "1-0".to_owned(), data: b"one".to_vec() }, Entry { id: "2-0".to_owned(), data: Vec::new() }];
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
    fn ids_compare_as_numbers() {
        assert_eq!(order("9-0", "10-0"), Ordering::Less);
        assert_eq!(order("10-2", "10-10"), Ordering::Less);
        assert_eq!(order("10-2", "10-2"), Ordering::Equal);
    }
}
