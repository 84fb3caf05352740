//! Formats a status as tables.
//!
//! Reads the JSON field by field: the other program may have another version, and a missing value is shown as a dash.

use std::{fmt::Write as _, time::SystemTime};

use bytesize::ByteSize;
use comfy_table::{CellAlignment, Table, presets};
use framegate::Counter;
use serde_json::Value;

use crate::{
    swap::source,
    words::{cell, plain},
};

/// The whole output.
pub(super) fn text(status: &Value) -> String {
    let mut out = String::new();
    let up = std::time::Duration::from_secs(status["uptime_seconds"].as_f64().unwrap_or_default() as u64);
    let _ = writeln!(
        out,
        "framegate {}, process {} at {}, up {}",
        word(&status["version"]),
        word(&status["pid"]),
        word(&status["admin"]),
        humantime::format_duration(up),
    );
    let faults = &status["faults"];
    control(&mut out, &status["control"]);
    marks(&mut out, faults, &Value::Null);
    for ingester in list(&status["ingesters"]) {
        one_ingester(&mut out, ingester, &status["sources"]);
        marks(&mut out, faults, &ingester["name"]);
    }
    generations(&mut out, &status["generations"]);
    swaps(&mut out, &status["swaps"]);
    out.truncate(out.trim_end().len());
    out
}

fn control(out: &mut String, control: &Value) {
    let driver = word(&control["driver"]);
    let _ = match control["address"].as_str() {
        Some(_) => writeln!(
            out,
            "control: {driver} at {}, {} since {}",
            word(&control["address"]),
            word(&control["state"]),
            word(&control["since"])
        ),
        None => writeln!(out, "control: {driver}"),
    };
    for (what, count) in entries(&control["counters"]) {
        let _ = writeln!(out, "  {}: {}", counter(what), word(count));
    }
    let problem = &control["last_problem"];
    if !problem.is_null() {
        let _ = writeln!(out, "  last problem, {}: {}", word(&problem["at"]), word(&problem["what"]));
    }
}

/// The current faults of an ingester, or of the host as a whole.
fn marks(out: &mut String, faults: &Value, ingester: &Value) {
    for fault in list(faults).filter(|fault| fault["ingester"] == *ingester) {
        let _ = writeln!(out, "  ! {}", word(&fault["what"]));
    }
}

fn one_ingester(out: &mut String, ingester: &Value, sources: &Value) {
    let _ = writeln!(
        out,
        "\ningester {} at {}: {}\n  scan {}, {} events, {:.1} events/s, {} assigned events not received yet, \
         memory {} of {}",
        word(&ingester["name"]),
        word(&ingester["url"]),
        word(&ingester["state"]),
        word(&ingester["ready"]),
        word(&ingester["processed_events"]),
        ingester["event_rate"].as_f64().unwrap_or_default(),
        word(&ingester["assignments_waiting"]),
        bytes(&ingester["memory_used"]),
        bytes(&ingester["memory_limit"]),
    );
    streams(out, ingester, sources);
    workers(out, ingester);
    let barred: Vec<_> = list(&ingester["workers_not_allowed"]).map(word).collect();
    if !barred.is_empty() {
        let _ = writeln!(out, "  not served, because `workers` does not allow them: {}", barred.join(", "));
    }
    for (what, count) in entries(&ingester["counters"]) {
        if count.as_u64() != Some(0) {
            let _ = writeln!(out, "  {}: {}", counter(what), word(count));
        }
    }
    let capture = &ingester["capture"];
    if !capture.is_null() {
        let (path, written, not) = (&capture["path"], &capture["written"], &capture["not_written"]);
        let waiting = bytes(&capture["bytes_waiting"]);
        let _ = writeln!(
            out,
            "  capture {}: {} events written, {} not, {waiting} wait for the disk",
            word(path),
            word(written),
            word(not)
        );
    }
}

