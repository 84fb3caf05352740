//! A child that runs a real source by the crate's own code.

use std::{
    io::{self, stdin},
    os::{fd::AsFd as _, unix::net::UnixStream},
    process,
};

use framegate_isolation::{
    child,
    wire::{Hello, VERSION},
};
use framegate_plugin_abi::{caller::Plugin, frame::Frame};
use framegate_plugin_api::{
    Deadline, EventKind, EventSink, HostContext, Progress, Source, SourceError, SourceRun, export::Exported,
};
use serde::Deserialize;

use super::content;

#[derive(Deserialize)]
struct Settings {
    /// The size of each event's frame.
    sizes: Vec<usize>,
    /// How often these events are given.
    times: usize,
}

struct Events(Settings);

struct Run {
    sizes: Vec<usize>,
    times: usize,
    number: usize,
}

impl Source for Events {
    type Settings = Settings;
    type Run = Run;

    const PROTOCOL: &'static str = "served";

    fn create(settings: Settings, _: HostContext) -> Result<Self, SourceError> {
        Ok(Self(settings))
    }

    fn open(&mut self) -> Result<Run, SourceError> {
        Ok(Run { sizes: self.0.sizes.clone(), times: self.0.times, number: 0 })
    }

    fn set_parameter(&mut self, _: &str, _: &[u8]) -> Result<(), SourceError> {
        Ok(())
    }
}

impl SourceRun for Run {
    fn next(&mut self, out: &mut EventSink<'_>, _: Deadline) -> Result<Progress, SourceError> {
        while !out.is_full() {
            if self.number >= self.sizes.len() * self.times {
                return Ok(Progress::End);
            }
            let size = self.sizes[self.number % self.sizes.len()];
            out.push("served", EventKind::Data, [Frame::from_vec(content(self.number, size))]);
            self.number += 1;
        }
        Ok(Progress::More)
    }
}

/// Does not return.
pub(super) fn play() {
    serve(UnixStream::from(stdin().as_fd().try_clone_to_owned().unwrap())).unwrap();
    process::exit(0);
}

/// Serves the host at this socket.
pub(crate) fn serve(socket: UnixStream) -> io::Result<()> {
    let version = Some(process::id().to_string());
    let hello = Hello { protocol: VERSION, name: "served".into(), version, exclusive: false, on_demand: false };
    child::serve(socket, || {
        let plugin =
            Plugin::linked::<Exported<Events>>(Box::leak(Box::default())).map_err(|fault| fault.to_string())?;
        Ok((hello, plugin))
    })
}
