//! In place of `admin`, without the feature `admin`: settings with an endpoint are refused before it would be bound.

use std::net::SocketAddr;

use super::status::Observer;
use crate::settings::{AdminSwap, feature::Feature};

/// No value of it exists.
#[derive(Debug)]
pub(crate) enum Admin {}

impl Admin {
    pub(crate) fn bind(_: SocketAddr, _: bool) -> Result<Self, String> {
        Err(format!("admin: {}", Feature::Admin.missing()))
    }

    pub(crate) fn address(&self) -> Option<SocketAddr> {
        match *self {}
    }

    pub(crate) async fn serve(self, _: Observer, _: AdminSwap) {
        match self {}
    }
}