fn streams(out: &mut String, ingester: &Value, sources: &Value) {
    let counts = ["read", "forwarded", "dropped", "discarded", "missing", "queued"];
    let mut rows = Vec::new();
    let mut more = String::new();
    for (name, stream) in entries(&ingester["streams"]) {
        let shown = plain(name);
        let mut row = vec![shown.clone(), state(stream)];
        row.extend(words(stream, counts));
        row.push(bytes(&stream["bytes_waiting"]));
        let fed = list(sources).find(|source| source["stream"].as_str() == Some(name));
        row.push(fed.map_or("-".into(), |source| word(&source["source"])));
        rows.push(row);
        if let Some(line) = connection(&stream["connection"]) {
            let _ = writeln!(more, "  {shown}: {line}");
        }
        let received: Vec<String> = entries(&stream["received"]).map(|(what, count)| received(what, count)).collect();
        if !received.is_empty() {
            let _ = writeln!(more, "  {shown}: received {}", plain(&received.join(", ")));
        }
        for (why, count) in entries(&stream["skipped"]).filter(|(_, count)| count.as_u64() != Some(0)) {
            let _ = writeln!(more, "  {shown}: {} messages skipped: {}", word(count), plain(why));
        }
        if !stream["last_invalid"].is_null() {
            let _ = writeln!(more, "  {shown}: last invalid message: {}", word(&stream["last_invalid"]));
        }
        let all = &stream["since_start"];
        let lost = ["dropped", "replaced", "missing"].map(|count| all[count].as_u64().unwrap_or(0));
        if lost != [0; 3] {
            let [dropped, replaced, missing] = lost;
            let _ = writeln!(
                more,
                "  {shown}: since the start, of {} events {dropped} were dropped and {replaced} replaced; {missing} \
                 more are missing",
                word(&all["read"])
            );
        }
    }
    let header = [&["stream", "state"][..], &counts, &["bytes waiting", "source"]].concat();
    table(out, &header, rows);
    out.push_str(&more);
}

/// The state of a stream's source.
fn state(stream: &Value) -> String {
    let is_active = stream["active"] == Value::Bool(true);
    match (stream["source"].as_str(), is_active) {
        (Some("open"), true) if stream["read"].as_u64() == Some(0) => "waiting for events".into(),
        (Some("open"), true) => "receiving".into(),
        (Some("closed"), false) => "not in this scan".into(),
        (_, true) => word(&stream["source"]),
        (_, false) => format!("{} (not in this scan)", word(&stream["source"])),
    }
}

/// Whether a detector is connected; `None` if the source cannot tell.
fn connection(connection: &Value) -> Option<String> {
    let at = |word: &str| match connection["address"].as_str() {
        Some(address) => format!(" {word} {}", plain(address)),
        None => String::new(),
    };
    let since = word(&connection["since"]);
    match connection["connected"].as_bool()? {
        true => Some(format!("detector connected{} since {since}", at("from"))),
        false => Some(format!("no detector connected{} since {since}", at("at"))),
    }
}

/// `12 messages`, `2.0 KiB`, `3 lost on the way`
fn received(what: &str, count: &Value) -> String {
    if what == "bytes" { bytes(count) } else { format!("{} {}", word(count), what.replace('_', " ")) }
}

/// The copies of plugin files; a frame that was not returned is still held by a queue, a worker's message or the network.
fn generations(out: &mut String, generations: &Value) {
    let row = |generation: &Value| {
        let mut row = words(generation, ["stream", "state", "frames_given", "frames_returned"]);
        let sha256 = word(&generation["sha256"]).chars().take(12).collect();
        row.extend([sha256, word(&generation["source"])]);
        row
    };
    let rows: Vec<_> = list(generations).map(row).collect();
    if !rows.is_empty() {
        out.push_str("\nplugin files loaded\n");
        table(out, &["stream", "state", "frames given", "released", "sha256", "plugin"], rows);
    }
}

/// The latest swaps of sources, newest first.
fn swaps(out: &mut String, swaps: &Value) {
    let row = |swap: &Value| {
        let old = &swap["old"];
        let frames = match old["settled_at"].as_str() {
            Some(_) => format!("all {} released", word(&old["frames"])),
            None if old.is_null() => "-".into(),
            None => format!("{} of {} released", word(&old["frames_returned"]), word(&old["frames"])),
        };
        let state = match swap["state"].as_str() {
            Some("pending") => "takes over when the next scan starts".into(),
            Some("effective") => format!("since scan {}", word(&swap["effective_scan"])),
            Some("superseded") => format!("overridden by swap {}", word(&swap["superseded_by"])),
            Some("refused") => {
                format!(
                    "refused: {}",
                    plain(swap["problem"].as_str().and_then(|why| why.lines().next()).unwrap_or("-"))
                )
            }
            _ => word(&swap["state"]),
        };
        let to = if swap["to"].is_null() { word(&swap["asked_for"]) } else { source(&swap["to"]) };
        vec![word(&swap["number"]), word(&swap["stream"]), word(&swap["asked_by"]), to, state, frames]
    };
    let rows: Vec<_> = list(swaps).rev().take(SWAPS).map(row).collect();
    if !rows.is_empty() {
        out.push_str("\nswaps, newest first\n");
        table(out, &["swap", "stream", "asked by", "to", "state", "frames of the old source"], rows);
    }
}

