//! Exclusive sources that take over from each other.

use std::sync::{Mutex, PoisonError};

use framegate_plugin_api::{Deadline, EventSink, HostContext, Progress, Source, SourceError, SourceRun};
use serde_json::{Value, json};

use super::*;
use crate::{
    budget::Account,
    names::StreamName,
    settings::{StreamSettings, WhenFull},
    source::{factory::linked, queue::Space},
    wake::Wake,
};

/// What happened to the sources of each stream.
static NOTES: Mutex<Vec<(String, String)>> = Mutex::new(Vec::new());

/// An exclusive source that notes its life.
struct Only {
    host: HostContext,
    name: String,
}

struct NoRun;

#[derive(serde::Deserialize)]
struct OnlySettings {
    name: String,
    /// `create` fails.
    fails: bool,
}

fn note(stream: &str, what: String) {
    NOTES.lock().unwrap_or_else(PoisonError::into_inner).push((stream.to_owned(), what));
}

fn notes(stream: &str) -> Vec<String> {
    let notes = NOTES.lock().unwrap_or_else(PoisonError::into_inner);
    notes.iter().filter(|(of, _)| of == stream).map(|(_, what)| what.clone()).collect()
}

impl Source for Only {
    type Settings = OnlySettings;
    type Run = NoRun;
    const PROTOCOL: &'static str = "only";
    const EXCLUSIVE: bool = true;

    fn create(OnlySettings { name, fails }: OnlySettings, host: HostContext) -> Result<Self, SourceError> {
        // The order of the scan that it is created for is not a reason to stop.
        let stops = if host.stop_requested() { ", which should stop" } else { "" };
        note(host.stream(), format!("create {name}{stops}"));
        if fails { Err(SourceError::internal("no")) } else { Ok(Self { host, name }) }
    }
    fn open(&mut self) -> Result<NoRun, SourceError> {
        Ok(NoRun)
    }
    fn parameters(&self) -> Vec<framegate_plugin_api::Parameter> {
        ["gain", "shift"].map(|name| framegate_plugin_api::Parameter::new(name, "A number", 1)).into()
    }
    fn set_parameter(&mut self, name: &str, value: &[u8]) -> Result<(), SourceError> {
        note(self.host.stream(), format!("{name} of {} = {}", self.name, String::from_utf8_lossy(value)));
        Ok(())
    }
}

impl Drop for Only {
    fn drop(&mut self) {
        note(self.host.stream(), format!("drop {}", self.name));
    }
}

impl SourceRun for NoRun {
    fn next(&mut self, _: &mut EventSink<'_>, _: Deadline) -> Result<Progress, SourceError> {
        Ok(Progress::End)
    }
}

fn feed(stream: &str, settings: Value, parameters: &[(&str, &str)]) -> Feed {
    let settings = StreamSettings {
        parameters: parameters.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
        ..StreamSettings::new(StreamName::new(stream).unwrap(), "only", settings)
    };
    Feed { settings, factory: linked::<Only>() }
}

/// A reader whose source is ready, and whether it is created.
fn start(feed: Feed, before: Option<&Feed>) -> (Reader, bool) {
    let (reader, ready) = Reader::start(feed, before.cloned().into_iter().collect()).unwrap();
    let ready = ready.recv().unwrap().unwrap();
    (reader, ready.is_some())
}

fn scan(from: Option<TakeOver>) -> Order {
    let queue = Queue::new(WhenFull::Block, Account::new(1000, || ()), Arc::<Space>::default(), Wake::new().unwrap());
    Order::Scan { queue, opens: false, from }
}

/// Lets `new` take over from `old`.
fn take_over(new: &Reader, old: Reader, until: Instant) -> TookOver {
    let (done, took) = mpsc::channel();
    let done = Box::new(move |took| done.send(took).unwrap());
    new.order(scan(Some(TakeOver { old, until, done })));
    took.recv().unwrap()
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(10)
}

#[test]
fn the_source_that_is_made_again_is_the_one_that_fed_the_stream_last() {
    let of =
        |name: &str, fails: bool, parameters: &[_]| feed("again", json!({ "name": name, "fails": fails }), parameters);
    let first_feed = of("first", false, &[]);
    let (first, is_made) = start(first_feed.clone(), None);
    assert!(is_made);
    // Both are requested while the first one feeds the stream.
    let (second, is_made) = start(of("second", false, &[("gain", "2")]), Some(&first_feed));
    assert!(!is_made, "only one can be there");
    let (new, _) = start(of("new", true, &[("shift", "3")]), Some(&first_feed));
    new.order(Order::SetParameter { name: "gain".to_owned(), value: Arc::from(&b"4"[..]) });

    let took = take_over(&second, first, soon());
    assert!(took.old.has_ended() && took.failed.is_none() && took.parameters.len() == 2, "{took:?}");
    let took = take_over(&new, second, soon());
    let failed = took.failed.unwrap();
    assert!(failed.nothing.is_none() && failed.problem.to_string().contains("no"), "{failed:?}");
    assert_eq!(took.feed.settings.settings["name"], "second");
    assert_eq!(new.shared.feed().settings, took.feed.settings);
    // With its own configured parameters, and what was set at run time.
    let expected = [
        "create first",
        "drop first",
        "create second",
        "gain of second = 2",
        "drop second",
        "create new",
        "create second",
        "gain of second = 4",
    ];
    assert_eq!(notes("again"), expected);
}

#[test]
fn the_code_of_a_source_that_hangs_is_not_used_again() {
    let of = |name: &str, fails: bool| feed("hangs", json!({ "name": name, "fails": fails }), &[]);
    let (old_feed, (ancient, _)) = (of("old", false), start(of("ancient", false), None));
    let (old, _) = start(old_feed.clone(), None);
    let (end, hangs) = mpsc::channel::<()>();
    let done = Box::new(move |_| _ = hangs.recv());
    old.order(scan(Some(TakeOver { old: ancient, until: soon(), done })));
    let (new, _) = start(of("new", true), Some(&old_feed));
    let took = take_over(&new, old, Instant::now());
    assert!(!took.old.has_ended() && took.failed.unwrap().nothing.is_some());
    let creates: Vec<_> = notes("hangs").into_iter().filter(|note| note.starts_with("create")).collect();
    assert_eq!(creates[2..], ["create new"], "{creates:?}");
    drop(end);
}
