//! Runs a source in this process for a host in another one: `framegate plugin serve FILE#sha256:HASH`, or
//! `framegate plugin serve -- PROGRAM ARGUMENTS`.
//!
//! The host is at standard input, a socket. `framegate-isolation` speaks with it; this file sets the limits, and loads.

use std::{
    convert::Infallible,
    ffi::OsString,
    fs::File,
    io::{self, stdin},
    os::{
        fd::{AsFd as _, AsRawFd as _, OwnedFd},
        unix::{net::UnixStream, process::CommandExt as _},
    },
    path::Path,
    process::Command,
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
        socket::{UnixAddr, getpeername},
    },
    unistd::{dup, dup2_stdin},
};

use super::{
    SourceIdentity,
    inspect::{self, Trust},
    load,
};
use crate::names::PluginReference;

/// Serves a plugin until the host has ended, or says so. `reference`: the plugin's file and the hash of its content,
/// which the host has inspected. `data_limit`: most bytes of memory of this
/// process (RLIMIT_DATA).
///
/// # Errors
/// There is no host at standard input, it breaks the protocol, or the system refuses the limits.
pub fn plugin(reference: &str, data_limit: u64) -> io::Result<()> {
    let PluginReference { what, pin } = PluginReference::parse(reference);
    let socket = begin(data_limit)?;
    child::serve(UnixStream::from(socket), || {
        // The host has checked who may write to the file; the hash shows that it is the same file.
        let trust = Trust { allow_writable: true, from_outside: false, pin };
        let inspected = inspect::inspect(Path::new(what), trust).map_err(|refusal| refusal.to_string())?;
        let plugin = load::load(&inspected, Box::leak(Box::default())).map_err(|refusal| refusal.to_string())?;
        let SourceIdentity { protocol, version, .. } = inspected.identity();
        let (exclusive, on_demand) = (plugin.is_exclusive(), plugin.on_demand());
        Ok((Hello { protocol: VERSION, name: protocol, version, exclusive, on_demand }, plugin))
    })
}

/// Becomes another program, which serves the host: the number of its socket is in the environment variable
/// FRAMEGATE_SOCKET.
///
/// # Errors
/// As for [`plugin`], or the program cannot be started.
pub fn program(words: &[String], data_limit: u64) -> io::Result<Infallible> {
    let (name, arguments) = words.split_first().ok_or(io::ErrorKind::InvalidInput)?;
    // For the new program: `dup` gives a descriptor that stays open.
    let socket = dup(begin(data_limit)?)?;
    let mut program = Command::new(name);
    program.args(arguments).env(SOCKET, socket.as_raw_fd().to_string());
    let problem = program.exec();
    Err(io::Error::new(problem.kind(), format!("{name} cannot be started: {problem}")))
}

/// Sets the limits of this process, and returns its socket.
fn begin(data_limit: u64) -> io::Result<OwnedFd> {
    prctl::set_pdeathsig(Signal::SIGKILL)?;
    prctl::set_no_new_privs()?;
    setrlimit(Resource::RLIMIT_CORE, 0, 0)?;
    setrlimit(Resource::RLIMIT_DATA, data_limit, data_limit)?;
    let socket = stdin().as_fd().try_clone_to_owned()?;
    // What is no socket has no peer.
    if getpeername::<UnixAddr>(socket.as_raw_fd()).is_err() {
        return Err(io::Error::other(
            "there is no host at standard input: framegate itself runs this, for a stream with `isolate` or `command`",
        ));
    }
    // What the source reads from standard input must not be the host's messages.
    dup2_stdin(File::open("/dev/null")?)?;
    Ok(socket)
}

/// The environment variable that tells a program the number of its socket.
const SOCKET: &str = "FRAMEGATE_SOCKET";

/// The arguments of `framegate` that serve a source: a plugin, or a program if there is one.
pub(crate) fn arguments(identity: &SourceIdentity, program: &[String], data_limit: u64) -> Vec<OsString> {
    let limit = data_limit.to_string();
    let mut arguments: Vec<OsString> = vec!["plugin".into(), "serve".into(), "--data-limit".into(), limit.into()];
    if program.is_empty() {
        let file = identity.file.as_deref().unwrap_or(Path::new(""));
        let mut reference = std::path::absolute(file).unwrap_or_else(|_| file.to_owned()).into_os_string();
        reference.push("#sha256:");
        reference.push(identity.sha256.as_deref().unwrap_or_default());
        arguments.push(reference);
    } else {
        arguments.push("--".into());
        arguments.extend(program.iter().map(OsString::from));
    }
    arguments
}
