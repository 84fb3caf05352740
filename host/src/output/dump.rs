//! The capture writer (placeholder, replaced by the real one).
use crate::{
    ingester::report::CaptureReport,
    names::{ScanId, StreamName},
    settings::CaptureWhenFull,
};
use framegate_plugin_api::Event;
use std::{path::PathBuf, sync::Arc};
#[derive(Debug)]
pub(crate) struct DumpSettings {
    pub(crate) limit_bytes: u64,
    pub(crate) when_full: CaptureWhenFull,
}
#[derive(Debug)]
pub(crate) struct Captured {
    pub(crate) number: u64,
    pub(crate) created_at: String,
    pub(crate) streams: Vec<(StreamName, Arc<Event>)>,
}
#[derive(PartialEq)]
pub(crate) enum Wrote {
    Queued,
    Skipped,
    Full,
}
#[derive(Debug)]
pub(crate) struct Dump {
    closed: Option<ScanId>,
}
impl Dump {
    pub(crate) fn start(_: DumpSettings, _ring: Arc<dyn Fn() + Send + Sync>) -> std::io::Result<Self> {
        Ok(Self { closed: None })
    }
    pub(crate) fn open(&mut self, _: PathBuf) {}
    pub(crate) fn write(&mut self, _: &Captured) -> Wrote {
        Wrote::Skipped
    }
    pub(crate) fn close(&mut self, tag: ScanId) {
        self.closed = Some(tag)
    }
    pub(crate) fn closed(&self) -> Option<ScanId> {
        self.closed
    }
    pub(crate) fn report(&self) -> Option<CaptureReport> {
        None
    }
    pub(crate) fn join(self, _: std::time::Instant) {}
}
