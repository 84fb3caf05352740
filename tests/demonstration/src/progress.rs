//! Shows the progress: on a terminal a bar for each scan, elsewhere a line per second; and framegate's log above it.

use std::{
    io::IsTerminal,
    sync::mpsc,
    time::{Duration, Instant},
};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use crate::tally::Tally;

/// See the module.
#[derive(Debug)]
pub(crate) struct Progress {
    terminal: bool,
    images: u32,
    all: MultiProgress,
    /// One for each started scan; the last one finishes first.
    bars: Vec<(ProgressBar, Instant)>,
    /// Number of scans shown to their end.
    done: usize,
    log: mpsc::Receiver<String>,
    line_at: Instant,
}

impl Progress {
    pub(crate) fn new(images: u32, log: mpsc::Receiver<String>) -> Self {
        Self {
            terminal: std::io::stderr().is_terminal(),
            images,
            all: MultiProgress::new(),
            bars: Vec::new(),
            done: 0,
            log,
            line_at: Instant::now() + LINE_EVERY,
        }
    }

    /// Shows what is new.
    pub(crate) fn show(&mut self, tally: &Tally) {
        for line in self.log.try_iter() {
            self.all.suspend(|| println!("  {line}"));
        }
        let scan = self.done;
        let Some((sent, received)) = tally.images(scan).filter(|(sent, _)| *sent > 0) else { return };
        let (bar, began) = match self.bars.get(scan) {
            Some(bar) => bar.clone(),
            None => {
                let bar = (self.bar(scan), Instant::now());
                self.bars.push(bar.clone());
                bar
            }
        };
        let is_whole = received == u64::from(self.images);
        let rate = received as f64 / began.elapsed().as_secs_f64().max(0.05);
        bar.set_message(format!("{rate:.0}/s"));
        bar.set_position(received);
        if !self.terminal && (is_whole || Instant::now() >= self.line_at) {
            println!("scan {}: {sent} of {} images sent, {received} received, {rate:.0}/s", scan + 1, self.images);
            self.line_at = Instant::now() + LINE_EVERY;
        }
        if is_whole {
            bar.abandon();
            self.done += 1;
        }
    }

    /// Keeps what is shown on the screen.
    pub(crate) fn end(&self) {
        if self.terminal {
            eprintln!();
        }
        println!();
    }

    fn bar(&self, scan: usize) -> ProgressBar {
        let style = ProgressStyle::with_template("{prefix} {wide_bar} {pos} of {len} received, {msg}");
        let bar = ProgressBar::new(self.images.into()).with_style(style.expect("the template is constant"));
        let bar = bar.with_prefix(format!("scan {}", scan + 1));
        if self.terminal { self.all.add(bar) } else { bar }
    }
}

const LINE_EVERY: Duration = Duration::from_secs(1);
