//! The resources that the machine grants this process, and whether they are enough for the configuration.
//!
//! Runs on the main thread: once at the start, and a check once a second. It owns nothing and changes one thing: the
//! process's descriptor limit, up to the hard limit.

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use bytesize::ByteSize;
use framegate::settings::Settings;
use framegate_plugin_api::descriptors_left;
use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Monitors the free descriptors. Warns when there are too few, and reports when there are enough again; once each.
#[derive(Debug)]
pub(super) struct Machine {
    /// Maximum number of open descriptors.
    most: u64,
    /// Whether the warning was given.
    short: bool,
    looked_at: Instant,
}

impl Machine {
    /// Raises the limit, and warns of insufficient resources.
    ///
    /// # Errors
    /// The resources do not even suffice to receive a signal.
    pub(super) fn prepare(settings: &Settings) -> anyhow::Result<Self> {
        let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap_or((u64::MAX, u64::MAX));
        // The soft limit is there for programs that cannot handle large numbers. Child processes inherit the higher limit.
        let most = if setrlimit(Resource::RLIMIT_NOFILE, hard, hard).is_ok() { hard } else { soft };
        let wanted = descriptors(settings);
        if most < wanted {
            tracing::warn!(
                "this process may open {most} descriptors (files and sockets), and this configuration may need \
                 {wanted}; raise RLIMIT_NOFILE (LimitNOFILE= of a service, ulimit -n of a shell)"
            );
        }
        let (memory, threads) = (memory(settings), settings.ingesters.iter().map(|one| 2 + one.streams.len() as u64));
        for (most, from, wanted) in [
            (
                fs::read_to_string("/proc/self/cgroup")
                    .ok()
                    .and_then(|list| memory_of_cgroup(&list, Path::new("/sys/fs/cgroup"))),
                "of its cgroup; MemoryMax= of a service",
                memory + OVERHEAD,
            ),
            (
                getrlimit(Resource::RLIMIT_AS).ok().map(|(soft, _)| soft),
                "RLIMIT_AS; LimitAS= of a service, ulimit -v of a shell",
                memory + ADDRESSES + threads.sum::<u64>() * ADDRESSES_OF_THREAD,
            ),
        ] {
            if let Some(most) = most.filter(|most| *most < wanted) {
                let (most, wanted, memory) = (ByteSize(most), ByteSize(wanted), ByteSize(memory));
                tracing::warn!(
                    "this process may use {most} of memory ({from}), but may need {wanted}: memory_limit and \
                     capture_limit of all ingesters allow {memory}. The system may end the process before these \
                     limits take effect; lower them, or raise the limit of the process"
                );
            }
        }
        descriptors_left(LEAST).context("not enough to handle signals and write the log")?;
        Ok(Self { most, short: false, looked_at: Instant::now() })
    }

    /// To be called often.
    pub(super) fn look(&mut self) {
        if self.looked_at.elapsed() < LOOK {
            return;
        }
        self.looked_at = Instant::now();
        let left = descriptors_left(RESERVE);
        match (&left, self.short) {
            (Err(problem), false) => tracing::error!(
                "fewer than {RESERVE} descriptors are left of the {} that this process may open ({problem}): \
                 detectors, workers, Redis and status cannot connect until some are closed; raise RLIMIT_NOFILE \
                 (LimitNOFILE= of a service, ulimit -n of a shell), or see who has so many connections",
                getrlimit(Resource::RLIMIT_NOFILE).map_or(self.most, |(soft, _)| soft)
            ),
            (Ok(()), true) => tracing::info!("enough descriptors are free again"),
            _ => {}
        }
        self.short = left.is_err();
    }
}

/// Number of descriptors that a configuration needs.
fn descriptors(settings: &Settings) -> u64 {
    let of_ingester = |streams: usize| FOR_INGESTER + FOR_STREAM * streams as u64;
    FOR_PROCESS + settings.ingesters.iter().map(|ingester| of_ingester(ingester.streams.len())).sum::<u64>()
}

