//! A demonstration: a simulated detector streams two scans through framegate to two workers. No Redis, no Python.
//!
//! `tests/demo` builds and starts it. It embeds framegate with a configuration, as any program can, loads the plugin from
//! its file, simulates detector and workers, and compares every received byte with the sent ones. Exit status: 0 if
//! everything arrived, otherwise 1.

mod host;
mod progress;
mod tally;
mod worker;

use std::{
    path::PathBuf,
    process::ExitCode,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use anyhow::bail;
use bytesize::ByteSize;
use framegate::{Events, Host};
use framegate_stins_detector::{Detector, Simulation, Step};

use crate::{progress::Progress, tally::Tally};

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
    let configuration = configuration(&detector.endpoint()?)?;
    println!("The configuration, also for `framegate run --config FILE`:\n\n{}", indented(&configuration));

    let (host, log) = host::start(&configuration)?;
    for index in 0..WORKERS {
        let (url, tally) = (host::url(&host)?, tally.clone());
        thread::spawn(move || {
            if let Err(error) = worker::work(index, &url, &tally) {
                tally.wrong(format!("worker{}: {error:#}", index + 1));
            }
        });
    }
    let streaming = {
        let (events, tally) = (host.events(), tally.clone());
        thread::spawn(move || stream(detector, events, &tally, limit))
    };
    let mut progress = Progress::new(images, log);
    let trouble = watch(&host, &mut progress, &tally, &streaming, limit);
    progress.show(&tally);
    progress.end();
    let trouble = trouble.and_then(|()| {
        streaming.join().expect("the detector does not panic")?;
        // It ends by itself after the two scans.
        if !host.wait_timeout(limit.saturating_duration_since(Instant::now()))? {
            bail!("framegate does not end after its last scan");
        }
        Ok(())
    });
    host.shutdown();
    println!("{}", tally.table());
    println!("(\"sent\" and \"received\" count header and end of a scan too; every worker gets these two.)");
    Ok(trouble.err().map(|error| format!("{error:#}")).into_iter().chain(tally.complaints()).collect())
}

/// Shows the progress until the detector has sent everything.
fn watch(
    host: &Host,
    progress: &mut Progress,
    tally: &Tally,
    streaming: &thread::JoinHandle<anyhow::Result<()>>,
    limit: Instant,
) -> anyhow::Result<()> {
    let mut over = None;
    while !streaming.is_finished() {
        progress.show(tally);
        if host.wait_timeout(Duration::ZERO)? {
            let over = over.get_or_insert_with(Instant::now);
            if over.elapsed() > host::AFTER_THE_END {
                bail!("framegate has ended its scans, and the detector has not");
            }
        }
        if Instant::now() >= limit {
            bail!("not everything has arrived within {LIMIT:?}");
        }
        thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

/// Simulates the detector. A scan starts only when framegate is ready for it, as with a controller.
fn stream(detector: Detector, mut events: Events, tally: &Tally, limit: Instant) -> anyhow::Result<()> {
    host::wait_ready(&mut events, limit)?;
    let mut trouble = None;
    detector.stream(|step| {
        let (Step::Started { scan } | Step::Image { scan, .. } | Step::Ended { scan }) = step;
        tally.sent(scan);
        if matches!(step, Step::Ended { .. }) {
            if !tally.wait_for_end(scan, limit) {
                trouble = Some(anyhow::anyhow!("the end of scan {} has not arrived", scan + 1));
            } else if scan + 1 < SCANS {
                trouble = host::wait_ready(&mut events, limit).err();
            }
        }
        trouble.is_none() && Instant::now() < limit
    })?;
    trouble.map_or(Ok(()), Err)
}

fn configuration(upstream: &str) -> anyhow::Result<String> {
    let plugin = beside("libframegate_stins.so")?;
    Ok(format!(
        r#"[standalone]                # no controller and no Redis: each event goes to the next worker
scans = {SCANS}
min_workers = {WORKERS}

[[ingester]]
bind = "127.0.0.1"

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
