//! Panics before an instance exists.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;

use framegate_plugin_api::{
    Deadline, EventKind, EventSink, Frame, HostContext, Progress, Source, SourceError, SourceRun, export_source,
};

struct Bad;
struct Run;

impl Source for Bad {
    type Settings = BTreeMap<String, ()>;
    type Run = Run;
    const PROTOCOL: &'static str = "bad";

    fn create(_: Self::Settings, _: HostContext) -> Result<Self, SourceError> {
        panic!("create has lost its way")
    }

    fn open(&mut self) -> Result<Run, SourceError> {
        Ok(Run)
    }
}

impl SourceRun for Run {
    fn next(&mut self, out: &mut EventSink<'_>, _: Deadline) -> Result<Progress, SourceError> {
        out.push("BAD", EventKind::Data, [Frame::from_vec(vec![7; 10])]);
        Ok(Progress::End)
    }
}

export_source!(Bad);
