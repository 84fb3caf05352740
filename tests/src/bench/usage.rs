//! Resources used by a process, from the kernel's scheduler.

use std::{collections::BTreeMap, fs};

use anyhow::{Context as _, bail};
use nix::{
    time::{clock_getcpuclockid, clock_gettime},
    unistd::Pid,
};

/// CPU time of a process: user and kernel, all its threads, including ended ones.
///
/// # Errors
/// The process has ended.
pub fn cpu_ns(pid: u32) -> anyhow::Result<u64> {
    let time = clock_gettime(clock_getcpuclockid(Pid::from_raw(i32::try_from(pid)?))?)?;
    Ok(u64::try_from(time.tv_sec())? * 1_000_000_000 + u64::try_from(time.tv_nsec())?)
}

/// Resources used by the living threads of a process, by name; threads with the same name are added up.
///
/// # Errors
/// The process has ended.
pub fn threads(pid: u32) -> anyhow::Result<BTreeMap<String, Thread>> {
    let mut all: BTreeMap<String, Thread> = BTreeMap::new();
    for task in fs::read_dir(format!("/proc/{pid}/task"))? {
        let folder = task?.path();
        // A thread that ends meanwhile is treated as already ended.
        let read = |name: &str| fs::read_to_string(folder.join(name)).unwrap_or_default();
        let thread = all.entry(read("comm").trim().to_owned()).or_default();
        let scheduled = read("schedstat");
        // Nanoseconds on a processor, nanoseconds runnable without one, and a count.
        let mut scheduled = scheduled.split_whitespace().map(|number| number.parse::<u64>().unwrap_or(0));
        thread.count += 1;
        thread.cpu_ns += scheduled.next().unwrap_or(0);
        thread.delay_ns += scheduled.next().unwrap_or(0);
        thread.switches += switches(&read("status"));
    }
    Ok(all)
}

/// See [`threads`].
#[derive(Debug, Clone, Copy, Default)]
pub struct Thread {
    /// How many threads have the name.
    pub count: u64,
    /// CPU time, user and kernel.
    pub cpu_ns: u64,
    /// Run-queue delay: time in which it could run, and waited for a processor.
    pub delay_ns: u64,
    /// Context switches, voluntary and involuntary.
    pub switches: u64,
}

fn switches(status: &str) -> u64 {
    let lines = status.lines().filter_map(|line| line.split_once("voluntary_ctxt_switches:"));
    lines.filter_map(|(_, count)| count.trim().parse::<u64>().ok()).sum()
}

/// Page faults of a process, minor and major, all its threads, including ended ones.
///
/// # Errors
/// The process has ended.
pub fn page_faults(pid: u32) -> anyhow::Result<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The second field, the program's name in parentheses, may contain spaces.
    let (_, fields) = text.rsplit_once(')').context("the name is in parentheses")?;
    let fields: Vec<_> = fields.split_whitespace().collect();
    // proc_pid_stat(5): minflt and majflt are the fields 10 and 12; the first one here is field 3.
    let field = |number: usize| -> anyhow::Result<u64> {
        Ok(fields.get(number - 3).context("a field is missing")?.parse::<u64>()?)
    };
    Ok(field(10)? + field(12)?)
}

/// The peak resident memory of a process.
///
/// # Errors
/// The process has ended.
pub fn peak_kib(pid: u32) -> anyhow::Result<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    match line.and_then(|line| line.split_whitespace().next()) {
        Some(number) => Ok(number.parse().context("Linux tells it in KiB")?),
        None => bail!("process {pid} has ended"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_used_time_and_memory_and_has_waited() {
        let own = std::process::id();
        let before = cpu_ns(own).expect("it lives");
        std::thread::sleep(std::time::Duration::from_millis(1));
        assert!((0..1_000_000u64).map(std::hint::black_box).sum::<u64>() > 0);
        assert!(cpu_ns(own).expect("it lives") > before);
        assert!(peak_kib(own).expect("it lives") > 100);
        assert!(page_faults(own).expect("it lives") > 100);
        let threads = threads(own).expect("it lives");
        assert!(threads.values().map(|thread| thread.count).sum::<u64>() > 0, "{threads:?}");
        assert!(threads.values().map(|thread| thread.switches).sum::<u64>() > 0, "{threads:?}");
    }
}
