//! Source plugin for a thermometer that is read once for each event: an example of a stream without a detector of its own.
//!
//! The host asks for an event when the other streams of the same ingester have delivered their events with this number;
//! if there are no other streams, at once. If a detector decides when events come, start from `plugins/template`.
#![forbid(unsafe_code)]

use framegate_plugin_api::{
    EventKind, EventSink, Frame, HostContext, OnDemand, OnDemandRun, Source, SourceError, export_source,
};
use serde::Deserialize;

/// The settings under `[ingester.stream.settings]`.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The temperature in kelvin; a real thermometer would have an address instead.
    #[serde(default = "temperature")]
    pub temperature: f64,
}

/// The temperature of dranspose's example, which this plugin replaces (`examples/dummy/sw_trig_ingester.py`).
fn temperature() -> f64 {
    315.15
}

/// Lives as long as a host uses this plugin for a stream.
#[derive(Debug)]
pub struct Thermometer {
    settings: Settings,
}

/// Lives for one scan.
#[derive(Debug)]
pub struct Run {
    settings: Settings,
}

impl Source for Thermometer {
    type Settings = Settings;
    type Run = OnDemand<Run>;

    const PROTOCOL: &'static str = "on-demand-example";

    fn create(settings: Settings, _host: HostContext) -> Result<Self, SourceError> {
        if !(settings.temperature.is_finite() && settings.temperature >= 0.0) {
            return Err(SourceError::settings("settings.temperature: expected a number of kelvin, from 0 on"));
        }
        Ok(Self { settings })
    }

    fn open(&mut self) -> Result<OnDemand<Run>, SourceError> {
        // Connect to the instrument here, and keep the connection in the run.
        Ok(OnDemand(Run { settings: self.settings }))
    }
}

impl OnDemandRun for Run {
    fn trigger(&mut self, _event_number: u64, out: &mut EventSink<'_>) -> Result<(), SourceError> {
        // Read the instrument here. It must answer soon: the events of all streams wait for it.
        let reading = format!(r#"{{"temperature": {}}}"#, self.settings.temperature);
        out.push("JSON", EventKind::Data, [Frame::from_vec(reading.into_bytes())]);
        Ok(())
    }
}

export_source!(Thermometer);
