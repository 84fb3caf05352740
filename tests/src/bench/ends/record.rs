//! Counts, times and reports the messages at the workers.

use std::time::Instant;

use hdrhistogram::Histogram;

use super::{Latency, Said, Work, now_ns, say};

/// See the module.
pub(crate) struct Record {
    expected: u64,
    messages: u64,
    began: Option<Instant>,
    /// Nanoseconds; `None` if the images have no stamps.
    latency: Option<Histogram<u64>>,
    /// The count for the next report, and the step between reports.
    tell_at: u64,
    step: u64,
    is_done: bool,
}

impl Record {
    pub(crate) fn new(work: &Work) -> Self {
        // Three significant digits, up to a minute.
        let histogram = || Histogram::new_with_max(60_000_000_000, 3).ok();
        let step = (work.expected / 200).clamp(1, 1000);
        let latency = work.stamped.then(histogram).flatten();
        Self { expected: work.expected, messages: 0, began: None, latency, tell_at: step, step, is_done: false }
    }

    /// Records a measured message.
    pub(crate) fn message(&mut self, stamp: Option<u64>) {
        if self.messages == 0 {
            self.began = Some(Instant::now());
        }
        self.messages += 1;
        if let (Some(latency), Some(due)) = (&mut self.latency, stamp) {
            latency.saturating_record(now_ns().saturating_sub(due));
        }
    }

    pub(crate) fn messages(&self) -> u64 {
        self.messages
    }

    /// Reports progress if it is due.
    pub(crate) fn tell(&mut self) -> anyhow::Result<()> {
        if self.is_done || (self.messages < self.tell_at && self.messages < self.expected) {
            return Ok(());
        }
        let seconds = self.began.map_or(0.0, |began| began.elapsed().as_secs_f64());
        self.tell_at = self.messages + self.step;
        say(&Said::Progress { at_ns: now_ns(), messages: self.messages })?;
        if self.messages >= self.expected {
            self.is_done = true;
            say(&Said::Done { seconds, latency: self.latency() })?;
        }
        Ok(())
    }

    fn latency(&self) -> Option<Latency> {
        let all = self.latency.as_ref().filter(|all| !all.is_empty())?;
        let us = |ns: u64| ns as f64 / 1e3;
        let at = |quantile| us(all.value_at_quantile(quantile));
        Some(Latency { p50: at(0.5), p99: at(0.99), p999: at(0.999), max: us(all.max()) })
    }
}
