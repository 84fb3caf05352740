//! A source that is compiled into the program: the same interface as a plugin file, without a file.

use std::{fmt, marker::PhantomData, sync::Arc};

use framegate_plugin_abi::{caller::Plugin, frame::Ledger};
use framegate_plugin_api::{HostServices, Source, export::Exported};
use serde_json::Value;

use super::{Factory, Instance, NotCreated, loaded};

/// The factory of a linked source.
pub(crate) fn linked<S: Source>() -> Arc<dyn Factory> {
    Arc::new(LinkedFactory::<S>(PhantomData))
}

struct LinkedFactory<S>(PhantomData<fn() -> S>);

/// Frames of all linked sources: their code cannot be replaced, so nobody waits for the frames of one of them.
static LEDGER: Ledger = Ledger::new();

impl<S: Source> Factory for LinkedFactory<S> {
    fn create(
        &self,
        stream: &str,
        settings: &Value,
        services: Arc<dyn HostServices>,
    ) -> Result<Box<dyn Instance>, NotCreated> {
        loaded::create(Plugin::linked::<Exported<S>>(&LEDGER)?, stream, settings, services)
    }

    fn describe(&self) -> String {
        format!("{} (linked)", S::PROTOCOL)
    }
}

impl<S: Source> fmt::Debug for LinkedFactory<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("LinkedFactory").field(&S::PROTOCOL).finish()
    }
}
