//! Creates the instances of one source: from a plugin file, or linked into the program.
//!
//! Runs on the reader thread, except where it says otherwise. A linked source takes the same path through the binary
//! interface, without a file, so that a source behaves the same in both cases.

use std::sync::Arc;

use framegate_plugin_abi::caller::Plugin;
use framegate_plugin_api::{HostServices, Run as _, Source, export::Exported};
use serde_json::Value;

#[cfg(feature = "plugins")]
use super::apart::ApartCode;
use super::{Fault, Ledger, NotCreated, StrayCalls, Traits, instance::Instance, loaded::PluginCode};
use crate::{
    plugin::{identity::SourceIdentity, refusal::Refusal, report::ProcessReport},
    settings::{Settings, StreamSettings},
};

/// See the module.
#[derive(Debug)]
pub(crate) struct Factory {
    identity: SourceIdentity,
    code: Code,
}

#[derive(Debug)]
enum Code {
    /// Compiled into the program.
    Linked { plugin: fn(&'static Ledger) -> Result<Plugin, Fault>, traits: Traits },
    /// In a plugin file.
    File(Box<PluginCode>),
    /// In a plugin file, for processes of their own.
    #[cfg(feature = "plugins")]
    Apart(Box<ApartCode>),
}

/// The factory of a source that is linked into the program.
pub(crate) fn linked<S: Source>() -> Arc<Factory> {
    let traits = Traits { exclusive: S::EXCLUSIVE, on_demand: S::Run::ON_DEMAND };
    let code = Code::Linked { plugin: Plugin::linked::<Exported<S>>, traits };
    Arc::new(Factory { identity: SourceIdentity::linked(S::PROTOCOL), code })
}

/// The factory of a stream whose source is in a plugin file: a name or a path. Checks the gates that run no code of the file.
/// `from_outside`: the swap was requested through the admin endpoint, so the file's owner must be trusted in any case.
pub(crate) fn loaded(
    stream: &StreamSettings,
    settings: &Settings,
    from_outside: bool,
) -> Result<Arc<Factory>, Refusal> {
    #[cfg(feature = "plugins")]
    if let Some(isolation) = &stream.isolate {
        let code = ApartCode::find(stream, isolation, settings, from_outside)?;
        return Ok(Arc::new(Factory { identity: code.identity(), code: Code::Apart(code.into()) }));
    }
    let code = PluginCode::find(stream, settings, from_outside)?;
    Ok(Arc::new(Factory { identity: code.identity(), code: Code::File(code.into()) }))
}

impl Factory {
    /// Creates an instance, on the thread that will run it. A replacement instance counts its frames in the ledger of the
    /// instance before it.
    pub(super) fn create(
        &self,
        stream: &str,
        settings: &Value,
        services: Arc<dyn HostServices>,
        ledger: Option<&'static Ledger>,
    ) -> Result<Instance, NotCreated> {
        let plugin = match &self.code {
            // Lives for ever, as for a plugin file: its frames point to it.
            Code::Linked { plugin, .. } => plugin(ledger.unwrap_or_else(|| Box::leak(Box::default())))?,
            Code::File(code) => code.plugin(stream, settings, ledger)?,
            #[cfg(feature = "plugins")]
            Code::Apart(code) => return code.create(stream, settings, services, ledger),
        };
        Ok(Instance::here(plugin.create(stream, &settings.to_string(), services)?))
    }

    /// The properties of the source. A plugin is first probed with these settings and loaded, if it is not yet.
    pub(super) fn traits(&self, stream: &str, settings: &Value) -> Result<Traits, NotCreated> {
        match &self.code {
            Code::Linked { traits, .. } => Ok(*traits),
            Code::File(code) => code.traits(stream, settings),
            #[cfg(feature = "plugins")]
            Code::Apart(code) => code.traits(),
        }
    }

    /// The identity of the code. [any thread]
    pub(crate) fn identity(&self) -> SourceIdentity {
        self.identity.clone()
    }

    /// Whether the code is already in the process, or never will be. [any thread]
    pub(crate) fn is_loaded(&self) -> bool {
        match &self.code {
            Code::Linked { .. } => true,
            Code::File(code) => code.is_loaded(),
            #[cfg(feature = "plugins")]
            Code::Apart(_) => true,
        }
    }

    /// A call of an instance has not returned in time, and its thread is abandoned; a process is killed. [any thread]
    pub(crate) fn write_off(&self) {
        match &self.code {
            Code::Linked { .. } => {}
            Code::File(code) => code.write_off(),
            #[cfg(feature = "plugins")]
            Code::Apart(code) => code.kill(),
        }
    }

    /// The last process of its instances, if they are in processes of their own. [any thread]
    pub(crate) fn process(&self) -> Option<ProcessReport> {
        match &self.code {
            #[cfg(feature = "plugins")]
            Code::Apart(code) => Some(code.process()),
            _ => None,
        }
    }

    /// Whether its instances are in processes of their own: then no call lasts longer than `source_timeout`. [any thread]
    pub(crate) fn is_apart(&self) -> bool {
        self.process().is_some()
    }

    /// The callback for calls that an instance makes after it has released the host's services; `None` for linked code,
    /// which cannot make such calls.
    pub(super) fn stray_calls(&self, stream: &str) -> Option<StrayCalls> {
        match &self.code {
            Code::Linked { .. } => None,
            Code::File(code) => Some(code.stray_calls(stream)),
            #[cfg(feature = "plugins")]
            Code::Apart(_) => None,
        }
    }
}
