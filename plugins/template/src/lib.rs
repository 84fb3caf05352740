//! Source plugin for an imaginary detector: generates images at a steady rate.
#![forbid(unsafe_code)]

use std::time::{Duration, Instant};

use framegate_plugin_api::{
    Deadline, EventKind, EventSink, Frame, HostContext, Progress, RunStatus, Source, SourceError, SourceRun,
    export_source,
};
use serde::Deserialize;

/// The settings under `[ingester.stream.settings]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Images in each scan.
    pub images: u32,
    /// Bytes per image.
    #[serde(default = "image_bytes")]
    pub bytes: usize,
    /// Images per second.
    #[serde(default = "rate")]
    pub rate: f64,
}

fn image_bytes() -> usize {
    1 << 20
}

fn rate() -> f64 {
    100.0
}

/// Lives as long as a host uses this plugin for a stream. Holds the state that must survive between scans; makes no
/// connection.
#[derive(Debug)]
pub struct Template {
    settings: Settings,
}

/// Lives for one scan.
#[derive(Debug)]
pub struct Run {
    settings: Settings,
    /// Images given so far.
    given: u32,
    opened: Instant,
}

impl Source for Template {
    type Settings = Settings;
    type Run = Run;

    const PROTOCOL: &'static str = "template";

    fn create(settings: Settings, _host: HostContext) -> Result<Self, SourceError> {
        if !(settings.rate > 0.0 && settings.rate <= 1e6) {
            return Err(SourceError::settings("settings.rate: expected a number above 0 and at most 1000000"));
        }
        Ok(Self { settings })
    }

    fn open(&mut self) -> Result<Run, SourceError> {
        // Connect here: what the detector sends after `open` has returned must not be lost.
        tracing::info!(images = self.settings.images, "a run begins");
        Ok(Run { settings: self.settings.clone(), given: 0, opened: Instant::now() })
    }
}

impl Run {
    /// The time of the next image.
    fn due(&self) -> Instant {
        self.opened + Duration::from_secs_f64(f64::from(self.given) / self.settings.rate)
    }
}

impl SourceRun for Run {
    fn next(&mut self, out: &mut EventSink<'_>, deadline: Deadline) -> Result<Progress, SourceError> {
        // Wait for the detector here, no longer than the deadline allows (`host.wait_readable` does it for a socket); then
        // yield what has arrived.
        let wait = self.due().saturating_duration_since(Instant::now());
        std::thread::sleep(wait.min(deadline.left()));
        while !out.is_full() && self.given < self.settings.images && Instant::now() >= self.due() {
            let mut image = vec![0; self.settings.bytes];
            for (place, byte) in image.iter_mut().zip(self.given.to_le_bytes()) {
                *place = byte;
            }
            // The vector's memory is sent as it is; nothing copies it.
            out.push("TEMPLATE", EventKind::Data, [Frame::from_vec(image)]);
            self.given += 1;
        }
        Ok(match (self.given == self.settings.images, out.is_full()) {
            (true, _) => Progress::End,
            (false, true) => Progress::More,
            (false, false) => Progress::Idle,
        })
    }

    fn status(&self) -> RunStatus {
        RunStatus { counters: vec![("images", u64::from(self.given))], ..RunStatus::default() }
    }
}

export_source!(Template);
