//! Has a plugin's note, but exports its root without a description of the layout.

use std::time::Duration;

use abi_stable::library::{CheckTypeLayout, LibHeader, RootModuleResult};
use framegate_plugin_abi::{
    batch::BatchWriter, codes::Progress, error::SourceError, guard::Plugin, host::HostServices, note::Note, vtable::RootRef,
};

struct Bad;

impl Plugin for Bad {
    const PROTOCOL: &'static str = "bad";
    const EXCLUSIVE: bool = false;
    const ON_DEMAND: bool = false;

    fn create(_: &str, _: &str, _: std::sync::Arc<dyn HostServices>) -> Result<Self, SourceError> {
        Ok(Self)
    }
    fn open(&mut self) -> Result<(), SourceError> {
        Ok(())
    }
    fn next(&mut self, _: &mut BatchWriter, _: Duration) -> Result<Progress, SourceError> {
        Ok(Progress::End)
    }
    fn trigger(&mut self, _: u64, _: &mut BatchWriter) -> Result<(), SourceError> {
        Ok(())
    }
    fn close(&mut self) {}
    fn parameters(&self) -> String {
        String::new()
    }
    fn set_parameter(&mut self, _: &str, _: &[u8]) -> Result<(), SourceError> {
        Ok(())
    }
    fn skipped(&self, _: &mut dyn FnMut(&str, u64)) {}
}

#[used]
#[unsafe(link_section = ".note.framegate")]
static NOTE: Note = Note::new::<Bad>("framegate_root_opted_out", "opted_out", "0.0.0", true);

// SAFETY: the host refuses this header before it calls the constructor.
#[unsafe(no_mangle)]
static framegate_root_opted_out: LibHeader =
    unsafe { LibHeader::from_constructor::<RootRef>(root, CheckTypeLayout::No) };

extern "C" fn root() -> RootModuleResult {
    panic!("the host does not call this")
}
