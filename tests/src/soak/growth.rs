//! Detects whether a process grows: fits a straight line to memory, threads and descriptors over one life.

use std::{fmt, fs};

use anyhow::Context as _;

/// The resources of a process at one time.
#[derive(Debug, Clone, Copy)]
pub struct Sample {
    /// Anonymous memory in KiB, without mapped files.
    pub memory: f64,
    /// Resident part of mapped files, in KiB.
    pub files: f64,
    /// Threads.
    pub threads: f64,
    /// Descriptors.
    pub descriptors: f64,
}

/// Samples of one life of the process.
#[derive(Debug, Default)]
pub struct Growth(Vec<Sample>);

/// The growth of a process.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Grown {
    /// Number of samples after the first third, in which everything is used for the first time.
    pub samples: usize,
    /// From the beginning to the end of the line, in KiB; threads and descriptors as numbers.
    pub memory: f64,
    /// See above.
    pub threads: f64,
    /// See above.
    pub descriptors: f64,
    /// The memory at the end of the line, in KiB.
    pub memory_at_last: f64,
}

impl Sample {
    /// The current resources of a process.
    ///
    /// # Errors
    /// The process has ended.
    pub fn of(process: u32) -> anyhow::Result<Self> {
        let status = fs::read_to_string(format!("/proc/{process}/status"))?;
        let number = |key: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(key)).context("Linux tells it")?;
            line.trim().trim_end_matches(" kB").parse::<f64>().context("Linux tells a number")
        };
        let descriptors = fs::read_dir(format!("/proc/{process}/fd"))?.count() as f64;
        let files = number("RssFile:")? + number("RssShmem:")?;
        Ok(Self { memory: number("RssAnon:")?, files, threads: number("Threads:")?, descriptors })
    }

    /// Subtracts the stop descriptors of sources that panicked: such a source is not called again, not even to destroy
    /// it, and one of its threads may still wait for that descriptor.
    #[must_use]
    pub fn without_descriptors(self, of_panicked: usize) -> Self {
        Self { descriptors: self.descriptors - of_panicked as f64, ..self }
    }
}

impl fmt::Display for Sample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { memory, threads, descriptors, .. } = self;
        write!(f, "    framegate has {:.1} MiB, {threads} threads, {descriptors} descriptors", memory / 1024.0)
    }
}

impl Growth {
    /// Adds a sample.
    pub fn add(&mut self, sample: Sample) {
        self.0.push(sample);
    }

    /// Starts a new life.
    pub fn restart(&mut self) {
        self.0.clear();
    }

    /// The growth in this life so far.
    #[must_use]
    pub fn grown(&self) -> Grown {
        let settled = &self.0[self.0.len() / 3..];
        let line = |of: fn(&Sample) -> f64| line(settled.iter().map(of));
        let (memory, memory_at_last) = line(|sample| sample.memory);
        Grown {
            samples: settled.len(),
            memory,
            threads: line(|sample| sample.threads).0,
            descriptors: line(|sample| sample.descriptors).0,
            memory_at_last,
        }
    }
}

impl Grown {
    /// Whether nothing grew, except for the usual variation from scan to scan.
    #[must_use]
    pub fn is_flat(&self) -> bool {
        self.samples < ENOUGH
            || (self.memory < MEMORY.max(self.memory_at_last / 10.0) && self.threads < 3.0 && self.descriptors < 6.0)
    }
}

impl fmt::Display for Grown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { samples, memory, threads, descriptors, memory_at_last } = self;
        write!(
            f,
            "memory {:+.1} MiB to {:.1} MiB, threads {threads:+.1}, descriptors {descriptors:+.1} \
             beside one for each panic, over {samples} scans",
            memory / 1024.0,
            memory_at_last / 1024.0
        )
    }
}

/// The least-squares line: its rise from the first to the last value, and its value at the end.
fn line(values: impl ExactSizeIterator<Item = f64> + Clone) -> (f64, f64) {
    let count = values.len() as f64;
    if count < 2.0 {
        return (0.0, values.last().unwrap_or(0.0));
    }
    let middle = (count - 1.0) / 2.0;
    let mean = values.clone().sum::<f64>() / count;
    let (mut above, mut below) = (0.0, 0.0);
    for (at, value) in values.enumerate() {
        let x = at as f64 - middle;
        above += x * (value - mean);
        below += x * x;
    }
    let slope = above / below;
    (slope * (count - 1.0), mean + slope * middle)
}

/// With fewer samples there is no verdict.
const ENOUGH: usize = 20;
/// In KiB: smaller growth of memory is ignored.
const MEMORY: f64 = 16.0 * 1024.0;

#[cfg(test)]
mod tests {
    use super::*;

    fn growth(memory: impl Fn(f64) -> f64) -> Grown {
        let mut growth = Growth::default();
        (0..90).for_each(|at| {
            let descriptors = 60.0 + f64::from(at % 5);
            growth.add(Sample { memory: memory(f64::from(at)), files: 9000.0, threads: 20.0, descriptors });
        });
        growth.grown()
    }

    #[test]
    fn what_goes_up_and_down_is_flat_and_what_rises_is_not() {
        let flat = growth(|at| 50_000.0 + 3000.0 * (at % 7.0));
        assert!(flat.is_flat() && flat.samples == 60, "{flat}");
        let warm = growth(|at| if at < 20.0 { 1000.0 * at } else { 50_000.0 });
        assert!(warm.is_flat(), "{warm}");
        let leak = growth(|at| 50_000.0 + 400.0 * at);
        assert!(!leak.is_flat() && (23_500.0..23_700.0).contains(&leak.memory), "{leak}");
    }
}
