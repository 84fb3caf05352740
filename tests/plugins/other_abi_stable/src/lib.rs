//! A correct plugin, as one that is built with another version of abi_stable: the description of its layout has that
//! version's number, and content that a host must not read.

use std::collections::BTreeMap;

use abi_stable::library::AbiHeader;
use framegate_plugin_abi::{guard, note::Note, vtable::PluginTable};
use framegate_plugin_api::{
    Deadline, EventKind, EventSink, Frame, HostContext, Progress, Source, SourceError, SourceRun, export::Exported,
};

struct Other;

struct Run(u8);

impl Source for Other {
    type Settings = BTreeMap<String, ()>;
    type Run = Run;
    const PROTOCOL: &'static str = "other";

    fn create(_: Self::Settings, _: HostContext) -> Result<Self, SourceError> {
        Ok(Self)
    }

    fn open(&mut self) -> Result<Run, SourceError> {
        Ok(Run(0))
    }
}

impl SourceRun for Run {
    fn next(&mut self, out: &mut EventSink<'_>, _: Deadline) -> Result<Progress, SourceError> {
        while self.0 < 10 {
            out.push("OTHER", EventKind::Data, [Frame::from_vec(vec![self.0; 10])]);
            self.0 += 1;
        }
        Ok(Progress::End)
    }
}

/// What `framegate_plugin_abi::vtable::Layout` would be with that abi_stable.
#[repr(C)]
struct Layout {
    magic_string: [u8; 32],
    abi_major: u32,
    abi_minor: u32,
    table: usize,
}

#[used]
#[unsafe(link_section = ".note.framegate")]
static NOTE: Note =
    Note::new::<Exported<Other>>("framegate_table_other", "framegate_layout_other", "other_abi_stable", "1.0.0", true);

#[unsafe(no_mangle)]
static framegate_table_other: PluginTable = *guard::exported::<Exported<Other>>();

#[unsafe(no_mangle)]
static framegate_layout_other: Layout = Layout {
    magic_string: AbiHeader::VALUE.magic_string,
    abi_major: AbiHeader::VALUE.abi_major,
    abi_minor: AbiHeader::VALUE.abi_minor + 1,
    // Reading it would crash.
    table: 1,
};
