//! The embedded host: its settings, its log as lines, and which scan is ready.

use std::{
    io,
    sync::mpsc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use framegate::{Events, Host, HostEvent, WaitError, settings::Settings};

/// Starts a host with this configuration, at any free port. Returns it with the lines that it logs.
pub(crate) fn start(configuration: &str) -> anyhow::Result<(Host, mpsc::Receiver<String>)> {
    let (sender, lines) = mpsc::channel();
    let log = tracing_subscriber::fmt().with_ansi(false).with_target(false).with_writer(move || Lines(sender.clone()));
    log.try_init().map_err(|error| anyhow::anyhow!(error))?;
    let mut settings = Settings::from_toml(configuration)?;
    settings.ingesters[0].port = 0;
    // Where the umask is 002, the built files are group-writable and would be refused.
    settings.allow_writable_plugins = true;
    Ok((Host::builder(settings).start()?, lines))
}

/// The address for its workers.
pub(crate) fn url(host: &Host) -> anyhow::Result<String> {
    host.urls().into_values().next().context("framegate has no ingester")
}

/// Waits until the source of another scan is open.
pub(crate) fn wait_ready(events: &mut Events, limit: Instant) -> anyhow::Result<()> {
    loop {
        match events.wait(limit.saturating_duration_since(Instant::now())) {
            Ok(HostEvent::ScanReady { .. }) => return Ok(()),
            Ok(_) => {}
            Err(WaitError::Stopped) => bail!("framegate has stopped"),
            Err(_) => bail!("framegate opens no other scan"),
        }
    }
}

/// How long the detector may go on after framegate has ended its last scan: it only has to notice.
pub(crate) const AFTER_THE_END: Duration = Duration::from_secs(5);

/// Sends each line of the log; the layer of `tracing_subscriber` writes whole lines.
struct Lines(mpsc::Sender<String>);

impl io::Write for Lines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        // Nobody reads any more: the demonstration has ended.
        let _ = self.0.send(String::from_utf8_lossy(line).trim_end().to_owned());
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
