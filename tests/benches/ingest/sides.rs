//! The forwarders to compare: relays that do nothing else, framegate in several variants, dranspose's ingester.
//!
//! Each is started from its file with a user's configuration, and is ready when its workers are connected and the scan
//! has started.

use std::{fs, path::Path, process::Command, time::Duration};

use anyhow::Context as _;
use framegate_tests::{
    controller::Controller,
    framegate,
    host::{Host, write_configuration},
    process::{Process, wait_for},
    python::{peers_environment, script},
    redis::RedisServer,
};
use serde::Serialize;
use serde_json::Value;

use crate::{
    roles::{Forwarding, LINKED},
    rows::Row,
};

/// The forwarder of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Side {
    /// The bare relay, of libzmq.
    Relay,
    /// A relay on plain TCP, in one thread.
    OneThread,
    /// Copies bytes to one worker.
    Raw,
    /// The command, with the STINS plugin loaded from its file, Redis and a simulated controller.
    Framegate,
    /// The same with a program that embeds framegate and links the STINS source.
    Linked,
    /// The command without Redis and controller.
    Standalone,
    /// The command; its source has a process of its own, which counts too.
    Isolated,
    /// dranspose's own ingester.
    Python,
    /// The command with capture to memory.
    CaptureTmpfs,
    /// The command with capture to a disk.
    CaptureDisk,
    /// The command; its last worker stops reading.
    Stalled,
    /// No forwarder: the bytes of as many events are written to a file on the disk.
    Disk,
}

impl Side {
    /// Its name in the table.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Relay => "relay",
            Self::OneThread => "one-thread",
            Self::Raw => "raw",
            Self::Framegate => "framegate",
            Self::Linked => "linked",
            Self::Standalone => "no Redis",
            Self::Isolated => "isolated",
            Self::Python => "Python",
            Self::CaptureTmpfs => "capture to memory",
            Self::CaptureDisk => "capture to disk",
            Self::Stalled => "a worker stalls",
            Self::Disk => "the disk alone",
        }
    }

    /// Whether a controller sends assignments.
    pub(crate) fn has_controller(self) -> bool {
        !(self.is_bare() || matches!(self, Self::Standalone | Self::Disk))
    }

    /// Whether it is a program of the benchmark that only forwards. Its role has its name.
    pub(crate) fn is_bare(self) -> bool {
        matches!(self, Self::Relay | Self::OneThread | Self::Raw)
    }

    /// Number of ports for workers: a relay always has one.
    pub(crate) fn ingesters(self, row: &Row) -> usize {
        if self.is_bare() { 1 } else { row.ingesters }
    }

    pub(crate) fn workers(self, row: &Row) -> usize {
        if self == Self::Raw { 1 } else { row.workers }
    }
}

/// A running forwarder.
pub(crate) enum Forwarder {
    /// A relay, or dranspose's ingester.
    Process(Process),
    Host(Host),
}

/// Where it receives, and where workers connect.
#[derive(Debug, Clone)]
pub(crate) struct Ports {
    pub(crate) detectors: Vec<u16>,
    pub(crate) workers: Vec<u16>,
}

impl Forwarder {
    pub(crate) fn start(
        row: &Row,
        side: Side,
        ports: &Ports,
        redis: Option<&RedisServer>,
        folder: &Path,
    ) -> anyhow::Result<Self> {
        let own = || std::env::current_exe().map(Command::new);
        Ok(match side {
            Side::Relay | Side::OneThread | Side::Raw => {
                let (workers, broadcast) = (side.workers(row), row.broadcast);
                let upstreams = ports.detectors.iter().map(|port| upstream(*port)).collect();
                let plan = Forwarding { upstreams, port: ports.workers[0], workers, broadcast };
                let mut command = own()?;
                command.args(["role", side.name(), &serde_json::to_string(&plan)?]);
                Self::Process(Process::start("relay", &mut command, folder))
            }
            Side::Python => {
                let redis = redis.context("dranspose has a Redis")?;
                let mut command = Command::new(script("dranspose"));
                let url = upstream(ports.detectors[0]);
                command.args(["ingester", "-c", "ZmqPullSingleIngester", "-n", &stream(0), "-u", &url]);
                peers_environment(&mut command, &redis.url());
                command.env("INGESTER_NAME", ingester(0)).env("INGESTER_URL", upstream(ports.workers[0]));
                Self::Process(Process::start("dranspose", &mut command, folder))
            }
            Side::Linked => {
                let (path, admin) = write_configuration(folder, &configuration(row, side, ports, redis, folder)?);
                Self::Host(Host::with(own()?.args(["role", "host"]).arg(path), folder, admin))
            }
            _ => Self::Host(Host::start(folder, &configuration(row, side, ports, redis, folder)?)),
        })
    }

