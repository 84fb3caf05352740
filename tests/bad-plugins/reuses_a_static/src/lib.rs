//! Writes each event into the same static buffer, and ends before the host checks it again.

use std::collections::BTreeMap;

use framegate_plugin_api::{
    Deadline, EventKind, EventSink, Frame, HostContext, Progress, Source, SourceError, SourceRun, export_source,
};

static mut BUFFER: [u8; 64] = [0; 64];

struct Bad;
struct Run(u8);

impl Source for Bad {
    type Settings = BTreeMap<String, ()>;
    type Run = Run;
    const PROTOCOL: &'static str = "bad";

    fn create(_: Self::Settings, _: HostContext) -> Result<Self, SourceError> {
        Ok(Self)
    }

    fn open(&mut self) -> Result<Run, SourceError> {
        Ok(Run(0))
    }
}

impl SourceRun for Run {
    fn next(&mut self, out: &mut EventSink<'_>, _: Deadline) -> Result<Progress, SourceError> {
        if self.0 == 10 {
            return Ok(Progress::End);
        }
        self.0 += 1;
        // SAFETY: there is none, on purpose: the host still has the bytes.
        let bytes: &'static [u8] = unsafe {
            (&raw mut BUFFER).write([self.0; 64]);
            &*(&raw const BUFFER)
        };
        out.push("BAD", EventKind::Data, [Frame::from_static(bytes)]);
        Ok(Progress::More)
    }
}

export_source!(Bad);
