//! Has the note of a plugin in Rust, but no description of its layout.

use std::collections::BTreeMap;

use framegate_plugin_abi::{guard, note::Note, vtable::PluginTable};
use framegate_plugin_api::{
    Deadline, EventSink, HostContext, Progress, Source, SourceError, SourceRun, export::Exported,
};

struct Bad;

struct Run;

impl Source for Bad {
    type Settings = BTreeMap<String, ()>;
    type Run = Run;
    const PROTOCOL: &'static str = "bad";

    fn create(_: Self::Settings, _: HostContext) -> Result<Self, SourceError> {
        Ok(Self)
    }

    fn open(&mut self) -> Result<Run, SourceError> {
        Ok(Run)
    }
}

impl SourceRun for Run {
    fn next(&mut self, _: &mut EventSink<'_>, _: Deadline) -> Result<Progress, SourceError> {
        Ok(Progress::End)
    }
}

#[used]
#[unsafe(link_section = ".note.framegate")]
static NOTE: Note = Note::new::<Exported<Bad>>("framegate_table_opted_out", "", "opted_out", "0.0.0", true);

#[unsafe(no_mangle)]
static framegate_table_opted_out: PluginTable = *guard::exported::<Exported<Bad>>();