    pub(crate) fn id(&self) -> u32 {
        match self {
            Self::Process(process) => process.id(),
            Self::Host(host) => host.id(),
        }
    }

    /// It, and the processes that it has started.
    pub(crate) fn family(&self) -> Vec<u32> {
        let id = self.id();
        let tasks = fs::read_dir(format!("/proc/{id}/task")).into_iter().flatten().flatten();
        let children = tasks.filter_map(|task| fs::read_to_string(task.path().join("children")).ok());
        let children: Vec<u32> = children
            .flat_map(|line| line.split_whitespace().filter_map(|word| word.parse().ok()).collect::<Vec<_>>())
            .collect();
        [id].into_iter().chain(children).collect()
    }

    /// Its output, for an error message.
    pub(crate) fn log(&self) -> String {
        match self {
            Self::Process(process) => process.output(),
            Self::Host(host) => host.log(),
        }
    }

    pub(crate) fn has_ended(&mut self) -> bool {
        match self {
            Self::Process(process) => process.ended().is_some(),
            Self::Host(host) => host.ended().is_some(),
        }
    }

    /// Waits until its workers are connected, and starts a scan if there is a controller.
    pub(crate) fn wait_until_ready(&mut self, row: &Row, controller: Option<&mut Controller>) {
        if let Some(controller) = controller {
            let names: Vec<_> = (0..row.ingesters).map(ingester).collect();
            for name in &names {
                let known = |state: &Value| state["connected_workers"].as_object().map_or(0, |all| all.len());
                controller.wait_state(name, "its workers", |state| known(state) == row.workers);
            }
            let streams: Vec<_> = (0..row.streams).map(stream).collect();
            let _ = controller.start_scan(&streams.iter().map(String::as_str).collect::<Vec<_>>());
            for name in &names {
                controller.wait_ready(name);
            }
            return;
        }
        match self {
            Self::Process(process) => {
                wait_for("the relay", START, || process.output().contains("ready").then_some(()));
            }
            Self::Host(host) => {
                host.wait_for("its workers", |ingester| {
                    let known = ingester["workers"].as_array().map_or(0, Vec::len);
                    ingester["state"] == "running" && known == row.workers
                });
            }
        }
    }

    /// Waits until it has read all assignments in Redis, or as many as it takes.
    pub(crate) fn wait_until_read(&self, assignments: u64) {
        let Self::Host(host) = self else { return };
        let mut before = 0;
        wait_for("the assignments to be read", START * 3, || {
            let waiting = host.ingester().ok()?["assignments_waiting"].as_u64()?;
            let is_all = waiting >= assignments || (waiting > 0 && waiting == before);
            before = waiting;
            std::thread::sleep(Duration::from_millis(300));
            is_all.then_some(())
        });
    }
}

/// The configuration of a host: defaults, except for the row's keys.
fn configuration(
    row: &Row,
    side: Side,
    ports: &Ports,
    redis: Option<&RedisServer>,
    folder: &Path,
) -> anyhow::Result<String> {
    let Row { workers, broadcast, .. } = row;
    let mut text = match redis {
        Some(redis) => format!("redis = \"{}\"\n", redis.url()),
        None => format!("[standalone]\nmin_workers = {workers}\nbroadcast = {broadcast}\n"),
    };
    let source = match side {
        Side::Linked => LINKED.into(),
        _ => framegate::plugin("stins").display().to_string(),
    };
    for (index, port) in ports.workers.iter().enumerate() {
        text += &format!("[[ingester]]\nname = \"{}\"\nurl = \"{}\"\n", ingester(index), upstream(*port));
        if matches!(side, Side::CaptureTmpfs | Side::CaptureDisk) {
            // "block", because a side that captures only some events would be faster.
            let path = folder.join("capture.cbors");
            text += &format!("dump_path = \"{}\"\ncapture_when_full = \"block\"\n", path.display());
        }
        text += row.keys;
        let each = row.streams / row.ingesters;
        for number in index * each..(index + 1) * each {
            text += &format!("[[ingester.stream]]\nname = \"{}\"\nsource = \"{source}\"\n", stream(number));
            text += if side == Side::Isolated { "isolate = true\n" } else { "" };
            text += &format!("settings.upstream_url = \"{}\"\n", upstream(ports.detectors[number]));
        }
    }
    Ok(text)
}

/// The name of a stream.
pub(crate) fn stream(number: usize) -> String {
    format!("bench{number}")
}

fn ingester(number: usize) -> String {
    format!("bench{number}-ingester")
}

fn upstream(port: u16) -> String {
    format!("tcp://127.0.0.1:{port}")
}

const START: Duration = Duration::from_secs(20);
