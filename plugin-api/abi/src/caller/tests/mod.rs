//! Tests both sides of the tables against each other: a source that follows a test's script, and tables that break the
//! rules.

mod lies;

use std::{
    io::{PipeReader, pipe},
    os::fd::{AsFd as _, BorrowedFd},
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use super::*;
use crate::{
    batch::{Batch, BatchWriter, RawEvent},
    codes::{Connected, LogLevel},
    frame::Frame,
    host::HostTable,
    raw::RawFrame,
    status::StatusWriter,
};

const LIMITS: Limits = Limits { events: 64, bytes: 1 << 20 };

/// A host that keeps what is logged.
struct Heard(Mutex<Vec<String>>, PipeReader);

impl Default for Heard {
    fn default() -> Self {
        Self(Mutex::default(), pipe().unwrap().0)
    }
}

impl HostServices for Heard {
    fn log(&self, level: LogLevel, message: &str) {
        self.0.lock().unwrap().push(format!("{level:?} {message}"));
    }
    fn stop_requested(&self) -> bool {
        true
    }
    fn stop_descriptor(&self) -> BorrowedFd<'_> {
        self.1.as_fd()
    }
}

/// Counts its drops; its drop may panic.
struct Counted(Vec<u8>, Arc<AtomicUsize>, bool);

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.1.fetch_add(1, Ordering::SeqCst);
        assert!(!self.2, "a drop that panics");
    }
}

