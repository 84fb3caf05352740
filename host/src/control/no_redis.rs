//! In place of `redis`, without the feature `redis`: settings with a dranspose controller are refused before the start.

use std::path::PathBuf;

use tokio::sync::watch;

use super::{IngesterHandle, report::ControlReport};
use crate::settings::{RedisSettings, feature::Feature};

/// No value of it exists.
#[derive(Debug)]
pub(crate) enum Address {}

impl Address {
    pub(crate) fn new(_: &RedisSettings) -> Result<Self, String> {
        Err(format!("redis: {}", Feature::Redis.missing()))
    }

    pub(crate) fn place(&self) -> &str {
        match *self {}
    }
}

pub(crate) async fn run(
    address: Address,
    _: PathBuf,
    _: Vec<IngesterHandle>,
    _: watch::Sender<ControlReport>,
    _: watch::Receiver<bool>,
) {
    match address {}
}