/// Number of swaps that are shown; /swaps has all that are kept.
const SWAPS: usize = 10;

fn workers(out: &mut String, ingester: &Value) {
    let now = SystemTime::UNIX_EPOCH.elapsed().map_or(0.0, |now| now.as_secs_f64());
    let row = |worker: &Value| {
        let seen = worker["last_seen"].as_f64().filter(|seen| *seen > 0.0);
        let connected = if worker["connected"] == Value::Bool(true) { "yes" } else { "no" };
        let seen = seen.map_or("never".into(), |seen| format!("{:.1} s ago", (now - seen).max(0.0)));
        let mut row = vec![word(&worker["name"]), connected.into(), seen];
        row.extend(words(worker, ["sent", "waiting", "dropped"]));
        row
    };
    let rows: Vec<_> = list(&ingester["workers"]).map(row).collect();
    if rows.is_empty() {
        out.push_str("  no worker is connected\n");
        return;
    }
    table(out, &["worker", "connected", "last ping", "sent", "waiting", "dropped"], rows);
}

fn table(out: &mut String, header: &[&str], rows: Vec<Vec<String>>) {
    let mut table = Table::new();
    let rows = rows.into_iter().map(|row| row.iter().map(|text| cell(text)).collect::<Vec<_>>());
    table.load_style(presets::NOTHING).set_header(header.iter().copied()).add_rows(rows);
    for (index, title) in header.iter().enumerate() {
        let is_text =
            ["stream", "source", "worker", "connected", "state", "sha256", "plugin", "to", "asked by"].contains(title);
        if let Some(column) = table.column_mut(index).filter(|_| !is_text) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    for line in table.to_string().lines() {
        let _ = writeln!(out, " {}", line.trim_end());
    }
}

/// What a counter counts; its id, if this version does not know it.
fn counter(id: &str) -> String {
    Counter::with_id(id).map_or_else(|| plain(id), Counter::in_a_line)
}

/// A text or a number.
fn word(value: &Value) -> String {
    match value {
        Value::String(text) => plain(text),
        Value::Null => "-".into(),
        value => value.to_string(),
    }
}

/// The words of these keys, as cells of a row.
fn words<const N: usize>(value: &Value, keys: [&str; N]) -> Vec<String> {
    keys.map(|key| word(&value[key])).into()
}

fn bytes(value: &Value) -> String {
    value.as_u64().map_or("-".into(), |bytes| ByteSize(bytes).to_string())
}

fn list(value: &Value) -> impl DoubleEndedIterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn entries(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn everything_that_was_lost_is_shown_with_its_reason() {
        let mut status = json!({
            "version": "1.2.3", "pid": 7, "uptime_seconds": 61.5,
            "control": { "driver": "redis", "address": "r:6379/0", "state": "down", "since": "10:00", "counters": { "updates_invalid": 3 },
                "last_problem": { "at": "11:00", "what": "refused" } },
            "sources": [{ "stream": "eiger", "source": "stins 0.1.0 (/x/libstins.so)" }],
            "generations": [{ "stream": "eiger", "source": "stins 0.1.0", "sha256": "0123456789abcdef", "state": "loaded",
                "frames_given": 901, "frames_returned": 889 }],
            "swaps": [
                { "number": 3, "stream": "eiger", "state": "effective", "asked_by": "command", "effective_scan": "a-scan",
                  "to": { "name": "mine", "version": "2.0", "file": "/x/libmine.so", "sha256": "0123456789abcdef", "abi": "1.0" },
                  "old": { "frames": 14, "frames_returned": 12, "settled_at": null } },
                { "number": 4, "stream": "eiger", "state": "refused", "asked_by": "api", "asked_for": "other", "to": null,
                  "problem": "no file [FG-ABI-FIND]\n  look", "old": null },
            ],
            "ingesters": [{
                "name": "e-ingester", "url": "tcp://h:10000", "state": "running", "ready": "the-scan", "processed_events": 12,
                "event_rate": 3.25, "memory_used": 2048, "memory_limit": 1 << 30, "assignments_waiting": 4,
                "streams": { "eiger": { "active": true, "source": "open", "read": 20, "forwarded": 11, "dropped": 5,
                    "discarded": 3, "missing": 2, "queued": 1, "bytes_waiting": 2560,
                    "last_invalid": "no JSON at \u{1b}[2J",
                    "skipped": { "no JSON": 6, "nothing": 0 },
                    "received": { "bytes": 3072, "lost_on_the_way": 16, "messages": 17 },
                    "since_start": { "read": 200, "forwarded": 140, "dropped": 55, "discarded": 1, "replaced": 4,
                        "missing": 22 } } },
                "workers": [{ "name": "w1", "connected": true, "last_seen": 1.0, "sent": 9, "waiting": 8,
                    "dropped": 7 }],
                "workers_not_allowed": ["x1", "x2"],
                "counters": { "messages_invalid": 13, "workers_evicted": 0, "not_known_here": 1 },
                "capture": { "path": "/d.cbors", "written": 14, "not_written": 15, "bytes_waiting": 1024, "fault": "disk full" },
            }],
        });
        status["admin"] = json!("127.0.0.1:9181");
        status["ingesters"][0]["streams"]["eiger"]["connection"] =
            json!({ "connected": false, "since": "2026-01-01T09:00:00Z", "address": "tcp://d:9999" });
        status["faults"] = json!([
            { "ingester": null, "what": "ingester e: two of them", "hinders": true },
            { "ingester": "e-ingester", "what": "capture: disk full", "hinders": false },
            { "ingester": "e-ingester", "what": "stream eiger: \u{1b}[2Jit broke", "hinders": true },
        ]);
        let shown = text(&status);
        for part in [
            "framegate 1.2.3, process 7 at 127.0.0.1:9181, up 1m 1s",
            "control: redis at r:6379/0, down since 10:00",
            "entries of the controller's updates in Redis that are not updates: 3",
            "last problem, 11:00: refused",
            "! ingester e: two of them",
            "ingester e-ingester at tcp://h:10000: running",
            "scan the-scan, 12 events, 3.2 events/s, 4 assigned events not received yet, memory 2.0 KiB of 1.0 GiB",
            "stins 0.1.0 (/x/libstins.so)",
            "eiger: 6 messages skipped: no JSON",
            "eiger: last invalid message: no JSON at \\u{1b}[2J",
            "2.5 KiB",
            "eiger: no detector connected at tcp://d:9999 since 2026-01-01T09:00:00Z",
            "eiger: received 3.0 KiB, 16 lost on the way, 17 messages",
            "901       889  0123456789ab  stins 0.1.0",
            "3  eiger   command   mine 2.0 (/x/libmine.so), sha256 0123456789ab, ABI 1.0  since scan a-scan",
            "12 of 14 released",
            "4  eiger   api       other",
            "refused: no file [FG-ABI-FIND]",
            "not served, because `workers` does not allow them: x1, x2",
            "messages from the workers' side that are not pings: 13",
            "not_known_here: 1",
            "eiger: since the start, of 200 events 55 were dropped and 4 replaced; 22 more are missing",
            "capture /d.cbors: 14 events written, 15 not, 1.0 KiB wait for the disk",
            "! capture: disk full",
            "! stream eiger: \\u{1b}[2Jit broke",
        ] {
            assert!(shown.contains(part), "{part} is not in\n{shown}");
        }
        assert!(!shown.contains("evicted"), "{shown}");
    }

    #[test]
    fn a_status_of_another_version_is_shown_as_far_as_it_goes() {
        let shown = text(&json!({ "ingesters": [{ "streams": { "a": {} }, "workers": [{}] }, 3] }));
        assert!(shown.contains("ingester -"), "{shown}");
    }
}
