//! Control without Redis: scans follow each other, and events go to whoever is connected.
//!
//! A scan begins at start-up on every ingester; when all their runs have ended and all is delivered it is finished, and the
//! next begins; after a while that grows, if the last one failed. Who gets an event is decided when it is paired, by the policy in `ingester::pair`.

use std::time::Duration;

use tokio::sync::watch;
use uuid::Uuid;

use super::{
    Line, Stopped,
    report::{ControlProblem, ControlReport, now},
};
use crate::{
    ingester::{
        command::{Command, Deal},
        report::Report,
    },
    names::ScanId,
    settings::Standalone,
};

/// Runs scans until `stop` rings or the configured number of scans is over.
pub(crate) async fn run(
    settings: Standalone,
    mut lines: Vec<Line>,
    report: watch::Sender<ControlReport>,
    mut stop: watch::Receiver<bool>,
) {
    let deal = if settings.broadcast { Deal::Everyone } else { Deal::RoundRobin };
    let scans = async {
        let mut done = 0;
        let mut pause = FIRST_PAUSE;
        while settings.scans.is_none_or(|scans| done < scans) {
            if scan(&mut lines, deal).await.is_err() {
                return;
            }
            done += 1;
            if settings.scans == Some(done) {
                return;
            }
            match fruitless(&lines) {
                None => {
                    report.send_if_modified(|report| report.faults.remove(SCANS).is_some());
                    pause = FIRST_PAUSE;
                }
                Some(why) => {
                    let what = format!("the last scan {why}; the next begins in {pause:?}");
                    tracing::warn!("{what}");
                    report.send_modify(|report| {
                        report.last_problem = Some(ControlProblem { at: now(), what: what.clone() });
                        report.faults.insert(SCANS.to_owned(), what);
                    });
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
            }
        }
    };
    tokio::select! {
        () = scans => {}
        _ = stop.wait_for(|stop| *stop) => {}
    }
}

/// One scan, from start to finish.
async fn scan(lines: &mut [Line], deal: Deal) -> Result<(), Stopped> {
    let scan = ScanId(Uuid::new_v4());
    tracing::info!(%scan, "a scan begins");
    for line in lines.iter() {
        line.commands.command(Command::StartScan { scan, streams: line.streams.clone(), deal }).await?;
    }
    every(lines, |report| report.runs_ended == Some(scan)).await?;
    for line in lines.iter() {
        line.commands.command(Command::Finish { scan }).await?;
    }
    every(lines, |report| report.finished == Some(scan)).await
}

/// Whether another scan at once would most likely end as the last did, and so on as fast as the machine can.
fn fruitless(lines: &[Line]) -> Option<String> {
    let reports: Vec<_> = lines.iter().map(|line| line.report.borrow().clone()).collect();
    let streams = reports.iter().flat_map(|report| &report.streams);
    let failed: Vec<&str> =
        streams.filter(|(_, stream)| stream.source == "failed").map(|(name, _)| name.as_str()).collect();
    if !failed.is_empty() {
        return Some(format!("ended because sources failed ({})", failed.join(", ")));
    }
    let processed: u64 = reports.iter().map(|report| report.processed_events).sum();
    (processed == 0).then(|| "ended without an event".to_owned())
}

/// Waits until each ingester's report says so.
async fn every(lines: &mut [Line], says: impl Fn(&Report) -> bool) -> Result<(), Stopped> {
    for line in lines {
        line.report.wait_for(|report| says(report)).await.map_err(|_| Stopped)?;
    }
    Ok(())
}

/// What is wrong with scans, in status.
const SCANS: &str = "scans";
/// How long to wait after a scan that failed, doubled after each further one.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
