//! One stream of an ingester, and the source that feeds it.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{
    dranspose,
    keys::{TakesEffect, key, settings},
    read::one_of,
};
use crate::names::StreamName;

settings! {
    /// One stream and the source that feeds it.
    #[derive(Debug, Clone, PartialEq)]
    pub struct StreamSettings {
        /// Its name.
        pub name: StreamName,
        /// A plugin's name, or a path to its file, or the name of a linked source.
        pub source: String,
        /// The source's own settings, checked by the source before anything starts.
        pub settings: Value,
        /// Values for the source's parameters, without a controller.
        pub parameters: BTreeMap<String, String>,
    }
    keys {
        key("name").example(r#""camera""#).about(&["The name of the stream, unique in this file. Required."]);
        key("source").example(dranspose::EXAMPLE).takes_effect(TakesEffect::NextScan)
            .about(&["The source: a plugin's name, a path to its file, or a class of dranspose. Required."]);
        key("when_full").takes_effect(TakesEffect::NextScan) =>
            /// When the stream's share of memory is full: "block" stops reading, "drop" drops events and counts them.
            when_full: WhenFull, one_of(&WHEN_FULL), default r#""block""#;
        key("settings").takes_effect(TakesEffect::NextScan)
            .about(&["The source's own settings, which it checks before anything starts."]);
        key("parameters").takes_effect(TakesEffect::NextScan)
            .about(&["The source's parameters, until a controller sets others."]);
    }
}

impl StreamSettings {
    /// A stream fed by `source`, with the source's own settings.
    #[must_use]
    pub fn new(name: StreamName, source: &str, settings: Value) -> Self {
        Self::defaults(name, source.to_owned(), settings, BTreeMap::new())
    }
}

/// What a stream does when its share of memory is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum WhenFull {
    /// Stop reading: the detector's own back-pressure applies, nothing is lost.
    #[default]
    Block,
    /// Drop the event and count it; its place is kept, so later events still meet their assignments.
    Drop,
}

const WHEN_FULL: [(&str, WhenFull); 2] = [("block", WhenFull::Block), ("drop", WhenFull::Drop)];
