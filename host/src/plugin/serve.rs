//! Runs a plugin in this process for a host in another one: `framegate plugin serve FILE#sha256:HASH`.
//!
//! The host is at standard input, a socket. `framegate-isolation` speaks with it; this file sets the limits, and loads.

use std::{
    ffi::OsString,
    fs::File,
    io::{self, stdin},
    os::{fd::AsFd as _, unix::net::UnixStream},
    path::{Path, PathBuf},
};

use framegate_isolation::{
    child,
    wire::{Hello, VERSION},
};
use nix::{
    sys::{
        prctl,
        resource::{Resource, setrlimit},
        signal::Signal,
    },
    unistd::dup2_stdin,
};

use super::{
    SourceIdentity,
    inspect::{self, Trust},
    load,
};
use crate::{names::PluginReference, settings::Isolation};

/// What to serve, and its limits.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Service {
    /// The plugin's file.
    pub file: PathBuf,
    /// SHA-256 of its content, which the host has inspected.
    pub sha256: String,
    /// Most bytes of private memory (RLIMIT_DATA).
    pub data_limit: u64,
}

impl Service {
    /// A service of a plugin's file.
    #[must_use]
    pub fn new(reference: &str, data_limit: u64) -> Self {
        let PluginReference { what, pin } = PluginReference::parse(reference);
        Self { file: what.into(), sha256: pin.unwrap_or_default().to_owned(), data_limit }
    }

    /// Serves until the host has ended, or says so.
    ///
    /// # Errors
    /// There is no host at standard input, it breaks the protocol, or the system refuses the limits.
    pub fn run(&self) -> io::Result<()> {
        prctl::set_pdeathsig(Signal::SIGKILL)?;
        prctl::set_no_new_privs()?;
        setrlimit(Resource::RLIMIT_CORE, 0, 0)?;
        setrlimit(Resource::RLIMIT_DATA, self.data_limit, self.data_limit)?;
        let socket = UnixStream::from(stdin().as_fd().try_clone_to_owned()?);
        // What the source reads from standard input must not be the host's messages.
        dup2_stdin(File::open("/dev/null")?)?;
        child::serve(socket, || {
            // The host has checked who may write to the file; the hash shows that it is the same file.
            let pin = Some(self.sha256.as_str()).filter(|pin| !pin.is_empty());
            let trust = Trust { allow_writable: true, from_outside: false, pin };
            let inspected = inspect::inspect(&self.file, trust).map_err(|refusal| refusal.to_string())?;
            let plugin = load::load(&inspected, Box::leak(Box::default())).map_err(|refusal| refusal.to_string())?;
            let SourceIdentity { protocol, version, .. } = inspected.identity();
            let (exclusive, on_demand) = (plugin.is_exclusive(), plugin.on_demand());
            Ok((Hello { protocol: VERSION, name: protocol, version, exclusive, on_demand }, plugin))
        })
    }
}

/// The arguments of `framegate` that serve a source.
pub(crate) fn arguments(identity: &SourceIdentity, isolation: &Isolation) -> Vec<OsString> {
    let file = identity.file.as_deref().unwrap_or(Path::new(""));
    let mut reference = std::path::absolute(file).unwrap_or_else(|_| file.to_owned()).into_os_string();
    reference.push("#sha256:");
    reference.push(identity.sha256.as_deref().unwrap_or_default());
    let limit = isolation.data_limit.to_string();
    vec!["plugin".into(), "serve".into(), "--data-limit".into(), limit.into(), reference]
}
