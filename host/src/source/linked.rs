//! A source that is compiled into the program: the same interface as a plugin file, without a file.

use std::{fmt, marker::PhantomData, sync::Arc};

use framegate_plugin_abi::caller::Plugin;
use framegate_plugin_api::{HostServices, Run, Source, export::Exported};
use serde_json::Value;

use super::{Factory, Instance, Ledger, NotCreated, Traits, loaded};
use crate::plugin::identity::SourceIdentity;

/// The factory of a linked source.
pub(crate) fn linked<S: Source>() -> Arc<dyn Factory> {
    Arc::new(LinkedFactory::<S>(PhantomData))
}

struct LinkedFactory<S>(PhantomData<fn() -> S>);

impl<S: Source> Factory for LinkedFactory<S> {
    fn create(
        &self,
        stream: &str,
        settings: &Value,
        services: Arc<dyn HostServices>,
        ledger: Option<&'static Ledger>,
    ) -> Result<Box<dyn Instance>, NotCreated> {
        // Lives for ever, as for a loaded instance: its frames point to it.
        let ledger = ledger.unwrap_or_else(|| Box::leak(Box::default()));
        loaded::create(Plugin::linked::<Exported<S>>(ledger)?, stream, settings, services)
    }

    fn traits(&self, _: &str, _: &Value) -> Result<Traits, NotCreated> {
        Ok(Traits { exclusive: S::EXCLUSIVE, on_demand: S::Run::ON_DEMAND })
    }

    fn identity(&self) -> SourceIdentity {
        SourceIdentity::linked(S::PROTOCOL)
    }
}

impl<S: Source> fmt::Debug for LinkedFactory<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("LinkedFactory").field(&S::PROTOCOL).finish()
    }
}