thread_local! {
    /// The number of calls of a scripted source on this thread, and how often its frames and the source were dropped.
    static DROPS: Arc<AtomicUsize> = Arc::default();
    static CALLS: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
    static DROPPED: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

fn drops() -> usize {
    DROPS.with(|drops| drops.load(Ordering::SeqCst))
}

/// Acts as its settings say.
struct Scripted<const ON_DEMAND: bool> {
    script: String,
    host: Arc<dyn HostServices>,
}

impl<const ON_DEMAND: bool> Scripted<ON_DEMAND> {
    fn act(&self, call: &str) -> Result<(), SourceError> {
        CALLS.set(CALLS.get() + 1);
        if self.script == format!("{call} panics") {
            // A payload whose own drop panics: the worst case.
            std::panic::panic_any(Counted(Vec::new(), Arc::default(), true));
        }
        if self.script == format!("{call} fails") { Err(SourceError::protocol("as asked")) } else { Ok(()) }
    }
}

impl<const ON_DEMAND: bool> guard::Plugin for Scripted<ON_DEMAND> {
    const PROTOCOL: &'static str = "scripted";
    const EXCLUSIVE: bool = true;
    const ON_DEMAND: bool = ON_DEMAND;

    fn create(stream: &str, settings: &str, host: Arc<dyn HostServices>) -> Result<Self, SourceError> {
        let new = Self { script: settings.to_owned(), host };
        new.host.log(LogLevel::Info, &format!("{stream} is created"));
        new.act("create")?;
        Ok(new)
    }
    fn open(&mut self) -> Result<(), SourceError> {
        self.act("open")
    }
    fn next(&mut self, out: &mut BatchWriter, _: Duration) -> Result<Progress, SourceError> {
        let frames = if self.script == "many frames" { 1000 } else { 3 };
        let events = if self.script == "many events" { 1000 } else { 2 };
        for _ in 0..events {
            let panics = self.script == "drops panic";
            let frame = |n: usize| Frame::from_owner(Counted(vec![n as u8; n], DROPS.with(Arc::clone), panics));
            out.push("SCRIPT", EventKind::Data, (0..frames).map(frame));
            if self.script == "panics among frames" {
                let frames = (0..frames).map(|n| if n < 2 { frame(n) } else { panic!("among frames") });
                out.push("SCRIPT", EventKind::Data, frames);
            }
        }
        self.act("next")?;
        Ok(Progress::More)
    }
    fn trigger(&mut self, event_number: u64, out: &mut BatchWriter) -> Result<(), SourceError> {
        out.push("SCRIPT", EventKind::Start, [Frame::from_vec(event_number.to_le_bytes().into())].into_iter());
        self.act("trigger")
    }
    fn held_back(&mut self) {}
    fn close(&mut self) {
        self.act("close").unwrap();
    }
    fn parameters(&self) -> String {
        self.act("parameters").unwrap();
        "[1]".to_owned()
    }
    fn set_parameter(&mut self, name: &str, value: &[u8]) -> Result<(), SourceError> {
        self.host.log(LogLevel::Debug, &format!("{name} = {value:?}"));
        self.act("set_parameter")
    }
    fn status(&self, form: &mut StatusWriter<'_>) {
        self.act("status").unwrap();
        form.counter("messages", 12);
        form.skipped("junk", 5);
        form.skipped("more junk", 6);
        form.bytes_waiting(7);
        if self.script.starts_with("wrong") {
            form.last_invalid(&self.script);
        }
        if self.script == "connected" {
            form.connected(Connected::Yes, Duration::from_secs(5), Some("tcp://detector:1"));
        }
    }
}

impl<const ON_DEMAND: bool> Drop for Scripted<ON_DEMAND> {
    fn drop(&mut self) {
        DROPPED.set(DROPPED.get() + 1);
        let _ = self.act("drop");
    }
}

fn plugin() -> (Plugin, &'static Ledger) {
    let ledger: &'static Ledger = Box::leak(Box::default());
    (Plugin::linked::<Scripted<false>>(ledger).unwrap(), ledger)
}

fn on_demand() -> Plugin {
    Plugin::linked::<Scripted<true>>(Box::leak(Box::default())).unwrap()
}

fn open(script: &str) -> Instance {
    let mut instance = plugin().0.create("s", script, Arc::new(Heard::default())).unwrap();
    instance.open().unwrap();
    instance
}

/// The events of one call, each with its type and frames.
type Events = Vec<(&'static str, Vec<Frame>)>;

fn next(instance: &mut Instance) -> (Events, Result<Progress, Fault>) {
    let mut events = Vec::new();
    let outcome = instance.next(LIMITS, Duration::ZERO, |typ, _, frames| events.push((typ, frames.collect())));
    (events, outcome)
}

#[test]
fn events_cross_with_their_frames_and_come_back_once_on_any_thread() {
    let (plugin, ledger) = plugin();
    let mut instance = plugin.create("s", "", Arc::new(Heard::default())).unwrap();
    assert!(plugin.is_exclusive() && !instance.on_demand());
    instance.open().unwrap();
    let (events, outcome) = next(&mut instance);
    assert_eq!(outcome.unwrap(), Progress::More);
    assert_eq!(events.len(), 2);
    assert_eq!((events[1].0, events[1].1[2].as_slice()), ("SCRIPT", &[2, 2][..]));
    assert_eq!((ledger.delivered(), ledger.released(), drops()), (6, 0, 0));
    drop(instance);
    let before = drops();
    std::thread::spawn(move || drop(events)).join().unwrap();
    assert_eq!((before, drops(), ledger.released()), (0, 6, 6));
}

#[test]
fn an_event_of_more_frames_than_there_is_room_for_asks_for_more() {
    let (events, outcome) = next(&mut open("many frames"));
    outcome.unwrap();
    assert_eq!(events.iter().map(|(_, frames)| frames.len()).collect::<Vec<_>>(), [1000, 1000]);
    assert_eq!(events[1].1[999].as_slice(), vec![231; 999]);
    let (events, outcome) = next(&mut open("many events"));
    outcome.unwrap();
    assert_eq!(events.len(), 1000);
}

#[test]
fn a_drop_that_panics_is_counted_like_any_other() {
    let (events, _) = next(&mut open("drops panic"));
    drop(events);
    assert_eq!(drops(), 6);
}

#[test]
fn events_before_an_error_count_and_are_released() {
    let mut instance = open("next fails");
    let (events, outcome) = next(&mut instance);
    assert_eq!(events.len(), 2);
    let Err(Fault::Source(error)) = outcome else { panic!("{outcome:?}") };
    assert_eq!((error.kind(), error.message()), (ErrorKind::Protocol, "as asked"));
    drop(events);
    assert_eq!(drops(), 6);
    // After an error (no panic) the source is called again.
    assert_eq!(next(&mut instance).0.len(), 2);
}

#[test]
fn a_panic_among_the_frames_of_an_event_costs_this_event_only() {
    let mut instance = open("panics among frames");
    let (events, outcome) = next(&mut instance);
    assert!(matches!(outcome, Err(Fault::Panicked { call: "next", .. })), "{outcome:?}");
    assert_eq!((events.len(), events[0].1.len(), drops()), (1, 3, 2));
    drop(events);
    assert_eq!(drops(), 5);
}

#[test]
fn frames_that_nobody_takes_are_released() {
    let mut instance = open("");
    instance.next(LIMITS, Duration::ZERO, |_, _, _| {}).unwrap();
    assert_eq!(drops(), 6);
}

#[test]
fn a_source_that_panicked_is_dropped_at_once_and_never_called_again() {
    for call in ["open", "next", "close", "set_parameter", "trigger", "parameters", "status"] {
        let host = Arc::new(Heard::default());
        let plugin = if call == "trigger" { on_demand() } else { plugin().0 };
        let mut instance = plugin.create("s", &format!("{call} panics"), host.clone()).unwrap();
        let outcome = match call {
            "set_parameter" => instance.set_parameter("p", b"1"),
            "parameters" => instance.parameters().map(drop),
            "status" => instance.open().and_then(|()| instance.status().map(drop)),
            "open" => instance.open(),
            "close" => instance.open().and_then(|()| instance.close()),
            "trigger" => instance.open().and_then(|()| instance.trigger(5, LIMITS, |_, _, _| {})),
            _ => instance.open().and_then(|()| next(&mut instance).1.map(|_| ())),
        };
        assert!(matches!(&outcome, Err(Fault::Panicked { call: at, .. }) if *at == call), "{call}: {outcome:?}");
        // The source's resources are free for the next instance, and the host's context was released.
        assert_eq!((DROPPED.replace(0), Arc::strong_count(&host)), (1, 1), "{call}");
        assert!(instance.poison().unwrap().contains(&format!("{call} panicked")));
        let calls = CALLS.get();
        let again = instance.open();
        let Err(Fault::Poisoned(earlier)) = &again else { panic!("{call}: {again:?}") };
        assert!(earlier.contains(&format!("{call} panicked")), "{earlier}");
        assert!(matches!(instance.parameters(), Err(Fault::Poisoned(_))));
        // The plugin's side is poisoned too, in case the host forgets it.
        instance.poison = None;
        assert!(matches!(instance.open(), Err(Fault::Poisoned(_))), "{call}");
        drop(instance);
        assert_eq!(CALLS.get(), calls, "{call}");
    }
}

#[test]
fn a_panic_in_create_and_in_drop_ends_at_the_boundary() {
    let host = Arc::new(Heard::default());
    let outcome = plugin().0.create("s", "create panics", host.clone());
    assert!(matches!(outcome, Err(Fault::Panicked { call: "create", .. })), "{outcome:?}");
    assert_eq!(Arc::strong_count(&host), 1, "its context was given back");
    drop(open("drop panics"));
}

#[test]
fn the_hosts_services_cross_and_come_back() {
    let host = Arc::new(Heard::default());
    let plugin = on_demand();
    let mut instance = plugin.create("eiger", "", host.clone()).unwrap();
    assert!(plugin.on_demand() && instance.on_demand());
    instance.set_parameter("size", &[1, 2]).unwrap();
    assert_eq!(instance.parameters().unwrap().unwrap(), "[1]");
    instance.open().unwrap();
    // It has no `next`, so it is never called.
    assert!(matches!(next(&mut instance), (events, Ok(Progress::End)) if events.is_empty()));
    let mut triggered = Vec::new();
    instance.trigger(258, LIMITS, |_, kind, frames| triggered.push((kind, frames.collect::<Vec<_>>()))).unwrap();
    assert_eq!((triggered[0].0, triggered[0].1[0].as_slice()[0]), (EventKind::Start, 2));
    assert_eq!(*host.0.lock().unwrap(), ["Info eiger is created", "Debug size = [1, 2]"]);
    drop(instance);
    assert_eq!(Arc::strong_count(&host), 1);
}

#[test]
fn what_a_run_tells_crosses_as_long_as_it_is_open() {
    let mut instance = plugin().0.create("s", "", Arc::new(Heard::default())).unwrap();
    assert_eq!(instance.status().unwrap(), RunStatus::default());
    instance.open().unwrap();
    let told = RunStatus {
        counters: vec![("messages".to_owned(), 12)],
        skipped: vec![("junk".to_owned(), 5), ("more junk".to_owned(), 6)],
        bytes_waiting: 7,
        ..RunStatus::default()
    };
    assert_eq!(instance.status().unwrap(), told);
    assert_eq!(open("wrong way").status().unwrap().last_invalid, "wrong way");
    let status = open("connected").status().unwrap();
    assert_eq!((status.connected, &*status.peer), (Some((true, Duration::from_secs(5))), "tcp://detector:1"));
}

#[test]
fn garbage_is_a_fault_and_its_frames_are_released() {
    static LEDGER: Ledger = Ledger::new();
    // SAFETY: a table of static functions; the caller checks everything that they answer wrongly.
    let plugin = unsafe { Plugin::new(&lies::TABLE, &LEDGER) }.unwrap();
    for lie in ["no instance", "outcome", "error kind", "error length"] {
        let outcome = plugin.create(lie, "", Arc::new(Heard::default()));
        assert!(matches!(outcome, Err(Fault::Garbage { call: "create", .. })), "{lie}: {outcome:?}");
    }
    // The plugin counts bytes that it has not written.
    let Err(Fault::Source(error)) = plugin.create("error unwritten", "", Arc::new(Heard::default())) else { panic!() };
    assert_eq!((error.kind(), error.message()), (ErrorKind::Connect, ""));
    let lies = ["progress", "kind", "typ", "long typ", "too few frames", "too many frames", "huge frames", "no data"];
    for (count, lie) in lies.into_iter().enumerate() {
        let mut instance = plugin.create(lie, "", Arc::new(Heard::default())).unwrap();
        instance.open().unwrap();
        let (events, outcome) = next(&mut instance);
        assert!(matches!(outcome, Err(Fault::Garbage { call: "next", .. })), "{lie}: {outcome:?}");
        drop(events);
        assert_eq!(drops(), count + 1, "{lie}");
        assert!(matches!(instance.open(), Err(Fault::Poisoned(_))), "{lie}");
    }
    assert_eq!(LEDGER.delivered(), LEDGER.released());
    let mut instance = plugin.create("connected", "", Arc::new(Heard::default())).unwrap();
    instance.open().unwrap();
    assert!(matches!(instance.status(), Err(Fault::Garbage { call: "status", .. })));
    // A table must have one of the two functions that give events.
    for (next, trigger) in [(None, None), (lies::TABLE.next, guard::linked::<Scripted<true>>().trigger)] {
        let table: &'static PluginTable = Box::leak(Box::new(PluginTable { next, trigger, ..lies::TABLE }));
        // SAFETY: as above.
        assert!(unsafe { Plugin::new(table, &LEDGER) }.is_err());
    }
    // The address of these frames is unknown, so they are not released.
    for lie in ["events beyond the room", "frames beyond the room"] {
        let mut instance = plugin.create(lie, "", Arc::new(Heard::default())).unwrap();
        instance.open().unwrap();
        assert!(matches!(next(&mut instance).1, Err(Fault::Garbage { .. })), "{lie}");
    }
    // A plugin may overwrite the host's own fields without effect.
    let mut instance = plugin.create("its own arrays", "", Arc::new(Heard::default())).unwrap();
    instance.open().unwrap();
    assert_eq!(next(&mut instance).0.len(), 1);
}
