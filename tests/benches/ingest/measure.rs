//! One run: starts the three processes, waits for the workers' result, reads what the forwarder has used.

use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

use anyhow::{Context as _, bail};
use framegate_tests::{
    bench::{cpu_ns, peak_kib},
    framegate,
    host::{Host, write_configuration},
    process::free_port,
};

use crate::{Case, Forwarder, roles::LINKED};

/// What a run has shown.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Measured {
    /// Events a second, at the workers.
    pub(crate) rate: f64,
    /// CPU time of the forwarder, microseconds per event.
    pub(crate) cpu_us: f64,
    /// The most memory that the forwarder had resident.
    pub(crate) peak_mib: f64,
}

/// Runs one case with one forwarder.
pub(crate) fn measure(case: &Case, forwarder: Forwarder) -> anyhow::Result<Measured> {
    let upstream = format!("tcp://127.0.0.1:{}", free_port());
    let port = free_port().to_string();
    let workers = case.workers.to_string();
    let broadcast = case.broadcast.to_string();
    let events = case.events.to_string();
    let folder = tempfile::tempdir()?;
    let mut forward = match forwarder {
        Forwarder::Relay => Forward::Relay(role(&["relay", &upstream, &port, &workers, &broadcast], Stdio::piped())?),
        other => Forward::Framegate(framegate(folder.path(), &upstream, &port, case, other)?),
    };
    let mut receive = role(&["workers", &port, &workers, &broadcast, &events], Stdio::piped())?;
    let mut lines = BufReader::new(receive.0.stdout.take().context("the workers' output is a pipe")?).lines();
    // Reads on a thread, so that a run which hangs ends with an error.
    let (send, result) = mpsc::channel();
    thread::spawn(move || {
        for line in lines.by_ref() {
            let Ok(line) = line else { return };
            let _ = send.send(line);
        }
    });
    let say = |limit, what: &str| {
        let line = result.recv_timeout(limit);
        line.with_context(|| format!("{forwarder:?}, {}: no word from the workers: {what}", case.name))
    };
    say(START_LIMIT, "they do not start")?;
    // What the start costs is not measured.
    forward.wait_until_ready(case.workers)?;
    let before = cpu_ns(forward.id())?;
    let _load = role(&["load", &upstream, &case.payload.to_string(), &events], Stdio::null())?;
    let line = say(RUN_LIMIT, "not all events have arrived")?;
    let cpu = cpu_ns(forward.id())? - before;
    let peak_mib = peak_kib(forward.id())? as f64 / 1024.0;
    let seconds: f64 = line.parse().with_context(|| format!("the workers said {line:?}"))?;
    let events = case.events as f64;
    Ok(Measured { rate: events / seconds, cpu_us: cpu as f64 / 1e3 / events, peak_mib })
}

/// A child that does not outlive its run.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Who forwards, running.
enum Forward {
    Relay(Running),
    Framegate(Host),
}

impl Forward {
    fn id(&self) -> u32 {
        match self {
            Self::Relay(relay) => relay.0.id(),
            Self::Framegate(host) => host.id(),
        }
    }

    /// Waits until it knows its workers and can take the first event.
    fn wait_until_ready(&mut self, workers: usize) -> anyhow::Result<()> {
        match self {
            Self::Relay(relay) => {
                let mut line = String::new();
                BufReader::new(relay.0.stdout.take().context("the relay's output is a pipe")?).read_line(&mut line)?;
                if line.trim() != "ready" {
                    bail!("the relay does not start");
                }
            }
            Self::Framegate(host) => {
                host.wait_for("its workers", |ingester| {
                    let known = ingester["workers"].as_array().map_or(0, Vec::len);
                    ingester["state"] == "running" && known == workers
                });
            }
        }
        Ok(())
    }
}

/// The real command, with the STINS plugin loaded from its file, and nothing of this program; or this program in the role of a host.
fn framegate(folder: &Path, upstream: &str, port: &str, case: &Case, forwarder: Forwarder) -> anyhow::Result<Host> {
    let plugin = framegate::plugin("stins");
    let source = if forwarder == Forwarder::Linked { LINKED.into() } else { plugin.display().to_string() };
    let Case { workers, broadcast, .. } = case;
    let configuration = format!(
        "log_level = \"WARNING\"\n[standalone]\nmin_workers = {workers}\nbroadcast = {broadcast}\n[[ingester]]\n\
         url = \"tcp://127.0.0.1:{port}\"\n[[ingester.stream]]\nname = \"bench\"\nsource = \"{source}\"\n\
         settings.upstream_url = \"{upstream}\"\n"
    );
    if forwarder == Forwarder::Framegate {
        return Ok(Host::start(folder, &configuration));
    }
    let (path, admin) = write_configuration(folder, &configuration);
    let mut command = Command::new(std::env::current_exe()?);
    Ok(Host::with(command.args(["role", "host"]).arg(path), folder, admin))
}

fn role(args: &[&str], out: Stdio) -> anyhow::Result<Running> {
    let mut command = Command::new(std::env::current_exe()?);
    Ok(Running(command.arg("role").args(args).stdin(Stdio::null()).stdout(out).spawn()?))
}

const START_LIMIT: Duration = Duration::from_secs(20);
const RUN_LIMIT: Duration = Duration::from_secs(60);
