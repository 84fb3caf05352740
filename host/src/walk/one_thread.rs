//! Every call of a source is made on one thread, the source's own.

use std::thread::{self, ThreadId};

use framegate_plugin_api::{EventSink, Source, SourceRun};
use serde_json::Map;

use super::*;
use crate::{ingester::report::SourceState, source::factory::linked};

/// Records each call and its thread.
struct Noted(HostContext);

struct NotedRun(HostContext);

/// Stream, call and thread.
static CALLS: Mutex<Vec<(String, &str, ThreadId)>> = Mutex::new(Vec::new());

fn note(host: &HostContext, call: &'static str) {
    CALLS.lock().unwrap().push((host.stream().to_owned(), call, thread::current().id()));
}

impl Source for Noted {
    type Settings = Map<String, Value>;
    type Run = NotedRun;
    const PROTOCOL: &'static str = "noted";

    fn create(_: Self::Settings, host: HostContext) -> Result<Self, SourceError> {
        note(&host, "create");
        Ok(Self(host))
    }
    fn open(&mut self) -> Result<NotedRun, SourceError> {
        note(&self.0, "open");
        Ok(NotedRun(self.0.clone()))
    }
    fn parameters(&self) -> Vec<framegate_plugin_api::Parameter> {
        note(&self.0, "parameters");
        vec![framegate_plugin_api::Parameter::new("gain", "A gain", 1)]
    }
    fn set_parameter(&mut self, _: &str, _: &[u8]) -> Result<(), SourceError> {
        note(&self.0, "set_parameter");
        Ok(())
    }
}

impl Drop for Noted {
    fn drop(&mut self) {
        note(&self.0, "destroy");
    }
}

impl SourceRun for NotedRun {
    fn next(&mut self, _: &mut EventSink<'_>, _: Deadline) -> Result<Progress, SourceError> {
        note(&self.0, "next");
        Ok(Progress::End)
    }
}

impl Drop for NotedRun {
    fn drop(&mut self) {
        note(&self.0, "close");
    }
}

#[test]
fn all_calls_of_a_source_are_on_one_thread_of_its_own() {
    let names = ["one-thread-a", "one-thread-b"];
    let house = house_of(names.map(|name| (name.to_owned(), json!({}), linked::<Noted>())).into(), |_| ());
    for _ in 0..2 {
        house.start(&names);
        house.wait("the ends of the runs", |report| {
            report.streams.values().all(|stream| matches!(stream.source, SourceState::Ended | SourceState::Closed))
        });
        for name in names {
            let (stream, value) = (StreamName::new(name).unwrap(), Arc::from(&b"7"[..]));
            house.command(Command::SetParameter { stream, name: "gain".to_owned(), value });
        }
    }
    let forwarder = house.thread.thread().id();
    house.stop();
    let calls = CALLS.lock().unwrap();
    let of = |name: &str| -> BTreeSet<&str> {
        calls.iter().filter(|(stream, ..)| stream == name).map(|(_, call, _)| *call).collect()
    };
    let threads = names.map(|name| {
        let all = ["close", "create", "destroy", "next", "open", "parameters", "set_parameter"];
        assert_eq!(of(name), BTreeSet::from(all), "{calls:#?}");
        let mut threads: Vec<_> =
            calls.iter().filter(|(stream, ..)| stream == name).map(|(.., thread)| *thread).collect();
        threads.dedup();
        assert_eq!(threads.len(), 1, "{calls:#?}");
        threads[0]
    });
    assert_ne!(threads[0], threads[1]);
    assert!(!threads.contains(&forwarder) && !threads.contains(&thread::current().id()));
}