/// Memory that the settings allow for all ingesters, in bytes.
fn memory(settings: &Settings) -> u64 {
    let limits = settings.ingesters.iter().map(|one| one.memory_limit.saturating_add(one.capture_limit));
    limits.fold(0, u64::saturating_add).min(u64::MAX / 2)
}

/// The memory limit of the process's cgroup, or of one above it. `list` is `/proc/self/cgroup` (cgroups(7)), `root` the
/// folder of the cgroups.
fn memory_of_cgroup(list: &str, root: &Path) -> Option<u64> {
    let limits = list.lines().flat_map(|line| {
        let (root, file, own) = match line.splitn(3, ':').collect::<Vec<_>>()[..] {
            ["0", "", own] => (root.to_owned(), "memory.max", own),
            [_, "memory", own] => (root.join("memory"), "memory.limit_in_bytes", own),
            _ => return Vec::new(),
        };
        let folder = root.join(own.trim_start_matches('/'));
        let folders = folder.ancestors().take_while(|folder| folder.starts_with(&root));
        // Without a limit the file contains "max", or a very large number, or does not exist.
        folders.filter_map(|folder| fs::read_to_string(folder.join(file)).ok()?.trim().parse().ok()).collect()
    });
    limits.min()
}

/// Measured: 33 with an ingester and its sockets; the admin endpoint may have 16 connections.
const FOR_PROCESS: u64 = 72;
/// For its own sockets, and some dozen workers.
const FOR_INGESTER: u64 = 96;
/// Measured: 15 for a connection over ZeroMQ, and its plugin's copy; during a swap the new source has its own. Each
/// swapped-in plugin keeps one for ever; that number is not known in advance, so the check once a second covers it.
const FOR_STREAM: u64 = 32;

/// Needed for signals, the configuration file and the log.
const LEAST: usize = 16;
/// Enough for a source and a few connections.
pub(super) const RESERVE: usize = 32;
const LOOK: Duration = Duration::from_secs(1);

/// Memory that is not counted: programs, stacks, the allocator's reserve.
const OVERHEAD: u64 = 100 << 20;
/// Measured: 610 MB, and 190 MB for each stream, most of it never touched: the allocator reserves it for each thread.
const ADDRESSES: u64 = 700 << 20;
const ADDRESSES_OF_THREAD: u64 = 200 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configuration_wants_more_with_each_stream_and_ingester() {
        let settings = |text: &str| Settings::from_toml(&format!("[standalone]\n{text}")).unwrap();
        let one =
            "[[ingester]]\nmemory_limit = 1000\ncapture_limit = 10\n[[ingester.stream]]\nname = 'a'\nsource = 'x'\n";
        let two = format!("{one}[[ingester.stream]]\nname = 'b'\nsource = 'x'\n");
        let other = "[[ingester]]\nurl = 'tcp://h:1'\n[[ingester.stream]]\nname = 'c'\nsource = 'x'\n";
        assert_eq!(descriptors(&settings(one)), 200);
        assert_eq!(descriptors(&settings(&two)), 232);
        assert_eq!(descriptors(&settings(&format!("{one}{other}"))), 328);
        assert_eq!(memory(&settings(&two)), 1010);
        let all = one.replace("1000", "9223372036854775807").replace("'a'", "'d'");
        assert!(memory(&settings(&format!("{all}{other}"))) > 1 << 62);
    }

    #[test]
    fn the_lowest_limit_of_a_cgroup_and_those_above_it_counts() {
        let root = tempfile::tempdir().unwrap();
        let write = |path: &str, limit: &str| {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, limit).unwrap();
        };
        let list = "4:memory:/old\n0::/system/service\n2:cpu:/\n";
        let found = || memory_of_cgroup(list, root.path());
        assert_eq!(found(), None);
        write("system/service/memory.max", "max\n");
        assert_eq!(found(), None);
        write("system/memory.max", "5000\n");
        write("memory/old/memory.limit_in_bytes", "9223372036854771712\n");
        assert_eq!(found(), Some(5000));
        write("memory/memory.limit_in_bytes", "4000\n");
        assert_eq!(found(), Some(4000));
    }
}
