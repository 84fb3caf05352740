//! The running command: its process, its log, and its status over HTTP.
//!
//! The tests have a host with more abilities; this one needs none of their dependencies.

use std::{
    fs::{self, File},
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::PathBuf,
    process::{Child, Command, ExitStatus, Stdio},
    time::Duration,
};

use anyhow::{Context as _, bail};
use serde_json::Value;

/// See the module. It ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Host {
    child: Child,
    log: PathBuf,
    admin: SocketAddr,
}

impl Host {
    /// Starts a command that has `admin` in its configuration; its output is written to `log`.
    pub(crate) fn start(command: &mut Command, log: PathBuf, admin: SocketAddr) -> anyhow::Result<Self> {
        let out = File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
        command.stdin(Stdio::null()).stderr(out.try_clone()?).stdout(out);
        let child = command.spawn().with_context(|| format!("cannot start {}", command.get_program().display()))?;
        Ok(Self { child, log, admin })
    }

    /// Its log so far.
    pub(crate) fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// The exit status, if it has ended.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// The status of its first ingester. Fails if it is starting or has ended.
    pub(crate) fn ingester(&self) -> anyhow::Result<Value> {
        let mut stream = TcpStream::connect_timeout(&self.admin, Duration::from_secs(1))?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        write!(stream, "GET /status HTTP/1.0\r\nHost: {}\r\n\r\n", self.admin)?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let (head, body) = answer.split_once("\r\n\r\n").context("not an answer of HTTP")?;
        if head.split(' ').nth(1) != Some("200") {
            bail!("its answer is not its status: {head}");
        }
        let mut status: Value = serde_json::from_str(body)?;
        Ok(status["ingesters"][0].take())
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        // If it has already ended, both do nothing.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Two loopback ports that were free a moment ago.
pub(crate) fn free_ports() -> anyhow::Result<[u16; 2]> {
    // Each demonstration starts at other ports, so that two at the same time do not take the same.
    let start = u16::try_from(std::process::id().wrapping_mul(2) % u32::from(PORTS))?;
    let free = (0..PORTS).map(|next| FIRST_PORT + (start + next) % PORTS);
    let free = free.filter_map(|port| TcpListener::bind(("0.0.0.0", port)).ok().map(|bound| (port, bound)));
    // Both stay bound until both are found.
    match free.take(2).collect::<Vec<_>>().as_slice() {
        [(first, _), (second, _)] => Ok([*first, *second]),
        _ => bail!("no port of 127.0.0.1 is free"),
    }
}

/// Below the ports of the tests and of outgoing connections.
const FIRST_PORT: u16 = 13_000;
const PORTS: u16 = 6_000;
