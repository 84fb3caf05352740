//! A demonstration: a simulated detector streams two scans through framegate to two workers. No Redis, no Python.
//!
//! `tests/demo` builds and starts it. It writes a configuration, starts `framegate run` with it as a user would,
//! simulates detector and workers, and compares every received byte with the sent ones. Exit status: 0 if everything
//! arrived, otherwise 1.

mod host;
mod progress;
mod tally;
mod worker;

use std::{
    fs,
    net::SocketAddr,
    path::PathBuf,
    process::{Command, ExitCode},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use anyhow::bail;
use bytesize::ByteSize;
use framegate_stins::simulate::{Detector, Simulation, Step};

use crate::{
    host::{Host, free_ports},
    progress::Progress,
    tally::Tally,
};

const STREAM: &str = "camera";
const SCANS: u32 = 2;
const WORKERS: usize = 2;
/// Limit for the whole demonstration: far more than necessary, so that a busy machine passes, and a hang ends.
const LIMIT: Duration = Duration::from_secs(50);

fn main() -> ExitCode {
    let images = match std::env::args().skip(1).collect::<Vec<_>>().as_slice() {
        [] => Some(3000),
        [number] => number.parse().ok().filter(|images| *images > 0),
        _ => None,
    };
    let Some(images) = images else {
        eprintln!("usage: demo [IMAGES]   (images in each of the two scans; default: 3000)");
        return ExitCode::from(2);
    };
    match run(images) {
        Ok(complaints) if complaints.is_empty() => {
            println!("All events arrived, byte for byte.");
            ExitCode::SUCCESS
        }
        Ok(complaints) => {
            complaints.iter().take(20).for_each(|complaint| eprintln!("WRONG: {complaint}"));
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("demo: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Runs the demonstration; returns the complaints.
fn run(images: u32) -> anyhow::Result<Vec<String>> {
    let limit = Instant::now() + LIMIT;
    let folder = tempfile::tempdir()?;
    let simulation = Simulation {
        bind: "tcp://127.0.0.1:*".into(),
        scans: SCANS,
        frames: images,
        bytes: 256 << 10,
        rate: Some(1000.0),
        pause: Duration::ZERO,
    };
    let tally = Arc::new(Tally::new(SCANS, images, simulation.bytes, WORKERS));
    println!(
        "A simulated detector sends {SCANS} scans of {images} images of {}, {} a second, to {WORKERS} workers.\n",
        ByteSize(simulation.bytes as u64),
        simulation.rate.unwrap_or_default()
    );
    let detector = Detector::bind(simulation)?;
    let [port, admin] = free_ports()?;
    let (url, admin) = (format!("tcp://127.0.0.1:{port}"), SocketAddr::from(([127, 0, 0, 1], admin)));
    let config = folder.path().join("framegate.toml");
    fs::write(&config, configuration(&detector.endpoint()?, &url, admin)?)?;
    println!("{}:\n\n{}", config.display(), indented(&fs::read_to_string(&config)?));
    let framegate = beside("framegate")?;
    println!("$ {} run --config {}\n", framegate.display(), config.display());

    let mut command = Command::new(&framegate);
    command.args(["run", "--config"]).arg(&config).env("NO_COLOR", "1");
    // Where the umask is 002, the built files are group-writable and would be refused.
    command.env("FRAMEGATE_ALLOW_WRITABLE_PLUGINS", "true");
    // It would override the address in the configuration.
    command.env_remove("FRAMEGATE_ADMIN");
    // Its temporary files are removed with the folder.
    command.env("TMPDIR", folder.path());
    let log = folder.path().join("framegate.log");
    let host = Arc::new(Mutex::new(Host::start(&mut command, log, admin)?));
    for index in 0..WORKERS {
        let (url, tally) = (url.clone(), tally.clone());
        thread::spawn(move || {
            if let Err(error) = worker::work(index, &url, &tally) {
                tally.wrong(format!("worker{}: {error:#}", index + 1));
            }
        });
    }
    let streaming = {
        let (host, tally) = (host.clone(), tally.clone());
        thread::spawn(move || stream(detector, &host, &tally, limit))
    };
    let mut progress = Progress::new(images);
    let mut trouble = None;
    while trouble.is_none() && !streaming.is_finished() {
        let mut host = lock(&host);
        progress.show(&tally, &host.log());
        // Neither detector nor workers would notice.
        trouble = match host.ended() {
            Some(status) if !status.success() => Some(format!("framegate has ended with {status}")),
            _ if Instant::now() >= limit => Some(format!("not everything has arrived within {LIMIT:?}")),
            _ => None,
        };
        drop(host);
        thread::sleep(Duration::from_millis(50));
    }
    progress.show(&tally, &lock(&host).log());
    progress.end();
    if trouble.is_none() {
        let streamed = streaming.join().expect("the detector does not panic");
        // It ends by itself after the two requested scans.
        trouble = streamed.and_then(|()| wait_for_end(&host, limit)).err().map(|error| format!("{error:#}"));
    }
    println!("{}", tally.table());
    println!("(\"sent\" and \"received\" count header and end of a scan too; every worker gets these two.)");
    Ok(trouble.into_iter().chain(tally.complaints()).collect())
}

/// Simulates the detector. A scan starts only when framegate is ready for it, as with a controller.
fn stream(detector: Detector, host: &Mutex<Host>, tally: &Tally, limit: Instant) -> anyhow::Result<()> {
    let mut last = ready_for_another(host, &serde_json::Value::Null, limit)?;
    let mut trouble = None;
    detector.stream(|step| {
        let (Step::Started { scan } | Step::Image { scan, .. } | Step::Ended { scan }) = step;
        tally.sent(scan);
        if matches!(step, Step::Ended { .. }) {
            if !tally.wait_for_end(scan, limit) {
                trouble = Some(anyhow::anyhow!("the end of scan {} has not arrived", scan + 1));
            } else if scan + 1 < SCANS {
                match ready_for_another(host, &last, limit) {
                    Ok(ready) => last = ready,
                    Err(error) => trouble = Some(error),
                }
            }
        }
        trouble.is_none() && Instant::now() < limit
    })?;
    trouble.map_or(Ok(()), Err)
}

/// Waits until the sources of a scan after `last` are open.
fn ready_for_another(
    host: &Mutex<Host>,
    last: &serde_json::Value,
    limit: Instant,
) -> anyhow::Result<serde_json::Value> {
    loop {
        let (answer, ended) = {
            let mut host = lock(host);
            (host.ingester(), host.ended().is_some())
        };
        match answer {
            Ok(ingester) if !ingester["ready"].is_null() && ingester["ready"] != *last => {
                return Ok(ingester["ready"].clone());
            }
            _ if ended => bail!("framegate has ended"),
            Err(error) if Instant::now() >= limit => return Err(error.context("framegate says nothing")),
            _ if Instant::now() >= limit => bail!("framegate opens no other scan"),
            _ => thread::sleep(Duration::from_millis(20)),
        }
    }
}

fn wait_for_end(host: &Mutex<Host>, limit: Instant) -> anyhow::Result<()> {
    while Instant::now() < limit {
        match lock(host).ended() {
            Some(status) if status.success() => return Ok(()),
            Some(status) => bail!("framegate has ended with {status}"),
            None => {}
        }
        thread::sleep(Duration::from_millis(20));
    }
    bail!("framegate does not end after its last scan")
}

fn lock(host: &Mutex<Host>) -> MutexGuard<'_, Host> {
    host.lock().unwrap_or_else(PoisonError::into_inner)
}

fn configuration(upstream: &str, url: &str, admin: SocketAddr) -> anyhow::Result<String> {
    let plugin = beside("libframegate_stins.so")?;
    Ok(format!(
        r#"admin = "{admin}"     # status and metrics over HTTP

[standalone]                # no controller and no Redis: events go in turn to whoever is connected
scans = {SCANS}
min_workers = {WORKERS}

[[ingester]]
url = "{url}"

[[ingester.stream]]
name = "{STREAM}"
source = "{}"

[ingester.stream.settings]
upstream_url = "{upstream}"
"#,
        plugin.display()
    ))
}

/// A file built together with this program.
fn beside(name: &str) -> anyhow::Result<PathBuf> {
    let path = std::env::current_exe()?.with_file_name(name);
    if !path.is_file() {
        bail!("{} is not built: start this program with tests/demo", path.display());
    }
    Ok(path)
}

fn indented(text: &str) -> String {
    text.lines().map(|line| if line.is_empty() { "\n".into() } else { format!("    {line}\n") }).collect()
}
