//! A source controlled by a test: waits in `open` or before its events, and has run-time parameters of all types, whose
//! values it keeps.
//!
//! It is linked into the test's process, so the test can read the values.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Mutex, PoisonError},
    thread,
    time::Duration,
};

use framegate_plugin_api::{
    Deadline, EventKind, EventSink, Frame, HostContext, OnDemand, OnDemandRun, Parameter, ParameterValue, Progress,
    Source, SourceError, SourceRun,
};

/// See the module.
#[derive(Debug)]
pub struct Played {
    settings: PlayedSettings,
    host: HostContext,
}

/// What it waits for.
#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlayedSettings {
    /// `open` returns only when this file exists.
    open_when: Option<PathBuf>,
    /// `open` fails.
    #[serde(default)]
    fails: bool,
    /// Each run yields this many events of 64 bytes, as fast as possible, and ends; it starts when `flow_when` exists.
    #[serde(default)]
    events: u64,
    flow_when: Option<PathBuf>,
}

/// A run with events that contain their number, or without events.
#[derive(Debug)]
pub struct PlayedRun {
    stream: String,
    next: u64,
    events: u64,
    flow_when: Option<PathBuf>,
}

type Value = (String, String, Vec<u8>);

static VALUES: Mutex<Vec<Value>> = Mutex::new(Vec::new());

/// The values set for this stream's source, in order.
pub fn values(stream: &str) -> Vec<(String, Vec<u8>)> {
    let values = VALUES.lock().unwrap_or_else(PoisonError::into_inner);
    let own = values.iter().filter(|(of, _, _)| of == stream);
    own.map(|(_, name, value)| (name.clone(), value.clone())).collect()
}

static GIVEN: Mutex<BTreeMap<String, u64>> = Mutex::new(BTreeMap::new());

/// Number of events that this stream's source has yielded, in all its runs.
pub fn given(stream: &str) -> u64 {
    GIVEN.lock().unwrap_or_else(PoisonError::into_inner).get(stream).copied().unwrap_or(0)
}

impl Source for Played {
    type Settings = PlayedSettings;
    type Run = PlayedRun;

    const PROTOCOL: &'static str = "played";

    fn create(settings: PlayedSettings, host: HostContext) -> Result<Self, SourceError> {
        Ok(Self { settings, host })
    }

    fn open(&mut self) -> Result<PlayedRun, SourceError> {
        while self.settings.open_when.as_ref().is_some_and(|path| !path.exists()) {
            thread::sleep(Duration::from_millis(5));
        }
        if self.settings.fails {
            return Err(SourceError::connect("it is made to fail"));
        }
        let stream = self.host.stream().to_owned();
        Ok(PlayedRun { stream, next: 0, events: self.settings.events, flow_when: self.settings.flow_when.clone() })
    }

    fn parameters(&self) -> Vec<Parameter> {
        let one = |name: &str, default: ParameterValue| Parameter::new(name, format!("The {name} of it"), default);
        vec![
            one("text", "grün \"x\"".into()),
            one("mask", ParameterValue::Binary("AB".to_owned())),
            one("count", (-5).into()),
            one("gain", 2.0.into()),
            one("on", true.into()),
        ]
    }

    fn set_parameter(&mut self, name: &str, value: &[u8]) -> Result<(), SourceError> {
        if name == "count" && std::str::from_utf8(value).ok().and_then(|text| text.parse::<i64>().ok()).is_none() {
            return Err(SourceError::settings(format!("{:?} is no whole number", String::from_utf8_lossy(value))));
        }
        let value = (self.host.stream().to_owned(), name.to_owned(), value.to_vec());
        VALUES.lock().unwrap_or_else(PoisonError::into_inner).push(value);
        Ok(())
    }
}

impl SourceRun for PlayedRun {
    fn next(&mut self, out: &mut EventSink<'_>, deadline: Deadline) -> Result<Progress, SourceError> {
        if self.events == 0 || self.flow_when.as_ref().is_some_and(|path| !path.exists()) {
            thread::sleep(deadline.left().min(Duration::from_millis(10)));
            return Ok(Progress::Idle);
        }
        self.flow_when = None;
        let first = self.next;
        while self.next < self.events && !out.is_full() {
            let mut bytes = vec![0; 64];
            bytes[..8].copy_from_slice(&self.next.to_le_bytes());
            out.push("played", EventKind::Data, [Frame::from_vec(bytes)]);
            self.next += 1;
        }
        *GIVEN.lock().unwrap_or_else(PoisonError::into_inner).entry(self.stream.clone()).or_default() +=
            self.next - first;
        Ok(if self.next < self.events { Progress::More } else { Progress::End })
    }
}

/// A source that is asked for each event, and answers when this file exists.
#[derive(Debug, Clone, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Asked {
    answers_when: PathBuf,
}

impl Source for Asked {
    type Settings = Self;
    type Run = OnDemand<Self>;

    const PROTOCOL: &'static str = "asked";

    fn create(settings: Self, _: HostContext) -> Result<Self, SourceError> {
        Ok(settings)
    }

    fn open(&mut self) -> Result<OnDemand<Self>, SourceError> {
        Ok(OnDemand(self.clone()))
    }
}

impl OnDemandRun for Asked {
    fn trigger(&mut self, event_number: u64, out: &mut EventSink<'_>) -> Result<(), SourceError> {
        while !self.answers_when.exists() {
            thread::sleep(Duration::from_millis(5));
        }
        out.push("asked", EventKind::Data, [Frame::from_vec(event_number.to_le_bytes().into())]);
        Ok(())
    }
}
