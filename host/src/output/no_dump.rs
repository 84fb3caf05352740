//! In place of `dump`, without the feature `capture`: no event is written to a file.
//!
//! Settings with a `dump_path` are refused before the start. A dranspose controller can still ask for a capture
//! (`dump_prefix`): the report then shows a capture that failed, and counts its events.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Instant,
};

use crate::{
    ingester::{PairedEvent, report::CaptureReport},
    names::ScanId,
    settings::{IngesterSettings, feature::Feature},
};

/// See the module.
#[derive(Debug)]
pub(crate) struct Dump {
    is_open: bool,
    /// The current capture, or the last one.
    last: Option<CaptureReport>,
    /// The last scan whose capture was closed.
    closed: Option<ScanId>,
    /// Number of captures that were asked for, since it was last read.
    refused: u64,
}

impl Dump {
    pub(crate) fn start(_: &IngesterSettings, _: Option<&Path>, _: Arc<dyn Fn() + Send + Sync>) -> io::Result<Self> {
        Ok(Self { is_open: false, last: None, closed: None, refused: 0 })
    }

    pub(crate) fn open(&mut self, path: PathBuf) {
        let (path, fault) = (path.display().to_string(), Feature::Capture.missing());
        tracing::error!("capture {path} is not written, forwarding continues: {fault}");
        self.is_open = true;
        self.last = Some(CaptureReport { path, fault: Some(fault), ..CaptureReport::default() });
        self.refused += 1;
    }

    pub(crate) fn is_open(&self) -> bool {
        self.is_open
    }

    pub(crate) fn holds_back(&mut self) -> bool {
        false
    }

    pub(crate) fn write(&mut self, _: &PairedEvent<'_>) -> bool {
        if let Some(report) = self.last.as_mut().filter(|_| self.is_open) {
            report.not_written += 1;
        }
        false
    }

    pub(crate) fn flush(&mut self) {}

    pub(crate) fn close(&mut self, scan: ScanId) {
        self.is_open = false;
        self.closed = Some(scan);
    }

    pub(crate) fn closed(&mut self) -> Option<ScanId> {
        self.closed
    }

    pub(crate) fn left_to_write(&self) -> u64 {
        0
    }

    pub(crate) fn take_refused(&mut self) -> u64 {
        std::mem::take(&mut self.refused)
    }

    pub(crate) fn report(&self) -> Option<CaptureReport> {
        self.last.clone()
    }

    pub(crate) fn join(self, _: Instant) {}
}

#[cfg(test)]
mod tests {
    use std::iter;

    use uuid::Uuid;

    use super::*;
    use crate::{
        budget::Account,
        event::Event,
        ingester::message::Messages,
        names::{IngesterName, StreamName},
    };

    #[test]
    fn a_capture_that_a_controller_wants_is_reported_as_failed_and_its_events_are_counted() {
        let ingester = IngesterSettings::new(IngesterName::new("e").unwrap(), "localhost", 0, Vec::new());
        let mut dump = Dump::start(&ingester, None, Arc::new(|| ())).unwrap();
        let assembled = Messages::new().assemble(iter::empty::<Event>(), &Account::new(0, || ()));
        let name = StreamName::new("s").unwrap();
        let write = |dump: &mut Dump, number| {
            let streams = iter::once(&name).collect();
            dump.write(&PairedEvent { number, created_at: "now", streams, assembled: &assembled })
        };
        assert!(!dump.is_open() && !write(&mut dump, 0));
        assert_eq!(dump.report(), None);
        dump.open("/data/run".into());
        assert!(dump.is_open() && !write(&mut dump, 1) && !write(&mut dump, 2));
        let scan = ScanId(Uuid::new_v4());
        dump.close(scan);
        assert!(!dump.is_open() && !write(&mut dump, 3));
        assert_eq!((dump.closed(), dump.take_refused(), dump.take_refused()), (Some(scan), 1, 0));
        let report = dump.report().unwrap();
        assert_eq!((report.path.as_str(), report.written, report.not_written), ("/data/run", 0, 2));
        assert!(report.fault.unwrap().contains("built without the feature `capture`"));
    }
}
