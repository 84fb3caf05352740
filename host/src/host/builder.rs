//! What a host is started with, beside its settings: the sources that are linked into the program.

use super::{
    Host, StartError,
    make::{self, Linked},
    problem::Problem,
};
use crate::{settings::Settings, source::factory::linked};

/// A host before its start: settings, and sources that are compiled into the program.
///
/// ```
/// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/counter.rs"));
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let settings = || Settings::new(Control::Program, Vec::new());
/// let builder = Host::builder(settings()).source::<Counter>("counter");
/// // The settings above are empty: nothing starts, and the error says why.
/// let error = builder.start().unwrap_err();
/// assert!(error.to_string().contains("there is no ingester"));
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
#[must_use = "it starts with `start`"]
pub struct HostBuilder {
    settings: Settings,
    linked: Linked,
}

impl HostBuilder {
    pub(super) fn new(settings: Settings) -> Self {
        Self { settings, linked: Linked::default() }
    }

    /// Adds a source that is compiled into the program. A stream gets it with this name as its `source`; it takes
    /// precedence over plugin files.
    pub fn source<S: framegate_plugin_api::Source>(mut self, name: &str) -> Self {
        self.linked.sources.insert(name.to_owned(), linked::<S>());
        self
    }

    /// Creates all sources, and returns the problems; nothing runs. For programs that report wrong settings together
    /// with the problems of the sources that the other settings name. Blocks like [`HostBuilder::start`].
    #[must_use]
    pub fn source_problems(&self) -> Vec<Problem> {
        let mut error = StartError::new();
        drop(make::make_sources(&self.settings, &self.linked, &mut error));
        error.problems().to_vec()
    }

    /// Checks everything, then starts everything.
    ///
    /// Blocks the calling thread until every source is created, at most for `source_timeout`; with `probe` twice as
    /// long. It may be called inside an async runtime; to keep the runtime's thread free, call it with
    /// `tokio::task::spawn_blocking`, or what your runtime has for that.
    ///
    /// # Errors
    /// All problems at once; then nothing runs, and nothing was published. Settings are checked first, like those of a
    /// file.
    pub fn start(self) -> Result<Host, StartError> {
        Host::launch(self.settings, self.linked)
    }
}
