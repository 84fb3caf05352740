//! All participants: Redis, the ingester under test, and workers, each with its own network.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs,
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use serde_json::Value;
use tempfile::TempDir;

use super::{detectors::Addresses, plan::SOURCES};
use crate::{
    controller::Controller,
    framegate,
    host::{Host, write_configuration},
    process::free_port,
    proxy::Proxy,
    redis::RedisServer,
    worker::Worker,
};

/// The name of the ingester.
pub const INGESTER: &str = "soak-ingester";

/// See the module.
#[derive(Debug)]
pub struct World {
    /// Folder for captures and logs.
    pub folder: TempDir,
    /// The Redis server.
    pub redis: RedisServer,
    /// The network between it and framegate.
    pub redis_proxy: Proxy,
    /// The simulated controller.
    pub controller: Controller,
    /// The addresses of detectors.
    pub addresses: Addresses,
    /// Workers by name.
    pub workers: BTreeMap<String, Station>,
    /// Connections of detectors that stay open until the next scan has started.
    pub kept: Vec<TcpStream>,
    /// How often framegate was started.
    pub starts: u32,
    host: Option<Host>,
    configuration: PathBuf,
    admin: SocketAddr,
    port: u16,
}

/// A worker's place: its network stays, the worker may change.
#[derive(Debug)]
pub struct Station {
    /// Its network.
    pub proxy: Proxy,
    /// The current worker.
    pub worker: Worker,
}

impl World {
    /// Starts everything; no scan is active.
    ///
    /// # Errors
    /// Something does not start.
    pub fn new() -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let redis = RedisServer::start();
        let redis_proxy = Proxy::to(redis.port());
        let (port, addresses) = (free_port(), Addresses::default());
        let text = configuration(redis_proxy.port(), port, &addresses)?;
        let (configuration, admin) = write_configuration(folder.path(), &text);
        let controller = Controller::new(&redis);
        let workers = BTreeMap::new();
        let mut world = Self {
            folder,
            redis,
            redis_proxy,
            controller,
            addresses,
            workers,
            kept: Vec::new(),
            starts: 0,
            host: None,
            configuration,
            admin,
            port,
        };
        world.start()?;
        Ok(world)
    }

    /// Starts framegate, and waits until it is published.
    ///
    /// # Errors
    /// It is not published in time.
    pub fn start(&mut self) -> anyhow::Result<()> {
        let began = Instant::now();
        let mut command = framegate::command();
        command.current_dir(self.folder.path()).args(["run", "--config"]).arg(&self.configuration);
        let mut host = Host::with(&mut command, self.folder.path(), self.admin);
        let uuid = host.wait_for("its start", |ingester| !ingester["service_uuid"].is_null())["service_uuid"].take();
        self.host = Some(host);
        self.starts += 1;
        self.controller.wait_state(INGESTER, "its first state", |state| state["service_uuid"] == uuid);
        ensure!(began.elapsed() < RESTART, "it is published only {:?} after its start", began.elapsed());
        Ok(())
    }

    /// Kills framegate.
    pub fn kill(&mut self) {
        self.host = None;
    }

    /// Ends framegate as a service manager does.
    ///
    /// # Errors
    /// It does not end cleanly.
    pub fn end(&mut self) -> anyhow::Result<()> {
        let mut host = self.host.take().context("framegate runs")?;
        let status = host.stop(Duration::from_secs(5));
        ensure!(status.success(), "it ends with {status}");
        Ok(())
    }

    /// The running framegate.
    ///
    /// # Errors
    /// It is not running.
    pub fn host(&mut self) -> anyhow::Result<&mut Host> {
        let host = self.host.as_mut().context("framegate is not started")?;
        if let Some(status) = host.ended() {
            anyhow::bail!("framegate has ended: {status}");
        }
        Ok(host)
    }

    /// Its ingester's status, if it answers.
    ///
    /// # Errors
    /// It has ended.
    pub fn status(&mut self) -> anyhow::Result<Option<Value>> {
        Ok(self.host()?.ingester().ok())
    }

    /// Feeds a stream from another plugin, from the next scan on.
    ///
    /// # Errors
    /// It is refused.
    pub fn swap(&mut self, stream: &str, plugin: &Path, settings: &str) -> anyhow::Result<()> {
        let plugin = plugin.to_str().context("a path of ours is text")?;
        let output = self.host()?.swap(&[stream, plugin, "--settings", settings]);
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Ok(())
    }

    /// The port that its workers connect to.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Makes these workers present; others leave.
    pub fn have_workers(&mut self, names: &[String]) {
        self.workers.retain(|name, _| names.contains(name));
        for name in names {
            let port = self.port;
            self.workers.entry(name.clone()).or_insert_with(|| {
                let proxy = Proxy::to(port);
                let worker = connect(name, &proxy);
                Station { proxy, worker }
            });
        }
        let published = |state: &Value| {
            let uuids = self.workers.values().map(|station| station.worker.service_uuid().to_string());
            uuids.into_iter().all(|uuid| state["connected_workers"].get(uuid).is_some())
        };
        self.controller.wait_state(INGESTER, "the workers", published);
    }

    /// framegate's log since its first start.
    #[must_use]
    pub fn log(&self) -> String {
        self.host.as_ref().map(Host::log).unwrap_or_default()
    }

    /// Sets framegate's descriptor limit (prlimit(1)).
    ///
    /// # Errors
    /// The limit cannot be set.
    pub fn limit_descriptors(&mut self, limit: &str) -> anyhow::Result<()> {
        let id = self.host()?.id().to_string();
        let status = Command::new("prlimit").args(["--pid", &id, &format!("--nofile={limit}")]).status()?;
        ensure!(status.success(), "prlimit: {status}");
        Ok(())
    }

    /// Number of framegate's descriptors.
    ///
    /// # Errors
    /// It has ended.
    pub fn descriptors(&mut self) -> anyhow::Result<usize> {
        Ok(fs::read_dir(format!("/proc/{}/fd", self.host()?.id()))?.count())
    }
}

/// A worker behind its own network.
#[must_use]
pub fn connect(name: &str, proxy: &Proxy) -> Worker {
    Worker::connect(name, &format!("tcp://127.0.0.1:{}", proxy.port()))
}

fn configuration(redis: u16, port: u16, addresses: &Addresses) -> anyhow::Result<String> {
    let mut text = format!(
        "redis = \"redis://127.0.0.1:{redis}/0\"\n[[ingester]]\nname = \"{INGESTER}\"\nurl = \"tcp://127.0.0.1:{port}\"\n\
         memory_limit = \"64 MiB\"\nworker_timeout = \"2 s\"\n"
    );
    for source in SOURCES {
        let plugin = framegate::plugin(source);
        writeln!(text, "[[ingester.stream]]\nname = \"{source}\"\nsource = \"{}\"", plugin.display())?;
        writeln!(text, "[ingester.stream.settings]")?;
        for (name, value) in addresses.settings(source).as_object().into_iter().flatten() {
            writeln!(text, "{name} = {value}")?;
        }
    }
    Ok(text)
}

/// How long a start may take on a busy machine, with plugins in a debug build.
const RESTART: Duration = Duration::from_secs(15);
