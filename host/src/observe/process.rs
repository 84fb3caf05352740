//! What the system knows about this process, under the names that all programs use in Prometheus.

use std::fmt;

use procfs::{WithCurrentSystemInfo as _, process::LimitValue};
use prometheus_client::{collector::Collector, encoding::DescriptorEncoder};

use super::families::Out;

/// Reads `/proc` when metrics are asked for. A value that cannot be read is missing.
#[derive(Debug)]
pub(super) struct Process;

impl Collector for Process {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut out = Out(encoder);
        let process = procfs::process::Process::myself().ok();
        let stat = process.as_ref().and_then(|process| process.stat().ok());
        let one = |value: Option<f64>| value.map(|value| (Vec::new(), value));
        let ticks = procfs::ticks_per_second() as f64;
        let cpu = stat.as_ref().map(|stat| (stat.utime + stat.stime) as f64 / ticks);
        out.counter("process_cpu_seconds", "CPU time, in user and in system mode.", one(cpu))?;
        let resident = stat.as_ref().map(|stat| stat.rss_bytes().get() as f64);
        out.gauge("process_resident_memory_bytes", "Resident memory.", one(resident))?;
        out.gauge("process_virtual_memory_bytes", "Virtual memory.", one(stat.as_ref().map(|stat| stat.vsize as f64)))?;
        let threads = stat.as_ref().map(|stat| stat.num_threads as f64);
        out.gauge("process_threads", "Threads.", one(threads))?;
        let open = process.as_ref().and_then(|process| process.fd_count().ok()).map(|open| open as f64);
        out.gauge("process_open_fds", "Open descriptors.", one(open))?;
        let limit = process.as_ref().and_then(|process| process.limits().ok()).map(|limits| limits.max_open_files);
        let most = limit.and_then(|limit| match limit.soft_limit {
            LimitValue::Value(most) => Some(most as f64),
            LimitValue::Unlimited => None,
        });
        out.gauge("process_max_fds", "Descriptors that may be open.", one(most))?;
        let booted = procfs::boot_time_secs().ok();
        let started = stat.zip(booted).map(|(stat, booted)| booted as f64 + stat.starttime as f64 / ticks);
        out.gauge("process_start_time_seconds", "Start of the process, in seconds since 1970.", one(started))
    }
}
