//! The source of a stream, as the start and the swaps know it, and the way to hand an ingester another one.

use std::{
    collections::BTreeMap,
    sync::{Arc, Weak},
};

use tokio::sync::watch;

use crate::{
    control::Parameters,
    names::StreamName,
    settings::StreamSettings,
    source::{Created, Factory, replacement::NextSource},
};

/// The current or next source of a stream.
#[derive(Debug, Clone)]
pub(crate) struct Feed {
    /// The swap that brought it; 0: the initial source.
    pub(crate) number: u64,
    /// The requested settings.
    pub(crate) settings: StreamSettings,
    pub(crate) factory: Arc<dyn Factory>,
    pub(crate) created: Created,
}

/// Hands new sources to an ingester.
#[derive(Debug)]
pub(crate) struct Exchange {
    /// Where the next source of each stream waits; gone when the ingester is.
    pub(crate) slots: BTreeMap<StreamName, Weak<NextSource>>,
    /// The sources' parameters, for control to publish.
    pub(crate) parameters: watch::Sender<Parameters>,
}
