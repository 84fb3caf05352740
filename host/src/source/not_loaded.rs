//! In place of `loaded`, without the feature `plugins`: a source that is not linked is refused.

use std::path::PathBuf;

use framegate_plugin_abi::caller::Plugin;
use serde_json::Value;

use super::{Ledger, NotCreated, StrayCalls, Traits};
use crate::{
    plugin::{Code, Refusal, SourceIdentity, report::GenerationReport},
    settings::{Settings, StreamSettings, feature::not_linked},
};

/// No value of it exists.
#[derive(Debug)]
pub(super) enum PluginCode {}

fn refused(source: &str) -> Refusal {
    let (found, remedy) = not_linked(source);
    Refusal::new(Code::Find, found, remedy)
}

pub(crate) fn hash_of(source: &str, _: &[PathBuf]) -> Result<String, Refusal> {
    Err(refused(source))
}

pub(crate) fn generations() -> Vec<GenerationReport> {
    Vec::new()
}

impl PluginCode {
    pub(super) fn find(stream: &StreamSettings, _: &Settings, _: bool) -> Result<Self, Refusal> {
        Err(refused(&stream.source))
    }

    pub(super) fn plugin(&self, _: &str, _: &Value, _: Option<&'static Ledger>) -> Result<Plugin, NotCreated> {
        match *self {}
    }

    pub(super) fn traits(&self, _: &str, _: &Value) -> Result<Traits, NotCreated> {
        match *self {}
    }

    pub(super) fn identity(&self) -> SourceIdentity {
        match *self {}
    }

    pub(super) fn is_loaded(&self) -> bool {
        match *self {}
    }

    pub(super) fn write_off(&self) {
        match *self {}
    }

    pub(super) fn stray_calls(&self, _: &str) -> StrayCalls {
        match *self {}
    }
}
